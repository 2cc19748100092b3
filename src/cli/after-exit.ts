/** `tsbox system after-exit`: what a monitor becomes when its container has ended, if there is more to do. Not for people; not in the help. */
import { command } from './command.ts';

export const verb = command({
  usage: 'CONTAINER [PAUSE]',
  summary: "Follow a container's monitor (called by that alone)",
  count: [1, 2],
  flags: {},
  /** The pause, milliseconds, when it is over. */
  async run(context, _, [id, pause]) {
    const engine = await context.engine();
    const { afterExit, afterPause } = await import('../engine/after-exit.ts');
    await (pause === undefined ? afterExit(engine, id!) : afterPause(engine, id!, Number(pause)));
    return 0;
  },
});
