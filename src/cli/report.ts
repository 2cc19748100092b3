/** Errors as a user sees them: `tsbox: message`, then what to do about it. */
import { SyscallError, TsboxError } from '../errors.ts';
import { errnoNumber, errnoOf } from '../spec/errno.ts';
import { UsageError } from './args.ts';
import { hintFor } from './hints.ts';
import { complain } from './output.ts';
import { sourceStack } from './stack.ts';

let stacks = false;

/** `--debug`: from here on a report has the stack and the causes. */
export function showStacks(): void {
  stacks = true;
}

/** Prints the error on standard error. */
export function report(error: unknown): void {
  complain(reportText(error, process.getuid?.() ?? 0));
  if (stacks) complain(`${stackText(error)}\n`);
}

/** @param uid of the caller: some hints are about not being root */
export function reportText(error: unknown, uid: number): string {
  if (error instanceof UsageError) {
    const hint = error.hint === undefined ? '' : `hint: ${error.hint}\n`;
    return `tsbox: ${error.message}\n${hint}See '${error.command} --help'.\n`;
  }
  const known = asKnown(error);
  if (known === undefined) {
    const text = error instanceof Error ? sourceStack(error.stack ?? error.message) : String(error);
    return `tsbox: internal error: ${text}\nhint: This is a bug in tsbox. Please report it with the command that led to it.\n`;
  }
  const hint = known.hint ?? hintFor(known, uid);
  return `tsbox: ${known.message}\n${hint === undefined ? '' : `hint: ${hint}\n`}`;
}

/** An error that is not a bug; Node's own of a system call in our words. */
function asKnown(error: unknown): TsboxError | undefined {
  if (error instanceof TsboxError) return error;
  if (!(error instanceof Error)) return undefined;
  // Node's loader of modules tells it in words alone.
  if (/: too many open files/.test(error.message)) {
    return new SyscallError('open', 'load a part of tsbox', errnoOf(errnoNumber('EMFILE')), { cause: error });
  }
  const { syscall, code, path } = error as NodeJS.ErrnoException;
  if (syscall === undefined || code === undefined || !/^E[A-Z0-9]+$/.test(code)) return undefined;
  const call = syscall === 'uv_cwd' ? 'find the working directory' : syscall;
  const what = path === undefined ? call : `${call} ${path}`;
  try {
    return new SyscallError(syscall, what, errnoOf(errnoNumber(code)), { cause: error });
  } catch {
    return new TsboxError('ERR_TSBOX_SYSCALL', `${what}: ${code}`, { cause: error });
  }
}

function stackText(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const cause = error.cause === undefined ? '' : `\ncaused by: ${stackText(error.cause)}`;
  return `${sourceStack(error.stack ?? error.message)}${cause}`;
}
