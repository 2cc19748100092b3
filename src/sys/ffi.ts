/**
 * The one door to native functions. koffi's binary is opened directly: its JavaScript front costs 7 ms of start that nothing
 * here uses (1.2 ms instead of 8.5 ms, docs/decisions.md). Functions are bound on first use, one libc symbol each.
 *
 * Paths go as `const void *`: names on Linux are bytes, so a Buffer must be as good as a string.
 */
import { createRequire } from 'node:module';
import { SyscallError } from '../errors.ts';
import { errnoNumber, errnoOf } from '../spec/errno.ts';

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
  errno(): number;
  address(value: unknown): bigint;
}

let koffi: Koffi | undefined;
const libraries = new Map<string | null, Library>();

function loadKoffi(): Koffi {
  const require = createRequire(import.meta.url);
  const module = { exports: {} as Koffi };
  const path = require.resolve(`@koromix/koffi-linux-${process.arch}/linux_${process.arch}/koffi.node`);
  process.dlopen(module, path);
  return module.exports;
}

/** A shared library by its soname; `null` is the C library that Node itself runs on.
 *  @throws Error when the loader does not find it */
export function library(soname: string | null): Library {
  koffi ??= loadKoffi();
  let found = libraries.get(soname);
  if (found === undefined) {
    found = koffi.load(soname);
    libraries.set(soname, found);
  }
  return found;
}

/** A C function, bound when it is first called: `const umask = bind('int', 'umask', ['unsigned int'])`.
 *  The same symbol may be bound more than once with other types, as `syscall(2)` needs. */
export function bind(result: string, name: string, args: string[], soname: string | null = null): NativeFunction {
  let bound: NativeFunction | undefined;
  return (...values) => {
    bound ??= library(soname).func(name, result, args);
    return bound(...values);
  };
}

/** As {@link bind} for a system call that takes its time: it runs on another thread.
 *  @param what verb and object for the error
 *  @returns a function whose result -1 is thrown as a {@link SyscallError}, `name` being the system call */
export function bindSlow(
  result: string,
  name: string,
  args: string[],
): (what: string, ...values: unknown[]) => Promise<number> {
  let bound: BoundFunction | undefined;
  return (what, ...values) => {
    bound ??= library(null).func(name, result, args);
    const { async: start } = bound;
    return new Promise((resolve, reject) => {
      start(...values, (error: Error | null, value: number) => {
        if (error !== null) return reject(error);
        // Within this callback errno is that of the call.
        try {
          resolve(check(value, name, () => what));
        } catch (refusal) {
          reject(refusal);
        }
      });
    });
  };
}

/** errno of the last native call on this thread. */
export function lastErrno(): number {
  koffi ??= loadKoffi();
  return koffi.errno();
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
