/** Refusals of the kernel that `node:fs` and streams report, in tsbox's own words. */
import { SyscallError, TsboxError } from '../errors.ts';
import { errnoOf } from '../spec/errno.ts';

/** Node's error of a system call as a {@link SyscallError}; any other error as it is.
 *  @param what verb and object @param hints by errno */
export function refusal(what: string, error: unknown, hints: Readonly<Record<string, string>> = {}): unknown {
  if (error instanceof TsboxError || !(error instanceof Error)) return error;
  const { errno, syscall } = error as NodeJS.ErrnoException;
  if (typeof errno !== 'number' || errno >= 0) return error;
  const described = errnoOf(-errno);
  const hint = hints[described.name];
  return new SyscallError(syscall ?? 'open', what, described, {
    cause: error,
    ...(hint === undefined ? {} : { hint }),
  });
}
