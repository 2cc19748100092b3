/** `tsbox create` */
import { command } from './command.ts';
import { CONTAINER_FLAGS, containerRequest, UNSUPPORTED_CONTAINER_FLAGS } from './container-flags.ts';
import { createFromFlags, printPlan } from './container-life.ts';
import { ISOLATION_FLAGS, withIsolation } from './isolation-flags.ts';
import { LIFE_FLAGS, withLife } from './life-flags.ts';
import { print } from './output.ts';
import { checkFormat, DRY_RUN_FLAG, EXPLAIN_FLAGS } from './plan-flags.ts';
import { RESOURCE_FLAGS, withResources } from './resource-flags.ts';
import { VOLUME_FLAGS, withVolumes } from './volume-flags.ts';

export const verb = command({
  usage: '[OPTIONS] IMAGE [COMMAND] [ARG...]',
  summary: 'Create a container without starting it',
  count: [1, Number.POSITIVE_INFINITY],
  stopAtArgument: true,
  flags: {
    ...CONTAINER_FLAGS,
    ...ISOLATION_FLAGS,
    ...LIFE_FLAGS,
    ...RESOURCE_FLAGS,
    ...VOLUME_FLAGS,
    ...DRY_RUN_FLAG,
    format: EXPLAIN_FLAGS.format,
  },
  unsupported: UNSUPPORTED_CONTAINER_FLAGS,
  async run(context, flags, args) {
    checkFormat(flags);
    const asked = await withVolumes(withLife(containerRequest(flags, args, true), flags), flags);
    const request = await withResources(await withIsolation(asked, flags), flags);
    if (flags['dry-run']) return printPlan(context, request, flags);
    print(`${await createFromFlags(context, request, flags)}\n`);
    return 0;
  },
});
