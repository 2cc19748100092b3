/** Moves bytes between a session and three streams, with back-pressure in every direction. */
import type { Readable, Writable } from 'node:stream';
import type { Session } from '../engine/api.ts';
import type { DetachScanner } from './detach.ts';
import { outputError, SIGPIPE_EXIT } from './output.ts';

export interface Ends {
  /** Absent when the container's standard input is not ours. */
  input?: Readable;
  output: Writable;
  errors: Writable;
  /** What is typed is looked through for the detach keys. */
  scan?: DetachScanner;
}

/**
 * Serves until the container's process has ended and all of its output is written, or the user has left it.
 * @returns the exit code: the process's own; 141 when nobody reads our output any more; or that the user has typed the detach keys
 * @throws what `session.exited` is rejected with
 */
export async function pump(session: Session, ends: Ends): Promise<number | 'detached'> {
  const left = Promise.withResolvers<number | 'detached'>();
  const leave = (code: number | 'detached') => {
    session.detach();
    left.resolve(code);
  };
  ends.output.on('error', (error: NodeJS.ErrnoException) =>
    error.code === 'EPIPE' ? leave(SIGPIPE_EXIT) : left.reject(outputError(error)),
  );
  ends.errors.on('error', () => undefined);
  for (const stream of [ends.output, ends.errors]) stream.on('drain', () => session.resume());
  session.output((name, data) => {
    const stream = name === 'stdout' ? ends.output : ends.errors;
    return stream.destroyed || stream.write(data);
  });
  if (ends.input !== undefined) feed(session, ends.input, ends.scan, () => leave('detached'));

  const ended = session.exited.then(async ({ code }) => {
    await Promise.all([flushed(ends.output), flushed(ends.errors)]);
    return code;
  });
  try {
    return await Promise.race([left.promise, ended]);
  } finally {
    ended.catch(() => undefined);
    ends.input?.pause();
  }
}

function feed(session: Session, input: Readable, scan: DetachScanner | undefined, detach: () => void): void {
  session.onDrained(() => input.resume());
  input.on('data', (typed: Buffer) => {
    const { data, detached } = scan?.(typed) ?? { data: typed, detached: false };
    if (data.length > 0 && !session.stdin(data)) input.pause();
    if (detached) detach();
  });
  const close = () => session.closeStdin();
  input.on('end', close);
  // A terminal that has gone away reports EIO: there is nothing more to read.
  input.on('error', close);
}

/** Fulfilled when everything that was written to the stream is out, or never can be. */
export function flushed(stream: Writable): Promise<void> {
  if (stream.destroyed || stream.writableLength === 0) return Promise.resolve();
  return new Promise((resolve) => {
    // A slow reader is waited for many times: no listener may stay.
    const done = () => {
      stream.off('error', done).off('close', done);
      resolve();
    };
    stream.on('error', done).on('close', done).write('', done);
  });
}
