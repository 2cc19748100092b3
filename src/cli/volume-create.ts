/** `tsbox volume create` */
import { UsageError } from './args.ts';
import { command } from './command.ts';
import { keyValues, labels } from './container-flags.ts';
import { print } from './output.ts';

export const verb = command({
  usage: '[OPTIONS] [VOLUME]',
  summary: 'Create a volume',
  count: [0, 1],
  flags: {
    driver: { kind: 'string', short: 'd', default: 'local', help: "'local' is the only one" },
    label: { kind: 'list', help: 'Set a label (key=value)' },
    name: { kind: 'string', help: 'The same as VOLUME' },
    opt: {
      kind: 'list',
      short: 'o',
      help: 'Set an option of the driver: type=, device= and o= say what is mounted, as for mount(8)',
    },
  },
  // of volumes that a swarm has
  unsupported:
    'availability group limit-bytes required-bytes scope secret sharing topology-preferred topology-required type',
  async run(context, { driver, label, name = '', opt }, [positional = '']) {
    if (name !== '' && positional !== '') {
      const message = 'conflicting options: cannot specify a volume-name through both --name and as a positional arg';
      throw new UsageError(message, 1);
    }
    const engine = await context.engine();
    const { createVolume } = await import('../engine/volumes.ts');
    const request = { name: positional || name, driver, labels: labels(label), options: keyValues(opt) };
    print(`${createVolume(engine, request)}\n`);
    return 0;
  },
});
