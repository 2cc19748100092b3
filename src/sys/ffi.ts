/**
 * The one door to native functions. koffi's binary is opened directly: its JavaScript front costs 7 ms of start that nothing
 * here uses (1.2 ms instead of 8.5 ms, docs/decisions.md). Functions are bound on first use, one libc symbol each.
 *
 * They are called through native-bindings/library/call.c, which keeps errno: when it is asked for later, the garbage collector may
 * have made system calls of its own.
 *
 * Paths go as `const void *`: names on Linux are bytes, so a Buffer must be as good as a string.
 */
import { SyscallError } from '../errors.ts';
import { errnoNumber, errnoOf } from '../spec/errno.ts';
import { requireBinary, requireBuiltFile } from './built-file.ts';

export type NativeFunction = (...args: unknown[]) => number;

interface BoundFunction extends NativeFunction {
  /** Calls it on a thread of libuv's pool. The last argument is called back on this thread. */
  async(...argsAndCallback: unknown[]): void;
}

interface Library {
  func(name: string, result: string, args: string[]): BoundFunction;
  func(prototype: string): NativeFunction;
}

interface Koffi {
  load(path: string | null): Library;
}

/** tsbox's own library, as a name for {@link bind}. */
export const OWN = 'libtsbox.so';

let koffi: Koffi | undefined;
let own: Library | undefined;
let symbol: NativeFunction;
/** errno of the last call on this thread; outside of the heap, where it stays in its place. */
const errnoCell = newErrno();

function newErrno(): Int32Array<ArrayBuffer> {
  return new Int32Array(new ArrayBuffer(4));
}

function loadKoffi(): Koffi {
  const module = { exports: {} as Koffi };
  process.dlopen(module, requireBinary(`@koromix/koffi-linux-${process.arch}/linux_${process.arch}/koffi.node`));
  return module.exports;
}

/** @throws ERR_TSBOX_EXECUTOR when it was not built */
function ownLibrary(): Library {
  if (own !== undefined) return own;
  koffi ??= loadKoffi();
  own = koffi.load(requireBuiltFile(OWN));
  symbol = own.func('tsbox_symbol', 'int64_t', ['const void *', 'const void *']);
  own.func('tsbox_keep_errno', 'void', ['void *'])(errnoCell);
  return own;
}

/** @throws Error when the library or the function is not there */
function addressOf(soname: string | null, name: string): number {
  ownLibrary();
  const file = soname === OWN ? requireBuiltFile(OWN) : soname;
  const address = symbol(file === null ? null : cstring(file), cstring(name));
  if (address === 0) throw new Error(`${soname ?? 'the C library'} has no ${name}`);
  return address;
}

/** A C function, bound when it is first called: `const umask = bind('int', 'umask', ['unsigned int'])`. Up to seven arguments, none of
 *  them a floating-point number. The same symbol may be bound more than once with other types, as `syscall(2)` needs.
 *  @param soname of the library that has it; `null` is the C library that Node itself runs on */
export function bind(result: string, name: string, args: string[], soname: string | null = null): NativeFunction {
  let bound: NativeFunction | undefined;
  let address = 0;
  return (...values) => {
    if (bound === undefined) {
      address = addressOf(soname, name);
      bound = ownLibrary().func('tsbox_call', result, ['int64_t', ...args]);
    }
    return bound(address, ...values);
  };
}

/** As {@link bind} for a system call that takes its time: it runs on another thread.
 *  @param what verb and object for the error
 *  @returns a function whose result -1 is thrown as a {@link SyscallError}, `name` being the system call */
export function bindSlow(
  result: string,
  name: string,
  args: string[],
  soname: string | null = null,
): (what: string, ...values: unknown[]) => Promise<number> {
  let bound: BoundFunction | undefined;
  let address = 0;
  return (what, ...values) => {
    if (bound === undefined) {
      address = addressOf(soname, name);
      bound = ownLibrary().func('tsbox_call_on', result, ['void *', 'int64_t', ...args]);
    }
    const { async: start } = bound;
    const errno = newErrno();
    return new Promise((resolve, reject) => {
      start(errno, address, ...values, (error: Error | null, value: number) => {
        if (error !== null) reject(error);
        else if (value === -1) reject(new SyscallError(name, what, errnoOf(errno[0]!)));
        else resolve(value);
      });
    });
  };
}

/** errno of the last native call on this thread. */
export function lastErrno(): number {
  return errnoCell[0]!;
}

/** `result`, unless it is -1: then the kernel's refusal is thrown. `what` (verb and object) is only built on failure. */
export function check(result: number, syscall: string, what: () => string): number {
  if (result !== -1) return result;
  throw new SyscallError(syscall, what(), errnoOf(lastErrno()));
}

/** A refusal that was decided here and not by the kernel, in the kernel's words. */
export function refuse(syscall: string, what: string, errnoName: string): SyscallError {
  return new SyscallError(syscall, what, errnoOf(errnoNumber(errnoName)));
}

/** Bytes of a path with the final NUL that C wants. @throws SyscallError EINVAL on a NUL inside */
export function cstring(path: string | Buffer): Buffer {
  const bytes = typeof path === 'string' ? Buffer.from(`${path}\0`) : Buffer.concat([path, Buffer.of(0)]);
  if (bytes.indexOf(0) !== bytes.length - 1)
    throw refuse('path', `use ${JSON.stringify(String(path))} as a path`, 'EINVAL');
  return bytes;
}

/** A path in an error message: control characters and bytes that are not UTF-8 escaped. */
export function printable(path: string | Buffer): string {
  const text = typeof path === 'string' ? path : path.toString('utf8');
  return text.replace(/[\u0000-\u001f\u007f\ufffd]/g, (c) =>
    c === '\ufffd' ? '?' : `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`,
  );
}
