/** `tsbox system prune` */
import { command } from './command.ts';
import { print } from './output.ts';
import {
  deletedText,
  isWanted,
  PRUNE_IMAGES_FLAGS,
  pruneFilter,
  reclaimedText,
  removedLines,
  reportErrors,
  whichImages,
} from './pruning.ts';

export const verb = command({
  usage: '[OPTIONS]',
  summary: 'Remove what nobody uses: containers, images, layers',
  count: [0, 0],
  flags: PRUNE_IMAGES_FLAGS,
  unsupported: 'volumes',
  ownsFiles: true,
  async run(context, flags) {
    const filter = pruneFilter(flags.filter);
    if (!isWanted(warning(flags.all, flags.filter), flags.force)) return 0;
    const engine = await context.engine();
    const { pruneContainers, pruneImages } = await import('../engine/prune.ts');
    // Containers first: then their images are unused too.
    const containers = await pruneContainers(engine, filter);
    print(deletedText('Containers', containers.removed));
    const images = await pruneImages(engine, { all: flags.all, filter });
    print(deletedText('Images', removedLines(images.removed)) + reclaimedText(containers.bytes + images.bytes));
    return reportErrors([...containers.errors, ...images.errors]);
  },
});

function warning(all: boolean, filters: readonly string[]): string {
  const what = [
    'all stopped containers',
    whichImages(all),
    ...(filters.length === 0 ? ['layers that interrupted pulls have left'] : []),
  ];
  const list = (lines: readonly string[]) => lines.map((line) => `  - ${line}\n`).join('');
  const filtered =
    filters.length === 0 ? '' : `\n  Items to be pruned will be filtered with:\n${list([...filters].sort())}`;
  return `This will remove:\n${list(what)}${filtered}`;
}
