/** Would the kernel make an overlay of these directories? It is asked for one that is mounted nowhere. @see fsopen(2), fsconfig(2) */
import { closeSync } from 'node:fs';
import { isErrno, SyscallError } from '../errors.ts';
import { errnoOf } from '../spec/errno.ts';
import { requireBuiltFile } from './built-file.ts';
import { bind, check, cstring } from './ffi.ts';
import { spawnProcess, waitPid } from './process.ts';

const P = 'const void *';
const syscall2 = bind('long', 'syscall', ['long', P, 'unsigned int']);
const syscall5 = bind('long', 'syscall', ['long', 'int', 'unsigned int', P, P, 'int']);
/** The numbers are the same on both architectures. */
const [SYS_FSOPEN, SYS_FSCONFIG, FSOPEN_CLOEXEC] = [430, 431, 1];
const [FSCONFIG_SET_FLAG, FSCONFIG_SET_STRING, FSCONFIG_CMD_CREATE] = [0, 1, 6];

/** Exit code of tsbox-userns: it did not come to the try. */
const CANNOT_TRY = 125;

/** Nothing is seen of it, and nothing is left but what the kernel makes in the work directory.
 *  @param userxattr for root of a user namespace only
 *  @returns how it is refused; undefined when it is not, or when this kernel cannot be asked (before Linux 5.2) */
export function overlayRefusal(
  directories: Readonly<Record<'lowerdir' | 'upperdir' | 'workdir', string>>,
  userxattr: boolean,
) {
  let fd = -1;
  const call = (result: number) => check(result, 'mount', () => 'try an overlay');
  try {
    fd = call(syscall2(SYS_FSOPEN, cstring('overlay'), FSOPEN_CLOEXEC));
    for (const [key, value] of Object.entries(directories)) {
      call(syscall5(SYS_FSCONFIG, fd, FSCONFIG_SET_STRING, cstring(key), cstring(value), 0));
    }
    if (userxattr) call(syscall5(SYS_FSCONFIG, fd, FSCONFIG_SET_FLAG, cstring('userxattr'), null, 0));
    call(syscall5(SYS_FSCONFIG, fd, FSCONFIG_CMD_CREATE, null, null, 0));
    return undefined;
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    return isErrno(error, 'ENOSYS') ? undefined : error;
  } finally {
    if (fd >= 0) closeSync(fd);
  }
}

/** The same for an ordinary user: a process of his own tries it, as root of a user namespace, and takes the mount along.
 *  @param directory has the directories lower, upper and work @throws ERR_TSBOX_EXECUTOR when the program for it was not built */
export function overlayRefusalInNamespace(directory: string): string | undefined {
  const path = requireBuiltFile('tsbox-userns');
  const pid = spawnProcess({ path, args: [path, 'overlay', directory], env: [], descriptors: [] });
  const code = ((waitPid(pid, true) ?? 0) >> 8) & 0xff;
  if (code === 0) return undefined;
  return code === CANNOT_TRY ? 'no user namespace' : errnoOf(code).name;
}
