/** `tsbox volume prune` */
import { command } from './command.ts';
import { print } from './output.ts';
import { deletedText, isWanted, labelFilter, reclaimedText, reportErrors } from './pruning.ts';

export const verb = command({
  usage: '[OPTIONS]',
  summary: 'Remove all volumes that no container has',
  count: [0, 0],
  flags: {
    all: { kind: 'bool', short: 'a', help: 'Named volumes too, as Docker 23 and later call it: here they always go' },
    filter: {
      kind: 'list',
      value: 'filter',
      help: 'Remove only what fits: label=<key>[=<value>], label!=<key>[=<value>]',
    },
    force: { kind: 'bool', short: 'f', help: 'Do not ask for confirmation' },
  },
  async run(context, flags) {
    const filter = labelFilter(flags.filter);
    if (!isWanted('This will remove all local volumes not used by at least one container.', flags.force)) return 0;
    const engine = await context.engine();
    const { pruneVolumes } = await import('../engine/volumes.ts');
    const { removed, bytes, errors } = pruneVolumes(engine, filter);
    print(deletedText('Volumes', removed) + reclaimedText(bytes));
    return reportErrors(errors);
  },
});
