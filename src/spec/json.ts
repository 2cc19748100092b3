/** JSON from strangers. */
import { TsboxError } from '../errors.ts';

/** Deeper than any document that OCI or Docker know, shallow enough for every recursion that may follow. */
const DEEPEST = 100;

/**
 * Reads JSON that nobody vouches for: strict UTF-8, at most 100 levels, and without `__proto__` keys, so that copying a value cannot
 * change a prototype. The size is for the caller to limit, before the bytes are in memory.
 * @param what verb and object for the message: `read manifest ubuntu:22.04`
 * @throws ERR_TSBOX_DAMAGED
 */
export function parseUntrustedJson(bytes: Uint8Array, what: string): unknown {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (error) {
    const html = /^\s*</.test(Buffer.from(bytes.subarray(0, 64)).toString('latin1'));
    const reason = html ? 'HTML where JSON was expected' : error instanceof SyntaxError ? 'not JSON' : 'not UTF-8';
    throw new TsboxError('ERR_TSBOX_DAMAGED', `${what}: ${reason}`, { cause: error });
  }
  if (!dropPrototypeKeys(value)) {
    throw new TsboxError('ERR_TSBOX_DAMAGED', `${what}: JSON with more than ${DEEPEST} levels`);
  }
  return value;
}

/** Level by level instead of by recursion: the depth is not known to be small yet. @returns false when it is too deep */
function dropPrototypeKeys(root: unknown): boolean {
  let level: object[] = typeof root === 'object' && root !== null ? [root] : [];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth >= DEEPEST) return false;
    const next: object[] = [];
    for (const node of level) {
      if (Object.hasOwn(node, '__proto__')) Reflect.deleteProperty(node, '__proto__');
      for (const child of Object.values(node)) if (typeof child === 'object' && child !== null) next.push(child);
    }
    level = next;
  }
  return true;
}

/** JSON text as Go writes it: `<`, `>`, `&` and two separators as escapes. The value is the same. */
export function escapeAsGo(json: string): string {
  return json.replace(/[<>&\u2028\u2029]/g, escaped);
}

/** JSON text without characters that could do something to a terminal. The value is the same: they can stand within strings only. */
export function escapeForTerminal(json: string): string {
  return json.replace(/[\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g, escaped);
}

function escaped(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
}
