/** `tsbox network prune` */
import { command } from './command.ts';
import { print } from './output.ts';
import { deletedText, isWanted, PRUNE_FLAGS, pruneFilter, reportErrors } from './pruning.ts';

export const verb = command({
  usage: '[OPTIONS]',
  summary: 'Remove all networks that no running container is in',
  count: [0, 0],
  flags: PRUNE_FLAGS,
  async run(context, flags) {
    const filter = pruneFilter(flags.filter);
    if (!isWanted('This will remove all custom networks not used by at least one container.', flags.force)) return 0;
    const engine = await context.engine();
    const { pruneNetworks } = await import('../engine/networks.ts');
    const { removed, errors } = pruneNetworks(engine, filter);
    print(deletedText('Networks', removed));
    return reportErrors(errors);
  },
});
