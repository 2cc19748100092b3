/** `tsbox exec-failed`: what tsbox-replay, which has no texts, calls when a step has failed. Not for people; not in the help. */
import { command } from './command.ts';
import { EXEC_FLAGS, execRequest, starting } from './exec.ts';

export const verb = command({
  usage: '[OPTIONS] REPORT CONTAINER COMMAND [ARG...]',
  summary: 'Say why a command could not be started (called by tsbox-replay alone)',
  count: [3, Number.POSITIVE_INFINITY],
  stopAtArgument: true,
  failure: 1,
  flags: EXEC_FLAGS,
  async run(context, flags, [report = '', container = '', ...words]) {
    const engine = await context.engine();
    const { explainExec } = await import('../engine/exec.ts');
    const request = execRequest(flags, container, words);
    return starting(flags.detach, explainExec(engine, request, JSON.parse(report)));
  },
});
