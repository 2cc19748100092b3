/** `tsbox system after-exit`: what a monitor becomes when its container has ended, if there is more to do. Not for people; not in the help. */
import { command } from './command.ts';

export const verb = command({
  usage: 'CONTAINER',
  summary: "Follow a container's monitor (called by that alone)",
  count: [1, 1],
  flags: { waited: { kind: 'int', value: 'milliseconds', help: 'The pause before the next start is over' } },
  async run(context, { waited }, [id]) {
    const engine = await context.engine();
    const { afterExit, afterPause } = await import('../engine/after-exit.ts');
    await (waited === undefined ? afterExit(engine, id!) : afterPause(engine, id!, waited));
    return 0;
  },
});
