/** `cp`: files between the host and a container, as a tar on the way, by the rules of Docker's names (copy-names.ts). */
import { closeSync, openSync } from 'node:fs';
import { posix } from 'node:path';
import { isErrno, TsboxError } from '../errors.ts';
import { decompress } from '../layer/decompress.ts';
import { type Resource, writeResource } from '../layer/diff.ts';
import { extractArchive } from '../layer/extract.ts';
import { ownersInside, ownersOutside } from '../layer/owners.ts';
import type { ContainerRecord } from '../spec/container.ts';
import { readHostConfig, requireContainer } from '../store/containers.ts';
import { noteContainer } from '../store/events.ts';
import { rwLayer } from '../store/rw-layers.ts';
import { OPEN, openat2, RESOLVE } from '../sys/file.ts';
import { maySetOwners } from '../sys/own-ids.ts';
import { isDirectory, isSymlink } from '../sys/stat.ts';
import { evaluatePath, lookInside } from './container-path.ts';
import { lookUpUser } from './container-plan.ts';
import { asContainerRoot, type ContainerView, openView } from './container-view.ts';
import { checkOutput, destinationOutside, hostSource, inWords, notFound } from './copy-host.ts';
import { absolute, type CopyEnd, copyPlace, keepEnding, renamed, saysDirectory, splitEntry } from './copy-names.ts';
import type { Engine } from './open.ts';

export interface CopyRequest {
  container: string;
  /** In the container. */
  path: string;
  /** On the host. */
  host: string;
  /** Where relative paths of the host begin. */
  from: string;
  /** A symlink as the source means what it leads to. */
  followLink: boolean;
  /** Keep owners on the host; in the container give all files to its user, should it have one. */
  archive: boolean;
}

export interface Copied {
  /** Of the tar. */
  bytes: number;
  /** What could not be kept: one sentence a kind. */
  notices: string[];
}

const NO_LIMITS = { maxBytes: Number.POSITIVE_INFINITY, maxRatio: Number.POSITIVE_INFINITY };
const latin1 = (text: string) => Buffer.from(text).toString('latin1');
const inRoot = (path: string) => keepEnding(posix.normalize(`/${path}`).replace(/(.)\/$/, '$1'), path);

/** @param stream a tar, perhaps compressed, that is unpacked into `path`; without it `host` is copied
 *  @throws ERR_TSBOX_NOT_FOUND, ERR_TSBOX_CONFLICT, ERR_TSBOX_DAMAGED, SyscallError */
export async function copyToContainer(
  engine: Engine,
  request: CopyRequest,
  stream?: AsyncIterable<Buffer>,
): Promise<Copied> {
  const record = requireContainer(engine.store, request.container);
  const view = await openView(engine, record);
  let source: number | undefined;
  try {
    const destination = destinationInside(view, request);
    if (stream !== undefined) {
      if (!destination.isDirectory) throw notFound(`destination "${shown(request)}" must be a directory`);
      return await unpackInside(engine, record, view, request, destination.path, decompress(stream, NO_LIMITS));
    }
    const from = hostSource(absolute(request.host, request.from), request.followLink);
    const { directory, name } = copyPlace(from, destination);
    const entry = splitEntry(from.path);
    source = openSync(entry.directory, 'r');
    const resource = { dirfd: source, base: Buffer.from(entry.name), name: latin1(name) };
    return await unpackInside(engine, record, view, request, directory, writeResource(resource));
  } finally {
    if (source !== undefined) closeSync(source);
    view.close();
  }
}

const shown = ({ container, path }: CopyRequest) => `${container}:${path}`;

