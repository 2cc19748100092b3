/** `tsbox volume-release`: of tsbox's own use, by the monitor of a container that has ended. Not in the help. */
import { command } from './command.ts';

export const verb = command({
  usage: '[--remove VOLUME] CONTAINER [VOLUME...]',
  summary: 'Unmount volumes that no other container runs with, and remove those that none has',
  count: [1, Number.POSITIVE_INFINITY],
  flags: { remove: { kind: 'list', value: 'volume', help: 'Remove this volume, too, unless a container has it' } },
  async run(context, { remove }, [container = '', ...names]) {
    const engine = await context.engine();
    const { unmountVolumes } = await import('../engine/volume-use.ts');
    await unmountVolumes(engine, names, container);
    (await import('../engine/volumes.ts')).releaseVolumes(engine, remove);
    return 0;
  },
});
