/** A stream of what commands print, one after the other, each ended by a mark. Pure. */

export interface Marked {
  /** Takes what comes next. @returns what follows the mark, once the mark has come */
  feed(data: Buffer): Buffer | undefined;
  /** Gives away what could have been the beginning of the mark. */
  flush(): void;
}

/** Does `data` end with the beginning of `mark`? @returns of how many bytes */
function beginning(data: Buffer, mark: Buffer): number {
  for (let length = Math.min(mark.length - 1, data.length); length > 0; length--) {
    if (data.subarray(data.length - length).equals(mark.subarray(0, length))) return length;
  }
  return 0;
}

/** Hands everything before `mark` to `sink` as soon as it cannot be a part of the mark. */
export function untilMark(mark: Buffer, sink: (data: Buffer) => void): Marked {
  let pending: Buffer = Buffer.alloc(0);
  let after: Buffer | undefined;
  const give = (data: Buffer) => {
    if (data.length > 0) sink(data);
  };
  return {
    feed(data) {
      if (after !== undefined) {
        after = Buffer.concat([after, data]);
        return after;
      }
      const all = Buffer.concat([pending, data]);
      const at = all.indexOf(mark);
      const end = at < 0 ? all.length - beginning(all, mark) : at;
      give(all.subarray(0, end));
      pending = at < 0 ? all.subarray(end) : Buffer.alloc(0);
      after = at < 0 ? undefined : all.subarray(at + mark.length);
      return after;
    },
    flush() {
      give(pending);
      pending = Buffer.alloc(0);
    },
  };
}
