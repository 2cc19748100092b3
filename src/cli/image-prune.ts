/** `tsbox image prune` */
import { command } from './command.ts';
import { print } from './output.ts';
import {
  deletedText,
  isWanted,
  PRUNE_FLAGS,
  pruneFilter,
  reclaimedText,
  removedLines,
  reportErrors,
} from './pruning.ts';

export const verb = command({
  usage: '[OPTIONS]',
  summary: 'Remove images and layers that nobody uses',
  count: [0, 0],
  flags: {
    all: { kind: 'bool', short: 'a', help: 'Remove every image without a container, not only those without a tag' },
    ...PRUNE_FLAGS,
  },
  async run(context, flags) {
    const filter = pruneFilter(flags.filter);
    const what = flags.all ? 'all images without at least one container associated to them' : 'all dangling images';
    if (!isWanted(`This will remove ${what}.`, flags.force)) return 0;
    const engine = await context.engine();
    const { pruneImages } = await import('../engine/prune.ts');
    const { removed, bytes, errors } = await pruneImages(engine, { all: flags.all, filter });
    print(deletedText('Images', removedLines(removed)) + reclaimedText(bytes));
    return reportErrors(errors);
  },
});
