/** Unpacks a layer: a stream of tar bytes becomes a directory as a union file system wants it. */
import { createHash } from 'node:crypto';
import { isErrno, TsboxError } from '../errors.ts';
import { S } from '../spec/linux.ts';
import { AT_EMPTY_PATH, close, deviceNumber, mknodat, symlinkat } from '../sys/file.ts';
import { isNamespaceRoot } from '../sys/own-ids.ts';
import { statAt } from '../sys/stat.ts';
import { baseOf, bytesOf, damaged, nameTooLong, parentOf, pathOf, quoted, type TarEntry } from './entry.ts';
import { createFileMaker, type FileMaker } from './files.ts';
import { overLimit } from './limits.ts';
import { createLinker, pathOfLink } from './links.ts';
import { createMetadataWriter, type MetadataWriter } from './metadata.ts';
import { createPlainTaker } from './plain.ts';
import { createTarReader, type TakenEntries, type TarHandler } from './read.ts';
import { createTarSplitWriter, type TarSplitWriter } from './tar-split.ts';
import { openTarget, type Target } from './target.ts';
import { type Whiteout, type WhiteoutForm, whiteoutOf } from './whiteout.ts';

export interface LayerLimits {
  /** Bytes of all files together, holes included, and of the archive; 64 GiB when absent. */
  maxBytes?: number;
  /** 4,000,000 when absent. */
  maxEntries?: number;
}

export interface ApplyOptions {
  whiteouts: WhiteoutForm;
  /** Give files to the owners that the archive names; without it everything belongs to the caller. */
  lchown: boolean;
  /** Where to write tar-split.json.gz; beside it temporary names with this prefix are used. */
  tarSplit?: string;
  limits?: LayerLimits;
  /** The digest of the whole stream, asked for at its end, where somebody else sums it. */
  diffId?: () => string;
  /** Directories of the layers below, the nearest first: for hard links to files in them, for directories that no entry describes,
   *  and to hide all of them. They are asked for after the stream's end, so they may be in the making while it runs. */
  lowers?: readonly string[] | (() => Promise<readonly string[]>);
}

export interface AppliedLayer {
  /** `sha256:...` of the bytes of the archive, those after its end included. */
  diffId: string;
  /** Bytes of the archive. */
  archiveSize: number;
  /** Bytes of the regular files, holes included, and of the targets of symlinks: what dockerd counts too. */
  size: number;
  entries: number;
  /** What could not be kept and was left out: one sentence a kind, for a person. */
  notices: string[];
}

const DEFAULT_LIMITS = { maxBytes: 64 * 2 ** 30, maxEntries: 4_000_000 };

/** Unpacks `stream` (uncompressed) into the existing, empty directory `targetDir`; with `whiteouts: 'remove'` it holds the lower
 *  layers' files. When this throws, the directory and the tar-split file are the caller's to remove. Nothing is synced to disk.
 *  @throws ERR_TSBOX_DAMAGED for an archive that is not one or leads out of the directory, ERR_TSBOX_LIMIT, SyscallError */
export async function applyLayer(
  stream: AsyncIterable<Buffer>,
  targetDir: string | Buffer,
  options: ApplyOptions,
): Promise<AppliedLayer> {
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  const split = options.tarSplit === undefined ? undefined : createTarSplitWriter(options.tarSplit);
  let target: Target | undefined;
  let files: FileMaker | undefined;
  let unpacker: Unpacker | undefined;
  try {
    // Which entry takes the place of a file, when that is not the entry in hand.
    let replacedAt: number | undefined;
    target = openTarget(targetDir, {
      form: options.whiteouts,
      onLoss: (path, dirfd, base, size) => size > 0 && split?.lost(path, dirfd, base, size, replacedAt ?? split.mark()),
      settle: (path) => {
        if (path === undefined || files?.holds(path)) files?.settle();
      },
      closeLater: (fd) => (files === undefined ? close(fd) : files.closeDirectory(fd)),
    });
    const metadata = createMetadataWriter({ chown: options.lchown, givenOwner: givenOwner(target, options) });
    files = createFileMaker({
      target,
      metadata,
      aside: options.whiteouts !== 'remove',
      clear(path, name, mark) {
        replacedAt = mark;
        target!.clear(target!.directory(parentOf(path), name), path);
        replacedAt = undefined;
      },
    });
    unpacker = createUnpacker(target, metadata, files, split, options, limits);
    const { diffId, archiveSize } = await feed(stream, unpacker, split, limits.maxBytes, options.diffId);
    await unpacker.finish();
    target.finish(metadata);
    await split?.finish();
    return { diffId, archiveSize, size: unpacker.size(), entries: unpacker.entries(), notices: metadata.notices() };
  } catch (error) {
    split?.abort();
    throw error;
  } finally {
    files?.close();
    target?.close();
  }
}

