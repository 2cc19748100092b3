/**
 * `tsbox-union [SOURCE] TARGET -o lowerdir=A:B,upperdir=U,workdir=W`: the union of directories that overlayfs makes, from user space. It
 * ends when it is unmounted.
 */
import { spawn } from 'node:child_process';
import { closeSync, openSync, realpathSync, writeSync } from 'node:fs';
import { TsboxError } from '../errors.ts';
import { compileEarly } from '../sys/compile-early.ts';
import { bind, check, cstring, OWN, refuse } from '../sys/ffi.ts';
import { giveBackProgram } from '../sys/give-back.ts';
import { keepYoungSpaceSmall } from '../sys/heap.ts';
import { tryLock } from '../sys/lock.ts';
import { refusal } from '../sys/node-error.ts';
import { closeOnExecFrom, endAtOnce } from '../sys/process.ts';
import { quickly } from '../sys/quick.ts';
import { forgetMounts, mountApart } from './apart.ts';
import { mountWithHelp, openUnion } from './mount.ts';
import { parseArguments, type UnionArguments } from './options.ts';
import { serve, serveOne } from './serve.ts';

/** Where the process in the background says that the mount is there. */
const READY = 3;
/** What it serves, when it was mounted for it: see apart.ts. */
const DEVICE = 4;
const IN_BACKGROUND = 'TSBOX_UNION_IN_BACKGROUND';

/** One heap for all threads: V8's, which compile, would each keep one that is filled once. With 100,000 known files 52 to 55 MB resident
 *  instead of 54 to 61. @see mallopt(3) */
const SMALL = { MALLOC_ARENA_MAX: '1' };

const unmountWhenTold = bind('int', 'tsbox_unmount_when_told', ['const void *', 'const void *'], OWN);

function run(given: UnionArguments): void {
  keepYoungSpaceSmall();
  compileEarly();
  process.on('SIGUSR1', () => {}).removeAllListeners('SIGUSR1'); // Node would open a debugger's port
  const union = openUnion(given);
  const nothing = openSync('/dev/null', 'r+');
  if (given.lock !== undefined) holdLock(given.lock);
  union.device = given.apart ? DEVICE : mountHere(given);
  if (given.apart) forgetMounts();
  serveOne(union); // INIT: from now on the mount is live
  if (process.env[IN_BACKGROUND] !== undefined) {
    process.chdir('/'); // where somebody stood when he mounted this is not kept from being unmounted
    tell(nothing);
  }
  giveBackProgram();
  serve(union);
  endAtOnce();
}

/** Until this process ends. */
function holdLock(path: string): void {
  closeSync(openSync(path, 'a', 0o600));
  if (tryLock(path) === undefined) throw refuse('flock', `lock ${path}`, 'EAGAIN');
}

function mountHere(given: UnionArguments): number {
  const target = realpathSync(given.target);
  const { device, helper } = mountWithHelp({ ...given, target });
  const result = unmountWhenTold(cstring(target), helper === undefined ? null : cstring(helper));
  check(result, 'sigaction', () => 'wait for signals');
  return device;
}

function tell(nothing: number): void {
  writeSync(READY, 'ready');
  quickly.close(READY);
  quickly.dup3(nothing, 2, 0);
}

/** Starts this once more, in the background, and waits until the mount is there. */
function start(argv: readonly string[], given: UnionArguments): void {
  closeOnExecFrom(READY); // what whoever started this has open, it would keep open
  const apart = given.apart ? mountApart({ ...given, target: realpathSync(given.target) }) : undefined;
  const child = spawn(process.execPath, [...process.execArgv, process.argv[1]!, ...argv], {
    detached: true,
    stdio: ['ignore', 'ignore', 'pipe', 'pipe', ...(apart === undefined ? [] : [apart.device])],
    env: { ...process.env, ...SMALL, [IN_BACKGROUND]: '1' },
  });
  child.once('error', (error) => {
    apart?.undo();
    complain(refusal('start the process that serves the union', error));
  });
  child.stderr!.pipe(process.stderr);
  (child.stdio[READY] as NodeJS.ReadableStream).once('data', () => process.exit(0));
  child.once('exit', (code) => {
    apart?.undo();
    process.exitCode = code ?? 1;
  });
}

function complain(error: unknown): void {
  if (!(error instanceof TsboxError)) throw error;
  process.stderr.write(`tsbox-union: ${error.message}\n${error.hint === undefined ? '' : `hint: ${error.hint}\n`}`);
  process.exitCode = 1;
}

function main(argv: readonly string[]): void {
  try {
    const given = parseArguments(argv);
    if (given.foreground || process.env[IN_BACKGROUND] !== undefined) run(given);
    else start(argv, given);
  } catch (error) {
    complain(error);
  }
}

main(process.argv.slice(2));
