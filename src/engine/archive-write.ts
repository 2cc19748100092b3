/** Writes a tar archive of files whose sizes are known: what `save` puts its documents and layers into. */
import { TsboxError } from '../errors.ts';
import { archiveEnd, encodeHeader, paddingOf } from '../layer/write.ts';

/** A file for an archive; one without data is a directory. */
export interface ArchiveFile {
  path: string;
  size: number;
  /** Whole seconds since 1970. */
  mtime: number;
  /** Exactly `size` bytes; absent for a directory. */
  data?: Buffer | AsyncIterable<Buffer>;
}

/** The archive in the order of the files. @throws what their data throws; ERR_TSBOX_DAMAGED when one has
 *  not the size that it said */
export async function* writeArchive(files: Iterable<ArchiveFile>): AsyncGenerator<Buffer> {
  for (const { path, size, mtime, data } of files) {
    yield encodeHeader({
      name: data === undefined ? `${path}/` : path,
      type: data === undefined ? 'directory' : 'file',
      mode: data === undefined ? 0o755 : 0o644,
      uid: 0,
      gid: 0,
      size,
      mtime,
      mtimeNsec: 0,
      linkname: '',
      deviceMajor: 0,
      deviceMinor: 0,
      xattrs: undefined,
    });
    let written = 0;
    for await (const chunk of Buffer.isBuffer(data) ? [data] : (data ?? [])) {
      written += chunk.length;
      yield chunk;
    }
    if (written !== size) {
      throw new TsboxError(
        'ERR_TSBOX_DAMAGED',
        `write ${path} into an archive: it has ${written} bytes and not ${size}`,
      );
    }
    if (size % 512 !== 0) yield paddingOf(size);
  }
  yield archiveEnd();
}
