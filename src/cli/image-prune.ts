/** `tsbox image prune` */
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
  summary: 'Remove images and layers that nobody uses',
  count: [0, 0],
  flags: PRUNE_IMAGES_FLAGS,
  ownsFiles: true,
  async run(context, flags) {
    const filter = pruneFilter(flags.filter);
    if (!isWanted(`This will remove ${whichImages(flags.all)}.`, flags.force)) return 0;
    const engine = await context.engine();
    const { pruneImages } = await import('../engine/prune.ts');
    const { removed, bytes, errors } = await pruneImages(engine, { all: flags.all, filter });
    print(deletedText('Images', removedLines(removed)) + reclaimedText(bytes));
    return reportErrors(errors);
  },
});
