/** The caller's terminal and signals while a container is attached. */
import { Writable } from 'node:stream';
import { isatty } from 'node:tty';
import type { Session } from '../engine/api.ts';
import { TsboxError } from '../errors.ts';
import { SIGNALS } from '../spec/signals.ts';
import { makeRaw, restoreTerminal, windowSize } from '../sys/terminal.ts';
import { detachScanner } from './detach.ts';
import { complain } from './output.ts';
import { type Ends, pump } from './pump.ts';

export interface Attachment {
  /** The container has a terminal. */
  tty: boolean;
  /** Our standard input is the container's. */
  stdin: boolean;
  detachKeys: Uint8Array;
  /** Which output is shown; both when absent. */
  shows?: { stdout: boolean; stderr: boolean };
  /** Signals go to the process and do not end us. */
  sigProxy: boolean;
  /** It is an error to leave it by the detach keys. */
  staysAttached?: boolean;
}

/** The signals that a caller may want to send to the process. The others stop, wake or debug us, or cannot be caught. */
const PROXIED = ['HUP', 'INT', 'QUIT', 'ABRT', 'USR1', 'USR2', 'ALRM', 'TERM', 'TSTP', 'TTIN', 'TTOU'] as const;
/** The signals that end us when the terminal is ours to restore. */
const DEADLY = ['HUP', 'INT', 'QUIT', 'TERM'] as const;
/** So many of SIGINT and SIGTERM together end us when the process does not listen. */
const PATIENCE = 3;

/** @throws TsboxError (exit code 1, as Docker) when `-it` was asked for without a terminal */
export function checkTerminal(attachment: Pick<Attachment, 'tty' | 'stdin'>): void {
  if (!attachment.tty || !attachment.stdin || isatty(0)) return;
  throw new TsboxError('ERR_TSBOX_USAGE', 'the input device is not a TTY', {
    exitCode: 1,
    hint: 'Leave out -t when the input comes from a pipe or a file.',
  });
}

/** Of the terminal that shows the output, or else of the one that is typed on. */
export function terminalSize(): { rows: number; columns: number } | undefined {
  return windowSize(1) ?? windowSize(0);
}

/** Signals from the moment on that this is called: kept until somebody takes them. */
export interface Signals {
  /** From here on `take` gets each signal's number, the kept ones at once. */
  deliver(take: (signal: number) => void): void;
  /** Gives the signals their ordinary effect back. */
  release(): void;
}

/** Holds the signals back that would end us half-way through a start. */
export function catchSignals(attachment: Attachment): Signals {
  const names = attachment.sigProxy && !ownsTerminal(attachment) ? PROXIED : DEADLY;
  const kept: number[] = [];
  let take = (signal: number): void => void kept.push(signal);
  const listeners = names.map((name) => {
    const listener = () => take(SIGNALS.get(name)!);
    process.on(`SIG${name}`, listener);
    return { name, listener };
  });
  return {
    deliver(next) {
      take = next;
      for (const signal of kept.splice(0)) next(signal);
    },
    release() {
      for (const { name, listener } of listeners) process.off(`SIG${name}`, listener);
    },
  };
}

const nowhere = () => new Writable({ write: (_chunk, _encoding, done) => done() });

/** What is typed goes to the container key by key: the terminal is in raw mode. */
const ownsTerminal = ({ tty, stdin }: Attachment): boolean => tty && stdin && isatty(0);

/**
 * Connects the caller's streams, terminal and signals with the session until it ends or is left.
 * The terminal is as before when this returns or throws, and when the process exits by any other way.
 * @param kill sends a signal to the container's process
 * @returns the exit code
 */
export async function attend(
  session: Session,
  attachment: Attachment,
  signals: Signals,
  kill: (signal: number) => Promise<void>,
): Promise<number> {
  const { shows } = attachment;
  const ends: Ends = {
    output: shows?.stdout === false ? nowhere() : process.stdout,
    errors: shows?.stderr === false ? nowhere() : process.stderr,
  };
  if (attachment.stdin) ends.input = process.stdin;
  const own = ownsTerminal(attachment);
  if (own) ends.scan = detachScanner(attachment.detachKeys);
  const release = own ? takeTerminal() : undefined;
  const follow = () => {
    const size = terminalSize();
    if (size !== undefined) session.resize(size);
  };
  if (attachment.tty) process.on('SIGWINCH', follow);

  const ended = Promise.withResolvers<number>();
  const die = (code: number) => {
    session.detach();
    ended.resolve(code);
  };
  let impatience = 0;
  signals.deliver((signal) => {
    if (own || !attachment.sigProxy) return die(128 + signal);
    const urgent = signal === SIGNALS.get('INT') || signal === SIGNALS.get('TERM');
    if (urgent && ++impatience >= PATIENCE) {
      complain(`tsbox: got ${impatience} signals, leaving; the process goes on\n`);
      return die(1);
    }
    // A process that has just ended cannot get a signal any more; its exit code is on its way.
    kill(signal).catch(() => undefined);
  });
  let end: number | 'detached';
  try {
    end = await Promise.race([pump(session, ends), ended.promise]);
  } finally {
    release?.();
    signals.release();
    process.off('SIGWINCH', follow);
  }
  if (end !== 'detached') return end;
  if (attachment.staysAttached !== true) return 0;
  complain('read escape sequence\n'); // in Docker's words, and with its exit code
  return 1;
}

let raw = false;

/** Is the caller's terminal in raw mode at this moment? Then a line must end with a carriage return too. */
export const terminalIsRaw = (): boolean => raw;

/** Raw mode on standard input. @returns what ends it; called at the process's exit too */
function takeTerminal(): () => void {
  const before = makeRaw(0);
  raw = true;
  const restore = () => {
    if (raw) restoreTerminal(0, before);
    raw = false;
  };
  // The shell that has put us into the foreground again has set its own modes.
  const again = () => void (raw && makeRaw(0));
  process.on('exit', restore);
  process.on('SIGCONT', again);
  return () => {
    restore();
    process.off('exit', restore);
    process.off('SIGCONT', again);
  };
}
