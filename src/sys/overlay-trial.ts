/** Would the kernel make an overlay of these directories? It is asked for one that is mounted nowhere. @see fsopen(2), fsconfig(2) */
import { closeSync } from 'node:fs';
import { isErrno, SyscallError } from '../errors.ts';
import { bind, check, cstring } from './ffi.ts';

const P = 'const void *';
const syscall2 = bind('long', 'syscall', ['long', P, 'unsigned int']);
const syscall5 = bind('long', 'syscall', ['long', 'int', 'unsigned int', P, P, 'int']);
/** The numbers are the same on both architectures. */
const [SYS_FSOPEN, SYS_FSCONFIG, FSOPEN_CLOEXEC] = [430, 431, 1];
const [FSCONFIG_SET_STRING, FSCONFIG_CMD_CREATE] = [1, 6];

/** Nothing is seen of it, and nothing is left but what the kernel makes in the work directory.
 *  @returns how it is refused; undefined when it is not, or when this kernel cannot be asked (before Linux 5.2) */
export function overlayRefusal(directories: Readonly<Record<'lowerdir' | 'upperdir' | 'workdir', string>>) {
  let fd = -1;
  const call = (result: number) => check(result, 'mount', () => 'try an overlay');
  try {
    fd = call(syscall2(SYS_FSOPEN, cstring('overlay'), FSOPEN_CLOEXEC));
    for (const [key, value] of Object.entries(directories)) {
      call(syscall5(SYS_FSCONFIG, fd, FSCONFIG_SET_STRING, cstring(key), cstring(value), 0));
    }
    call(syscall5(SYS_FSCONFIG, fd, FSCONFIG_CMD_CREATE, null, null, 0));
    return undefined;
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    return isErrno(error, 'ENOSYS') ? undefined : error;
  } finally {
    if (fd >= 0) closeSync(fd);
  }
}
