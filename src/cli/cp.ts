/** `tsbox cp` */
import { isAbsolute, resolve } from 'node:path';
import { splitCopyArgument } from '../engine/copy-names.ts';
import { TsboxError } from '../errors.ts';
import { command } from './command.ts';

/** As Docker says it: without a word about the help. */
const wrong = (message: string) => new TsboxError('ERR_TSBOX_USAGE', message);

export const verb = command({
  usage: '[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n       tsbox cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH',
  summary: 'Copy files between a container and the host; - is a tar archive',
  count: [2, 2],
  flags: {
    archive: {
      kind: 'bool',
      short: 'a',
      help: 'Keep owners on the host; in the container, those of its user if it has one',
    },
    'follow-link': { kind: 'bool', short: 'L', help: 'Copy what a symbolic link as the source leads to' },
    quiet: { kind: 'bool', short: 'q', help: 'Do not say how much was copied' },
  },
  async run(context, flags, [from = '', to = '']) {
    if (from === '') throw wrong('source can not be empty');
    if (to === '') throw wrong('destination can not be empty');
    const [source, destination] = [splitCopyArgument(from), splitCopyArgument(to)];
    const inside = source.container === undefined ? destination : source;
    const outside = source.container === undefined ? source : destination;
    if (inside.container === undefined) throw wrong('must specify at least one container source');
    if (outside.container !== undefined) throw wrong('copying between containers is not supported');
    const request = {
      container: inside.container,
      path: inside.path,
      host: outside.path,
      // A working directory that has been removed is of no interest to a path that does not begin there.
      from: isAbsolute(outside.path) || outside.path === '-' ? '/' : process.cwd(),
      followLink: flags['follow-link'],
      archive: flags.archive,
    };
    const engine = await context.engine();
    const { asOwnerOf } = await import('../engine/container-owner.ts');
    await asOwnerOf(engine, inside.container);
    const { copyFromContainer, copyToContainer, readFromContainer } = await import('../engine/copy.ts');
    if (inside === source && outside.path === '-') {
      const { writeArchive } = await import('./archive.ts');
      await writeArchive(readFromContainer(engine, request));
      return 0;
    }
    const stream = outside.path === '-' ? process.stdin : undefined;
    const copied =
      inside === source ? await copyFromContainer(engine, request) : await copyToContainer(engine, request, stream);
    const { complain } = await import('./output.ts');
    for (const notice of copied.notices) complain(`WARNING: ${notice}\n`);
    if (!flags.quiet && process.stdout.isTTY) {
      const { humanSize } = await import('./human.ts');
      const where = inside === source ? resolve(request.from, outside.path) : to;
      complain(`Successfully copied ${humanSize(copied.bytes, 3)} to ${where}\n`);
    }
    return 0;
  },
});
