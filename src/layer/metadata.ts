/** Owner, permissions, attributes and times, in the order that keeps them all: a chown clears set-user-ID bits and capabilities. */
import { isErrno, wrapError } from '../errors.ts';
import { fchmod, fchmodat, fchown, futimens, lchownat, lutimensat } from '../sys/file.ts';
import { fsetxattr, lsetxattr } from '../sys/xattr.ts';
import { aclBytes } from './acl.ts';
import { bytesOf, quoted, type TarEntry } from './entry.ts';
import { isOverlayXattr } from './whiteout.ts';

/** What is set on a file or directory; no time for a directory that was made because an entry needed it. */
export type Attributes = Pick<TarEntry, 'name' | 'mode' | 'uid' | 'gid' | 'mtimeNsec' | 'xattrs' | 'acls'> & {
  mtime: number | undefined;
};

export interface MetadataWriter {
  readonly options: MetadataOptions;
  /** By an open descriptor. `created` are the permission bits that the file was made with, the umask included. */
  toFile(fd: number, attributes: Attributes, created: number): void;
  /** The owner that a new file has to be given; undefined when it has the right one anyhow. */
  ownerOf(attributes: Attributes): { uid: number; gid: number } | undefined;
  /** By name, for symlinks, fifos and device nodes. */
  toName(dirfd: number, base: Buffer, entry: TarEntry): void;
  /** Notes that something of an entry was left out. */
  leaveOut(what: string): void;
  /** What could not be set because this file system or user may not: one sentence a kind. */
  notices(): string[];
}

export interface MetadataOptions {
  /** Give files to the owners that the archive names. */
  chown: boolean;
  /** The owner that a new file has anyhow, when that is certain: saves a system call a file. */
  givenOwner: { uid: number; gid: number } | undefined;
}

export function createMetadataWriter(options: MetadataOptions): MetadataWriter {
  const { chown, givenOwner } = options;
  const refused = new Map<string, number>();

  function ownerOf({ uid, gid }: Attributes): { uid: number; gid: number } | undefined {
    return chown && !(givenOwner?.uid === uid && givenOwner.gid === gid) ? { uid, gid } : undefined;
  }

  function leaveOut(what: string): void {
    refused.set(what, (refused.get(what) ?? 0) + 1);
  }

  function setXattr(name: string, attributes: Attributes, set: () => void): void {
    if (isOverlayXattr(name)) return;
    try {
      set();
    } catch (error) {
      if (isErrno(error, 'EPERM')) leaveOut(`attribute ${name}: not permitted`);
      else if (isErrno(error, 'EOPNOTSUPP') || isErrno(error, 'ENOTSUP')) leaveOut(`attribute ${name}: not supported`);
      else throw wrapError(`tar entry ${quoted(attributes.name)}`, error);
    }
  }

  function setXattrs(attributes: Attributes, set: (name: string, value: Buffer) => void): void {
    for (const [name, value] of attributes.xattrs ?? []) setXattr(name, attributes, () => set(name, value));
    for (const [kind, text] of attributes.acls ?? []) {
      const name = `system.posix_acl_${kind}`;
      const value = kind === 'access' || kind === 'default' ? aclBytes(text) : undefined;
      if (attributes.xattrs?.has(name) === true) continue;
      if (value === undefined) leaveOut('an ACL that names users or groups, or is none of POSIX');
      else setXattr(name, attributes, () => setAcl(kind, () => set(name, value)));
    }
  }

  /** One that is incomplete, or a default for what is no directory, is left out: GNU tar goes on too. */
  function setAcl(kind: string, set: () => void): void {
    try {
      set();
    } catch (error) {
      if (!isErrno(error, 'EINVAL') && !isErrno(error, 'EACCES')) throw error;
      leaveOut(`an ACL that cannot be (${kind})`);
    }
  }

  function toFile(fd: number, attributes: Attributes, created: number): void {
    const owner = ownerOf(attributes);
    if (owner !== undefined) fchown(fd, owner.uid, owner.gid, bytesOf(attributes.name));
    if (attributes.mode !== created) fchmod(fd, attributes.mode, bytesOf(attributes.name));
    if (attributes.xattrs !== undefined || attributes.acls !== undefined) {
      setXattrs(attributes, (name, value) => fsetxattr(fd, name, value));
    }
    if (attributes.mtime !== undefined) futimens(fd, attributes.mtime, attributes.mtimeNsec, bytesOf(attributes.name));
  }

  function toName(dirfd: number, base: Buffer, entry: TarEntry): void {
    const owner = ownerOf(entry);
    if (owner !== undefined) lchownat(dirfd, base, owner.uid, owner.gid);
    if (entry.type !== 'symlink') fchmodat(dirfd, base, entry.mode);
    if (entry.xattrs !== undefined || entry.acls !== undefined) {
      const path = Buffer.concat([Buffer.from(`/proc/self/fd/${dirfd}/`), base]);
      setXattrs(entry, (name, value) => lsetxattr(path, name, value));
    }
    lutimensat(dirfd, base, entry.mtime, entry.mtimeNsec);
  }

  function notices(): string[] {
    return [...refused].map(([what, count]) => `left out of ${count} ${count === 1 ? 'entry' : 'entries'}: ${what}`);
  }

  return { options, toFile, ownerOf, toName, leaveOut, notices };
}
