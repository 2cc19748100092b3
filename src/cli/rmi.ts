/** `tsbox rmi` */
import { command } from './command.ts';
import { forEach } from './each.ts';

export const verb = command({
  usage: '[OPTIONS] IMAGE [IMAGE...]',
  summary: 'Remove one or more images',
  count: [1, Number.POSITIVE_INFINITY],
  flags: {
    force: { kind: 'bool', short: 'f', help: 'Remove an image that has other names or stopped containers' },
    'no-prune': { kind: 'bool', help: 'Keep parents that have no name' },
  },
  unsupported: 'platform',
  ownsFiles: true,
  async run(context, flags, images) {
    const engine = await context.engine();
    const { removeImage } = await import('../engine/images.ts');
    return forEach(images, async (image) => {
      const options = { force: flags.force, noPrune: flags['no-prune'] };
      const { untagged, deleted } = await removeImage(engine, image, options);
      return [...untagged.map((name) => `Untagged: ${name}\n`), ...deleted.map((id) => `Deleted: ${id}\n`)].join('');
    });
  },
});
