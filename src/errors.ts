/**
 * The errors that a user can meet. Message: verb, object, ERRNO (text), in lower case without a period:
 * `mount overlay /var/lib/tsbox/overlay2/ab/merged: EBUSY (Device or resource busy)`. The hint stands apart
 * and is printed by the CLI only. A bug stays a plain `Error`.
 */

/** Stable codes, one for each kind of thing a program may want to tell apart. */
export type ErrorCode =
  | 'ERR_TSBOX_USAGE' // a flag or argument is wrong
  | 'ERR_TSBOX_SYSCALL' // the kernel refused
  | 'ERR_TSBOX_SPEC' // a value that no specification allows
  | 'ERR_TSBOX_UNSUPPORTED' // known, but this tsbox or this host does not do it
  | 'ERR_TSBOX_NOT_FOUND' // no such image, container, file, layer
  | 'ERR_TSBOX_CONFLICT' // name in use, container running, image used
  | 'ERR_TSBOX_DAMAGED' // an archive, a state file or a blob is not what it says
  | 'ERR_TSBOX_REGISTRY' // the registry refused or could not be reached
  | 'ERR_TSBOX_UNAUTHORIZED' // the registry wants (other) credentials
  | 'ERR_TSBOX_LIMIT' // larger than a limit that can be raised
  | 'ERR_TSBOX_EXECUTOR' // the native half is missing or of another version
  | 'ERR_TSBOX_START'; // the container's command could not be started

export interface ErrorDetails {
  /** What to do about it: whole sentences, for a person. */
  hint?: string;
  /** Exit code of the CLI when this error ends it; 125 for run-like verbs, 1 otherwise, when absent. */
  exitCode?: number;
  cause?: unknown;
}

/** An error that a user can meet. */
export class TsboxError extends Error {
  readonly code: ErrorCode;
  readonly hint: string | undefined;
  readonly exitCode: number | undefined;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = 'TsboxError';
    this.code = code;
    this.hint = details.hint;
    this.exitCode = details.exitCode;
  }
}

/** The kernel refused a system call. `what` is verb and object, e.g. `mkdir /var/lib/tsbox`. */
export class SyscallError extends TsboxError {
  readonly syscall: string;
  readonly errno: number;
  /** `EPERM`, `ENOSPC`, ... */
  readonly errnoName: string;

  constructor(
    syscall: string,
    what: string,
    errno: { number: number; name: string; text: string },
    details: ErrorDetails = {},
  ) {
    super('ERR_TSBOX_SYSCALL', `${what}: ${errno.name} (${errno.text})`, details);
    this.name = 'SyscallError';
    this.syscall = syscall;
    this.errno = errno.number;
    this.errnoName = errno.name;
  }
}

/** Is `error` a refusal with this errno, be it ours or one of Node's own file system errors? */
export function isErrno(error: unknown, name: string): boolean {
  if (error instanceof SyscallError) return error.errnoName === name;
  return error instanceof Error && (error as NodeJS.ErrnoException).code === name;
}

/** The same error with `what: ` in front, hint and code kept: the caller adds its own verb and object. */
export function wrapError(what: string, error: unknown): TsboxError {
  if (error instanceof TsboxError) {
    const details: ErrorDetails = { cause: error };
    if (error.hint !== undefined) details.hint = error.hint;
    if (error.exitCode !== undefined) details.exitCode = error.exitCode;
    return new TsboxError(error.code, `${what}: ${error.message}`, details);
  }
  const message = error instanceof Error ? error.message : String(error);
  return new TsboxError('ERR_TSBOX_SYSCALL', `${what}: ${message}`, { cause: error });
}
