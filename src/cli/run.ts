/** `tsbox run` */
import type { ContainerRequest } from '../engine/api.ts';
import { phase } from '../engine/timing.ts';
import { FLAG_ERROR, UsageError } from './args.ts';
import type { Attachment } from './attached.ts';
import { command } from './command.ts';
import { UNSUPPORTED_CONTAINER_FLAGS } from './container-flags.ts';
import { createFromFlags, DETACH_KEYS_FLAG, printPlan, SIG_PROXY_FLAG, serve } from './container-life.ts';
import { CREATE_FLAGS, requestOf } from './create-flags.ts';
import { parseDetachKeys } from './detach.ts';
import { print } from './output.ts';
import { checkFormat, EXPLAIN_FLAGS, explainer } from './plan-flags.ts';

export const verb = command({
  usage: '[OPTIONS] IMAGE [COMMAND] [ARG...]',
  summary: 'Create a container from an image and run a command in it',
  count: [1, Number.POSITIVE_INFINITY],
  stopAtArgument: true,
  failure: 125,
  flags: {
    ...CREATE_FLAGS,
    ...DETACH_KEYS_FLAG,
    ...SIG_PROXY_FLAG,
    ...EXPLAIN_FLAGS,
    detach: { kind: 'bool', short: 'd', help: 'Leave the container running and print its id' },
  },
  unsupported: UNSUPPORTED_CONTAINER_FLAGS,
  async run(context, flags, args) {
    checkFormat(flags);
    const request = await requestOf(flags, args, !flags.detach);
    if (flags['dry-run']) return printPlan(context, request, flags);
    const shows = shownStreams(request.attach, flags.detach);
    const attachment = {
      ...(shows !== undefined && { shows }),
      tty: flags.tty,
      stdin: flags.interactive,
      detachKeys: parseDetachKeys(flags['detach-keys']),
      sigProxy: flags['sig-proxy'],
    };
    const { catchSignals, checkTerminal, terminalSize } = await import('./attached.ts');
    if (!flags.detach) checkTerminal(attachment);
    phase('cli');
    const id = await createFromFlags(context, request, flags);
    const engine = await context.engine();
    const { startContainer } = await import('../engine/start.ts');
    const size = flags.tty && !flags.detach ? terminalSize() : undefined;
    const options = { ...(await explainer(flags)), attach: !flags.detach, ...(size !== undefined && { size }) };
    if (flags.detach) {
      const session = await startContainer(engine, id, options);
      print(`${id}\n`);
      session.detach();
      return 0;
    }
    const signals = catchSignals(attachment);
    return serve(context, await startContainer(engine, id, options), attachment, signals);
  },
});

/** Which output `--attach` asks for. @throws UsageError when that is not to be had */
function shownStreams(attach: ContainerRequest['attach'], detach: boolean): Attachment['shows'] {
  if (attach === undefined) return undefined;
  if (detach) throw new UsageError('conflicting options: cannot specify both --attach and --detach', 1);
  const shows = { stdout: attach.includes('stdout'), stderr: attach.includes('stderr') };
  if (shows.stdout || shows.stderr) return shows;
  throw new UsageError('--attach stdin without an output: not supported yet', FLAG_ERROR);
}