/** A symlink as the destination means what it leads to, be it there or not. */
function destinationInside(view: ContainerView, request: CopyRequest): CopyEnd {
  if (request.path === '') return { path: '', exists: false, isDirectory: false };
  const path = inRoot(request.path);
  const link = look(view, path);
  const target = link !== undefined && isSymlink(link) ? evaluatePath(view.root, path) : undefined;
  const status = target === undefined ? link : look(view, target);
  if (status !== undefined && [0o020000, 0o060000].includes(status.mode & 0o170000)) {
    throw new TsboxError(
      'ERR_TSBOX_CONFLICT',
      `destination "${shown(request)}" must be a directory or a regular file: got a device`,
    );
  }
  return {
    path: target ?? request.path,
    exists: status !== undefined,
    isDirectory: status !== undefined && isDirectory(status),
  };
}

function look(view: ContainerView, path: string) {
  try {
    return lookInside(view.root, path);
  } catch (error) {
    if (isErrno(error, 'ENOTDIR') || isErrno(error, 'ELOOP')) return undefined;
    throw error;
  }
}

async function unpackInside(
  engine: Engine,
  record: ContainerRecord,
  view: ContainerView,
  request: CopyRequest,
  directory: string,
  tar: AsyncIterable<Buffer>,
): Promise<Copied> {
  const path = evaluatePath(view.root, inRoot(directory));
  noteContainer(engine.store, record, 'extract-to-dir');
  const refused = readOnly(engine, record, path);
  if (!view.isRunning && refused !== undefined) throw refused;
  const dirfd = openDirectory(view, inRoot(directory), directory, request.container);
  const asBefore = asContainerRoot(view);
  try {
    const owner = ownerInside(engine, record, request.archive);
    return await counted(tar, (stream) =>
      extractArchive(stream, dirfd, {
        shown: inRoot(directory),
        within: { root: view.root, path: latin1(path) },
        ...(maySetOwners() && { owner }),
        owners: view.owners && ownersOutside(view.owners),
      }),
    );
  } catch (error) {
    view.checkThere();
    throw isErrno(error, 'EROFS') ? (refused ?? error) : error;
  } finally {
    asBefore();
    closeSync(dirfd);
  }
}

function openDirectory(view: ContainerView, path: string, asked: string, container: string): number {
  try {
    return openat2(view.root, path, OPEN.RDONLY | OPEN.DIRECTORY, RESOLVE.IN_ROOT);
  } catch (error) {
    if (isErrno(error, 'ENOENT')) throw notFound(`Could not find the file ${asked} in container ${container}`);
    if (isErrno(error, 'ENOTDIR')) throw new TsboxError('ERR_TSBOX_CONFLICT', 'extraction point is not a directory');
    throw error;
  }
}

/** Why nothing may be written there, by what the container was made with. */
function readOnly({ store }: Engine, record: ContainerRecord, path: string): TsboxError | undefined {
  const point = Object.values(record.MountPoints).find(
    ({ Destination: at }) => path === at || path.startsWith(`${at}/`),
  );
  if (point !== undefined) {
    return point.RW ? undefined : new TsboxError('ERR_TSBOX_CONFLICT', 'mounted volume is marked read-only');
  }
  if (!readHostConfig(store, record.ID).ReadonlyRootfs) return undefined;
  return new TsboxError('ERR_TSBOX_CONFLICT', 'container rootfs is marked read-only');
}

function ownerInside({ store }: Engine, record: ContainerRecord, archive: boolean) {
  if (!archive || record.Config.User === '') return 'archive';
  const { uid, gid } = lookUpUser(rwLayer(store, record.ID), record.Config.User, []);
  return { uid, gid };
}

async function counted(
  tar: AsyncIterable<Buffer>,
  work: (stream: AsyncIterable<Buffer>) => Promise<string[]>,
): Promise<Copied> {
  let bytes = 0;
  async function* counting() {
    for await (const chunk of tar) {
      bytes += chunk.length;
      yield chunk;
    }
  }
  const notices = await work(counting());
  return { bytes, notices };
}

/** The tar of what is at `path`, under its own name: each chunk good until the next is asked for.
 *  @throws ERR_TSBOX_NOT_FOUND, SyscallError */
