/** `tsbox system after-exit`: what a monitor becomes when its container has ended, if there is more to do. Not for people; not in the help. */
import { command } from './command.ts';

export const verb = command({
  usage: 'CONTAINER',
  summary: "Follow a container's monitor (called by that alone)",
  count: [1, 1],
  flags: {},
  async run(context, _, [id]) {
    const engine = await context.engine();
    const { afterExit } = await import('../engine/after-exit.ts');
    await afterExit(engine, id!);
    return 0;
  },
});
