/** Detach keys: the sequence that leaves a container running, found in what is typed. */
import { UsageError } from './args.ts';

export const DEFAULT_DETACH_KEYS = 'ctrl-p,ctrl-q';

/** The bytes of `ctrl-p,ctrl-q`: keys between commas, one character each, `DEL`, or `ctrl-` and one of `a-z@[\]^_`. Empty: the usual
 *  ones, as with Docker. @throws UsageError on anything else */
export function parseDetachKeys(text: string): Uint8Array {
  const keys = (text || DEFAULT_DETACH_KEYS).split(',').map((key) => {
    const control = /^ctrl-([a-z@[\\\]^_])$/.exec(key);
    if (control !== null) return control[1]!.toUpperCase().charCodeAt(0) & 0x1f;
    if (key === 'DEL') return 0x7f;
    if (/^[\x20-\x7e]$/.test(key)) return key.charCodeAt(0);
    throw new UsageError(`invalid detach keys (${text}): ${JSON.stringify(key)} is no key`, 1);
  });
  return Uint8Array.from(keys);
}

/** @returns what to pass on; `detached` when the whole sequence has been typed: what came before it is in `data` */
export type DetachScanner = (typed: Uint8Array) => { data: Buffer; detached: boolean };

/** Looks for `keys` in a stream, over the borders of reads. The beginning of a sequence is held back until the next key shows
 *  whether it goes on. */
export function detachScanner(keys: Uint8Array): DetachScanner {
  const sequence = Buffer.from(keys);
  let held = Buffer.alloc(0);
  return (typed) => {
    const all = Buffer.concat([held, typed]);
    const found = all.indexOf(sequence);
    if (found >= 0) return { data: all.subarray(0, found), detached: true };
    const keep = commonEnd(all, sequence);
    held = all.subarray(all.length - keep);
    return { data: all.subarray(0, all.length - keep), detached: false };
  };
}

/** How many bytes at the end of `data` are a beginning of `sequence`. */
function commonEnd(data: Buffer, sequence: Buffer): number {
  for (let length = Math.min(data.length, sequence.length - 1); length > 0; length--) {
    if (data.subarray(data.length - length).equals(sequence.subarray(0, length))) return length;
  }
  return 0;
}
