/** `tsbox load` */
import { isatty } from 'node:tty';
import { TsboxError } from '../errors.ts';
import { command } from './command.ts';
import { lazyProgress } from './lazy-progress.ts';
import { print } from './output.ts';

export const verb = command({
  usage: '[OPTIONS]',
  summary: 'Read images from an archive',
  count: [0, 0],
  flags: {
    input: { kind: 'string', short: 'i', help: 'Read this file instead of standard input' },
    quiet: { kind: 'bool', short: 'q', help: 'Do not show the progress' },
  },
  unsupported: 'platform',
  ownsFiles: true,
  async run(context, { input, quiet }) {
    if (input === undefined && isatty(0)) {
      throw new TsboxError('ERR_TSBOX_USAGE', 'load needs an archive: standard input is a terminal', {
        hint: 'Use -i FILE, or redirect the input.',
      });
    }
    const engine = await context.engine();
    const { loadImages } = await import('../engine/load.ts');
    const progress = lazyProgress(1, quiet);
    const lines = await loadImages(engine, input === undefined ? {} : { input }, progress.update).finally(
      progress.finish,
    );
    print(lines.map((line) => `${line}\n`).join(''));
    return 0;
  },
});