export async function* readFromContainer(
  engine: Engine,
  request: Omit<CopyRequest, 'host' | 'from' | 'archive'>,
): AsyncGenerator<Buffer, void, undefined> {
  const record = requireContainer(engine.store, request.container);
  const view = await openView(engine, record);
  try {
    const source = sourceInside(view, request);
    noteContainer(engine.store, record, 'archive-path');
    const { name } = splitEntry(inRoot(source.path));
    yield* packInside(view, inRoot(source.path), name);
  } finally {
    view.close();
  }
}

/** @throws ERR_TSBOX_NOT_FOUND, ERR_TSBOX_CONFLICT, SyscallError */
export async function copyFromContainer(engine: Engine, request: CopyRequest): Promise<Copied> {
  const path = absolute(request.host, request.from);
  checkOutput(path);
  const record = requireContainer(engine.store, request.container);
  const view = await openView(engine, record);
  let dirfd: number | undefined;
  try {
    const source = sourceInside(view, request);
    noteContainer(engine.store, record, 'archive-path');
    const { directory, name } = copyPlace(source, destinationOutside(path));
    dirfd = openSync(directory, 'r');
    const opened = dirfd;
    const keep = request.archive && maySetOwners() ? { owner: 'archive' as const } : {};
    return await counted(packInside(view, inRoot(source.path), name), (stream) =>
      extractArchive(stream, opened, { shown: directory, ...keep }),
    );
  } finally {
    if (dirfd !== undefined) closeSync(dirfd);
    view.close();
  }
}

function sourceInside(
  view: ContainerView,
  { container, path, followLink }: Pick<CopyRequest, 'container' | 'path' | 'followLink'>,
): CopyEnd {
  if (path === '') throw new TsboxError('ERR_TSBOX_USAGE', 'bad parameter: path cannot be empty');
  const link = followLink ? look(view, inRoot(path)) : undefined;
  const source =
    link !== undefined && isSymlink(link) ? renamed(path, evaluatePath(view.root, inRoot(path))) : { path };
  const absent = notFound(`Could not find the file ${source.path} in container ${container}`);
  try {
    const status = lookInside(view.root, inRoot(source.path));
    if (status === undefined || isOfSystem(view, inRoot(source.path))) throw absent;
    return { ...source, exists: true, isDirectory: isDirectory(status) };
  } catch (error) {
    view.checkThere();
    throw inWords('lstat', inRoot(source.path), error);
  }
}

/** Below a place where the kernel shows something else than files; such a place itself is an empty directory. */
function isOfSystem({ system, root }: ContainerView, path: string): boolean {
  const at = evaluatePath(root, path);
  return [...system].some((place) => place !== '/dev' && at.startsWith(`${place}/`));
}

async function* packInside(view: ContainerView, path: string, name: string): AsyncGenerator<Buffer, void, undefined> {
  const { system, root, owners } = view;
  const at = evaluatePath(root, path);
  const inDev = `${at}/`.startsWith('/dev/');
  const hides = (place: string) => system.has(place) && !(inDev && place === '/dev');
  const { fd, base } = openResource(root, path);
  try {
    const resource: Resource = { dirfd: fd, base, name: latin1(name) };
    yield* writeResource(resource, {
      exclude: (below) => hides(posix.dirname(posix.join(at, below))),
      owners: owners && ownersInside(owners),
    });
  } finally {
    closeSync(fd);
    view.checkThere();
  }
}

/** A directory by itself, anything else by the directory that it is in: so it is not opened before it is known to be a file. */
function openResource(root: number, path: string): { fd: number; base: Buffer } {
  const directory = (at: string, flags: number) =>
    openat2(root, at, OPEN.PATH | OPEN.DIRECTORY | flags, RESOLVE.IN_ROOT);
  try {
    return { fd: directory(path, saysDirectory(path) ? 0 : OPEN.NOFOLLOW), base: Buffer.from('.') };
  } catch (error) {
    if (!isErrno(error, 'ENOTDIR') && !isErrno(error, 'ELOOP')) throw error;
    const entry = splitEntry(path);
    return { fd: directory(entry.directory, 0), base: Buffer.from(entry.name) };
  }
}
