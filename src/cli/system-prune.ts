/** `tsbox system prune` */
import type { Pruned } from '../engine/prune.ts';
import { UsageError } from './args.ts';
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
  summary: 'Remove what nobody uses: containers, networks, images, layers',
  count: [0, 0],
  flags: { ...PRUNE_IMAGES_FLAGS, volumes: { kind: 'bool', help: 'Remove volumes that no container has, too' } },
  ownsFiles: true,
  async run(context, flags) {
    const filter = pruneFilter(flags.filter);
    if (flags.volumes && filter.until !== undefined) {
      throw new UsageError('ERROR: The "until" filter is not supported with "--volumes"', 1);
    }
    if (!isWanted(warning(flags), flags.force)) return 0;
    const engine = await context.engine();
    const { pruneContainers, pruneImages } = await import('../engine/prune.ts');
    // Containers first: then their images are unused too.
    const containers = await pruneContainers(engine, filter);
    print(deletedText('Containers', containers.removed));
    const networks = (await import('../engine/networks.ts')).pruneNetworks(engine, filter);
    print(deletedText('Networks', networks.removed));
    const nothing: Pruned<string[]> = { removed: [], bytes: 0, errors: [] };
    const volumes = flags.volumes ? (await import('../engine/volumes.ts')).pruneVolumes(engine, filter) : nothing;
    print(deletedText('Volumes', volumes.removed));
    const images = await pruneImages(engine, { all: flags.all, filter });
    const bytes = containers.bytes + volumes.bytes + images.bytes;
    print(deletedText('Images', removedLines(images.removed)) + reclaimedText(bytes));
    return reportErrors([...containers.errors, ...networks.errors, ...volumes.errors, ...images.errors]);
  },
});

function warning({
  all,
  filter: filters,
  volumes,
}: {
  all: boolean;
  filter: readonly string[];
  volumes: boolean;
}): string {
  const what = [
    'all stopped containers',
    'all networks not used by at least one container',
    ...(volumes ? ['all volumes not used by at least one container'] : []),
    whichImages(all),
    ...(filters.length === 0 ? ['layers that interrupted pulls have left'] : []),
  ];
  const list = (lines: readonly string[]) => lines.map((line) => `  - ${line}\n`).join('');
  const filtered =
    filters.length === 0 ? '' : `\n  Items to be pruned will be filtered with:\n${list([...filters].sort())}`;
  return `This will remove:\n${list(what)}${filtered}`;
}
