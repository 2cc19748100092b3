/** The mount namespace of a thread that has just unshared it. */
import { closeSync, openSync } from 'node:fs';
import { isErrno } from '../errors.ts';
import { CLONE } from '../spec/linux.ts';
import { bind, check, cstring } from './ffi.ts';
import { mount } from './mount.ts';
import { setns } from './process.ts';

const fchdir = bind('int', 'fchdir', ['int']);
const chroot = bind('int', 'chroot', ['const void *']);

/** Says of all mounts how what is mounted from here on gets around. In a chroot(2) whose directory is no mount the kernel takes that only
 *  where the mount namespace begins: then this goes there, and comes back. @param flags MS_PRIVATE and the like, MS_REC
 *  @throws SyscallError */
export function propagateAll(flags: number): void {
  try {
    mount('', '/', '', flags, '');
  } catch (error) {
    if (!isErrno(error, 'EINVAL')) throw error;
    const [root, directory] = [openSync('/', 'r'), openSync('.', 'r')];
    try {
      setns('/proc/self/ns/mnt', CLONE.CLONE_NEWNS);
      mount('', '/', '', flags, '');
      check(fchdir(root), 'fchdir', () => 'go back into the chroot');
      check(chroot(cstring('.')), 'chroot', () => 'go back into the chroot');
      check(fchdir(directory), 'fchdir', () => 'go back to the working directory');
    } finally {
      for (const fd of [root, directory]) closeSync(fd);
    }
  }
}
