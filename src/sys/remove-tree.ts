/** The removal of a whole tree, by Node. It tells a refusal that it has no name for as an unknown error, with the kernel's text: EMFILE among
 *  them. */
import { rmSync } from 'node:fs';
import { errnoOfText } from '../spec/errno.ts';

/** Removes a file or a tree. @param options `mustExist`: ENOENT when it is not there, which otherwise is as good
 *  @throws Node's error of a system call, with the errno that the kernel gave */
export function removeWholeTree(path: string, { mustExist = false } = {}): void {
  try {
    rmSync(path, { recursive: true, force: !mustExist });
  } catch (error) {
    throw named(path, error);
  }
}

function named(path: string, error: unknown): unknown {
  const known = error instanceof Error && /^E[A-Z0-9]+$/.test((error as NodeJS.ErrnoException).code ?? '');
  if (known || !(error instanceof Error)) return error;
  const errno = errnoOfText(error.message);
  if (errno === undefined) return error;
  const { name: code, number, text } = errno;
  const message = `${code}: ${text}, rm '${path}'`;
  return Object.assign(new Error(message, { cause: error }), { code, errno: -number, syscall: 'rm', path });
}
