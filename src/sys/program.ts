/**
 * A program that may be started where others see it. A process in a container reaches the file of every program that runs there by
 * /proc/PID/exe, also of one that has only just entered, and root there is root to the file: it could write it, or change its mode. The
 * next start would run that on the host.
 */
import { accessSync, closeSync, constants, openSync, readFileSync, statSync } from 'node:fs';
import { bind, check, printable } from './ffi.ts';
import { OPEN, writeAll } from './file.ts';
import { openTree, treeSetattr } from './mount.ts';

const OPEN_TREE_CLONE = 1;
const MOUNT_ATTR_RDONLY = 1;

/** A descriptor of the program that cannot be written through, to be started as /proc/self/fd/N: for root a read-only mount of that one
 *  file, which costs nothing and shares its pages; for others a sealed copy in memory if the file is theirs to write, else the file.
 *  Nobody can make the mount writable again: it is in no mount namespace once the descriptor is closed.
 *  @throws SyscallError */
export function readOnlyProgram(path: string): number {
  if (process.geteuid?.() !== 0) return isWritable(path) ? sealedCopy(path) : openSync(path, OPEN.PATH | OPEN.CLOEXEC);
  const fd = openTree(path, OPEN_TREE_CLONE);
  try {
    treeSetattr(fd, 0, MOUNT_ATTR_RDONLY, 0, 0);
    return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

function isWritable(path: string): boolean {
  if (statSync(path).uid === process.geteuid?.()) return true; // its owner may change its mode
  try {
    accessSync(path, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

const memfdCreate = bind('int', 'memfd_create', ['const void *', 'unsigned int']);
const fcntl = bind('int', 'fcntl', ['int', 'int', 'int']);
const [MFD_CLOEXEC, MFD_ALLOW_SEALING, MFD_EXEC] = [1, 2, 0x10];
const F_ADD_SEALS = 1033;
const SEALS = 0x1 | 0x2 | 0x4 | 0x8; // F_SEAL_SEAL, _SHRINK, _GROW, _WRITE

/** @see memfd_create(2), File sealing */
function sealedCopy(path: string): number {
  const what = () => `copy ${printable(path)} into memory`;
  const name = Buffer.from('tsbox-executor\0');
  const flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  let fd = memfdCreate(name, flags | MFD_EXEC);
  if (fd === -1) fd = memfdCreate(name, flags); // Linux before 6.3 does not know MFD_EXEC and needs none
  check(fd, 'memfd_create', what);
  try {
    const bytes = readFileSync(path);
    writeAll(fd, bytes, 0, bytes.length, path);
    check(fcntl(fd, F_ADD_SEALS, SEALS), 'fcntl', what);
    // What is open for writing cannot be executed: ETXTBSY.
    return openSync(`/proc/self/fd/${fd}`, constants.O_RDONLY | OPEN.CLOEXEC);
  } finally {
    closeSync(fd);
  }
}
