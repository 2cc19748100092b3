/** `tsbox create` */
import { command } from './command.ts';
import { UNSUPPORTED_CONTAINER_FLAGS } from './container-flags.ts';
import { createFromFlags, printPlan } from './container-life.ts';
import { CREATE_FLAGS, requestOf } from './create-flags.ts';
import { print } from './output.ts';
import { checkFormat, EXPLAIN_FLAGS } from './plan-flags.ts';

export const verb = command({
  usage: '[OPTIONS] IMAGE [COMMAND] [ARG...]',
  summary: 'Create a container without starting it',
  count: [1, Number.POSITIVE_INFINITY],
  stopAtArgument: true,
  flags: { ...CREATE_FLAGS, format: EXPLAIN_FLAGS.format },
  unsupported: UNSUPPORTED_CONTAINER_FLAGS,
  async run(context, flags, args) {
    checkFormat(flags);
    const request = await requestOf(flags, args, true);
    if (flags['dry-run']) return printPlan(context, request, flags);
    print(`${await createFromFlags(context, request, flags)}\n`);
    return 0;
  },
});