/** The owner of files that this process makes in the target, where that is sure to be its own. */
function givenOwner(target: Target, options: ApplyOptions): { uid: number; gid: number } | undefined {
  const [uid, gid] = [process.geteuid?.() ?? -1, process.getegid?.() ?? -1];
  const status = statAt(target.root, '', AT_EMPTY_PATH);
  // Under a set-group-ID directory, and on a mount with `grpid`, the group comes from the parent.
  const own = options.whiteouts !== 'remove' && status.gid === gid && (status.mode & 0o2000) === 0;
  return own ? { uid, gid } : undefined;
}

async function feed(
  stream: AsyncIterable<Buffer>,
  unpacker: Unpacker,
  split: TarSplitWriter | undefined,
  maxBytes: number,
  sum: (() => string) | undefined,
): Promise<Pick<AppliedLayer, 'diffId' | 'archiveSize'>> {
  const hash = sum === undefined ? createHash('sha256') : undefined;
  const reader = createTarReader(unpacker.handler);
  let total = 0;
  for await (const chunk of stream) {
    total += chunk.length;
    if (total > maxBytes) throw tooLarge(maxBytes);
    hash?.update(chunk);
    reader.push(chunk);
    await split?.drain();
  }
  reader.end();
  return { diffId: hash === undefined ? sum!() : `sha256:${hash.digest('hex')}`, archiveSize: total };
}

function tooLarge(maxBytes: number): TsboxError {
  return overLimit(`the layer unpacks to more than ${maxBytes} bytes`, '--max-layer-size');
}

interface Unpacker {
  handler: TarHandler;
  size(): number;
  entries(): number;
  /** Makes the links that had to wait. */
  finish(): Promise<void>;
}

