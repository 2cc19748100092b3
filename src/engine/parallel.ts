/** Several things at once, not too many. */

/** Runs `work` on the items in order, at most `limit` at once. @throws the first error, at once: the others may still be running */
export async function inParallel<T>(
  items: readonly T[],
  limit: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  let next = 0;
  let failed = false;
  const worker = async (): Promise<void> => {
    while (next < items.length && !failed) {
      try {
        await work(items[next++]!);
      } catch (error) {
        failed = true;
        throw error;
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, worker));
}

/** Work that goes on beside whoever brings the next piece: one piece is under way at a time. */
export interface Beside<T> {
  /** Begins, once the piece before is done. @throws what that threw */
  begin(piece: T): Promise<void>;
  /** Waits for the last one. @throws what it threw */
  end(): Promise<void>;
}

export function beside<T>(work: (piece: T) => Promise<void>): Beside<T> {
  let underWay = Promise.resolve();
  return {
    async begin(piece) {
      await underWay;
      underWay = work(piece);
      underWay.catch(() => {}); // told when it is waited for
    },
    end: () => underWay,
  };
}
