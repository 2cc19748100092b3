/** Where `save` and `export` write their archive. */
import { isatty } from 'node:tty';
import { beside } from '../engine/parallel.ts';
import { isErrno, SyscallError, TsboxError } from '../errors.ts';
import { errnoNumber, errnoOf } from '../spec/errno.ts';

/** Archives are not for people to look at. @throws ERR_TSBOX_USAGE when standard output is a terminal */
export function refuseTerminal(): void {
  if (!isatty(1)) return;
  throw new TsboxError('ERR_TSBOX_USAGE', 'refusing to write an archive to a terminal', {
    hint: 'Use -o FILE, or redirect the output.',
  });
}

/** Writes an archive to standard output. @param archive each chunk good until the next is asked for, at the least */
export async function writeArchive(archive: AsyncIterable<Uint8Array>): Promise<void> {
  const { writeAll } = await import('./streams.ts');
  const output = writeAll();
  for await (const chunk of archive) await output.write('stdout', chunk);
  await output.end();
}

/** Writes an archive to a file: whole, or not at all. Nobody else may read it, as with Docker: it may hold secrets.
 *  @param archive each chunk good until one more has been asked for, at the least */
export async function writeArchiveFile(archive: AsyncIterable<Uint8Array>, path: string): Promise<void> {
  const { open, rename, rm, stat } = await import('node:fs/promises');
  // A device or a pipe is written to; a file is replaced when the archive is complete.
  const special = await stat(path).then(
    (stats) => !stats.isFile(),
    () => false,
  );
  const target = special ? path : `${path}.${process.pid}.${Date.now().toString(36)}.partial`;
  const file = await open(target, special ? 'w' : 'wx', 0o600).catch((error: NodeJS.ErrnoException) => {
    throw Object.assign(error, { path });
  });
  try {
    // While one chunk is written, the next one is made.
    const writing = beside((chunk: Uint8Array) => file.writeFile(chunk));
    for await (const chunk of archive) await writing.begin(chunk);
    await writing.end();
    await file.close();
    if (!special) await rename(target, path);
  } catch (error) {
    await file.close().catch(() => undefined);
    if (!special) await rm(target, { force: true });
    if (!isErrno(error, 'ENOSPC') || error instanceof TsboxError) throw error;
    throw new SyscallError('write', `write ${path}`, errnoOf(errnoNumber('ENOSPC')), {
      hint: 'The disk is full there. Choose another place for the archive.',
      cause: error,
    });
  }
}