function createUnpacker(
  target: Target,
  metadata: MetadataWriter,
  files: FileMaker,
  split: TarSplitWriter | undefined,
  options: ApplyOptions,
  limits: Required<LayerLimits>,
): Unpacker {
  const linker = createLinker(target, metadata);
  const plain = split === undefined ? undefined : createPlainTaker(target, metadata, files, split);
  let size = 0;
  let entries = 0;
  let opaqueRoot = false;

  function take(chunk: Buffer, at: number): TakenEntries | undefined {
    const taken = plain?.take(chunk, at, limits.maxEntries - entries, limits.maxBytes - size);
    entries += taken?.entries ?? 0;
    size += taken?.size ?? 0;
    return taken;
  }

  function entry(found: TarEntry): void {
    if (++entries > limits.maxEntries) {
      throw overLimit(`the layer has more than ${limits.maxEntries} entries`, '--max-layer-entries');
    }
    if (found.type === 'none') {
      split?.entry(found.name, 0);
      return;
    }
    const path = pathOf(found.name);
    const whiteout = whiteoutOf(path);
    const kept = found.type === 'file' && whiteout === undefined && found.sparse === undefined;
    split?.entry(found.name, kept ? found.size : 0);
    if (whiteout !== undefined) applyWhiteout(whiteout, found);
    else if (path === '' && found.type !== 'directory') throw damaged(found.name, 'the root is not a directory');
    else if (found.type === 'file') makeFile(path, found);
    else {
      if (files.holds(path)) files.settle();
      if (found.type === 'directory') target.makeDirectory(path, found);
      else if (found.type === 'link') makeLink(path, found);
      else make(path, found);
    }
  }

  function applyWhiteout(whiteout: Whiteout, found: TarEntry): void {
    files.settle();
    if (whiteout.kind === 'hide') target.hide(whiteout.path, found.name, found);
    else if (whiteout.kind === 'opaque') {
      target.makeOpaque(whiteout.path, found.name);
      opaqueRoot ||= whiteout.path === '';
    }
  }

  function makeFile(path: string, found: TarEntry): void {
    size += found.size;
    if (size > limits.maxBytes) throw tooLarge(limits.maxBytes);
    files.create(path, found, split?.mark() ?? 0);
    target.own(path);
  }

  function makeLink(path: string, found: TarEntry): void {
    if (files.holds(pathOfLink(found))) files.settle();
    linker.link(path, found);
  }

  /** Makes a symlink, fifo or device node, over whatever an earlier entry left there. */
  function make(path: string, found: TarEntry): void {
    const dirfd = target.directory(parentOf(path), found.name);
    const base = bytesOf(baseOf(path));
    try {
      makeOnce(dirfd, base, found);
    } catch (error) {
      if (!isErrno(error, 'EEXIST')) throw error;
      files.settle();
      target.clear(dirfd, path);
      makeOnce(target.directory(parentOf(path), found.name), base, found);
    }
    target.own(path);
  }

  function makeOnce(dirfd: number, base: Buffer, found: TarEntry): void {
    if (found.type === 'symlink') {
      symlinkat(targetOf(found), dirfd, base);
      size += found.linkname.length;
    } else if (found.type === 'fifo') mknodat(dirfd, base, S.S_IFIFO | (found.mode & 0o777));
    else {
      const type = found.type === 'char' ? S.S_IFCHR : S.S_IFBLK;
      if (!makeDevice(dirfd, base, type, found)) return;
    }
    metadata.toName(dirfd, base, found);
  }

  /** Root of a user namespace makes no device nodes, and has none to use: they are left out. @returns whether it was made */
  function makeDevice(dirfd: number, base: Buffer, type: number, found: TarEntry): boolean {
    try {
      mknodat(dirfd, base, type | (found.mode & 0o777), deviceNumber(found.deviceMajor, found.deviceMinor));
      return true;
    } catch (error) {
      if (!isErrno(error, 'EPERM') || !isNamespaceRoot()) throw error;
      metadata.leaveOut('a device node, which only root of the host may make');
      return false;
    }
  }

  function data(chunk: Buffer, start: number, end: number): void {
    split?.data(chunk, start, end);
    files.data(chunk, start, end);
  }

  function done(): void {
    split?.done();
    files.done();
  }

  async function finish(): Promise<void> {
    files.settle();
    if (!linker.isWaiting() && !opaqueRoot) return;
    const lowers = typeof options.lowers === 'function' ? await options.lowers() : (options.lowers ?? []);
    linker.finish(lowers);
    if (opaqueRoot && options.whiteouts !== 'remove') linker.hideRoot(lowers);
  }

  return {
    handler: {
      raw: (chunk, start, end) => split?.raw(chunk, start, end),
      take,
      entry(found) {
        try {
          entry(found);
        } catch (error) {
          throw refusal(error, found);
        }
      },
      data,
      done,
    },
    size: () => size,
    entries: () => entries,
    finish,
  };
}

/** A symlink is kept as it is, wherever it leads: in a container it ends within the root, and here it is never followed. */
function targetOf(found: TarEntry): Buffer {
  if (found.linkname === '') throw damaged(found.name, 'a symbolic link to nothing');
  if (found.linkname.length > 4095)
    throw damaged(found.name, 'the target of the symbolic link is longer than 4095 bytes');
  return bytesOf(found.linkname);
}

function refusal(error: unknown, found: TarEntry): unknown {
  const device = found.type === 'char' || found.type === 'block';
  if (device && isErrno(error, 'EPERM')) {
    const hint = 'Only root outside of a user namespace can make device nodes. Run tsbox as root for this image.';
    return new TsboxError('ERR_TSBOX_UNSUPPORTED', `tar entry ${quoted(found.name)}: ${(error as Error).message}`, {
      hint,
      cause: error,
    });
  }
  return isErrno(error, 'ENAMETOOLONG') ? nameTooLong(found.name) : error;
}
