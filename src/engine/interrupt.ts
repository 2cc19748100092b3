/** Work that must be put in order again when the user interrupts it. */
import { TsboxError } from '../errors.ts';
import { SIGNALS } from '../spec/signals.ts';

const INTERRUPTS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

export interface Interrupts {
  /** Aborted by SIGINT, SIGTERM and SIGHUP. */
  readonly signal: AbortSignal;
  /** To be called when everything is in order: if a signal has come, the process gets it again, which ends it unless the caller
   *  handles that. */
  end(): void;
}

/** Holds the signals that end a process back until {@link Interrupts.end}. */
export function holdInterrupts(): Interrupts {
  const controller = new AbortController();
  let received: NodeJS.Signals | undefined;
  const onSignal = (name: NodeJS.Signals): void => {
    received ??= name;
    const exitCode = 128 + (SIGNALS.get(name.slice(3)) ?? 0);
    controller.abort(new TsboxError('ERR_TSBOX_CONFLICT', `interrupted by ${name}`, { exitCode }));
  };
  for (const name of INTERRUPTS) process.on(name, onSignal);
  return {
    signal: controller.signal,
    end() {
      for (const name of INTERRUPTS) process.removeListener(name, onSignal);
      if (received !== undefined) process.kill(process.pid, received);
      received = undefined;
    },
  };
}

/** Runs `work` with the signals held back until it has tidied up and ended. @throws what the work throws */
export async function interruptible<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const interrupts = holdInterrupts();
  try {
    return await work(interrupts.signal);
  } finally {
    interrupts.end();
  }
}

/** Longest time without a look at what has arrived in the meantime. */
const TURN_MS = 30;

/** The stream, until the signal is aborted: that is noticed at once, also while nothing arrives, and also when the stream never has to
 *  wait for anything. @throws the signal's reason */
export async function* abortable(stream: AsyncIterable<Buffer>, signal: AbortSignal): AsyncGenerator<Buffer> {
  const source = stream[Symbol.asyncIterator]();
  let abort = (_: unknown): void => {};
  const onAbort = (): void => abort(signal.reason);
  signal.addEventListener('abort', onAbort);
  let turn = performance.now();
  try {
    for (;;) {
      if (performance.now() - turn > TURN_MS) {
        await new Promise((resolve) => setImmediate(resolve));
        turn = performance.now();
      }
      signal.throwIfAborted();
      const next = await new Promise<IteratorResult<Buffer>>((resolve, reject) => {
        abort = reject;
        source.next().then(resolve, reject);
      });
      if (next.done === true) return;
      yield next.value;
    }
  } finally {
    signal.removeEventListener('abort', onAbort);
    // Not awaited: a source that waits for data would not answer.
    source.return?.().catch(() => {});
  }
}
