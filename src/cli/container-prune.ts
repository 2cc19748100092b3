/** `tsbox container prune` */
import { command } from './command.ts';
import { print } from './output.ts';
import { deletedText, isWanted, PRUNE_FLAGS, pruneFilter, reclaimedText, reportErrors } from './pruning.ts';

export const verb = command({
  usage: '[OPTIONS]',
  summary: 'Remove all containers that do not run',
  count: [0, 0],
  flags: PRUNE_FLAGS,
  ownsFiles: true,
  async run(context, flags) {
    const filter = pruneFilter(flags.filter);
    if (!isWanted('This will remove all stopped containers.', flags.force)) return 0;
    const engine = await context.engine();
    const { pruneContainers } = await import('../engine/prune.ts');
    const { removed, bytes, errors } = await pruneContainers(engine, filter);
    print(deletedText('Containers', removed) + reclaimedText(bytes));
    return reportErrors(errors);
  },
});
