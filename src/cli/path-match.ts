/** Patterns for names as Go's path.Match reads them, which Docker uses. Pure. @see pkg.go.dev/path, Match */

const quoted = (text: string) => text.replace(/[^\w/]/gu, (one) => `\\u{${one.codePointAt(0)!.toString(16)}}`);

/** One character of a pattern, which a backslash may stand before. */
const CHARACTER = /\\?(.)/suy;

/** `*` and `?` stay within one part of the name, `[a-z]` and `[^a-z]` stand for one character, a backslash quotes the next.
 *  @returns undefined when the pattern is none */
export function pathPattern(pattern: string): RegExp | undefined {
  let source = '';
  for (let at = 0; at < pattern.length; ) {
    if (pattern[at] === '*') source += '[^/]*';
    else if (pattern[at] === '?') source += '[^/]';
    else {
      const found = pattern[at] === '[' ? classAt(pattern, at + 1) : characterAt(pattern, at);
      if (found === undefined) return undefined;
      source += found.source;
      at = found.end;
      continue;
    }
    at++;
  }
  return new RegExp(`^${source}$`, 'su');
}

interface Found {
  source: string;
  end: number;
}

function characterAt(pattern: string, at: number): Found | undefined {
  CHARACTER.lastIndex = at;
  const [whole, character] = CHARACTER.exec(pattern) ?? [];
  if (whole === undefined || whole === '\\') return undefined;
  return { source: quoted(character!), end: at + whole.length };
}

/** @param start behind the opening bracket */
function classAt(pattern: string, start: number): Found | undefined {
  const negated = pattern[start] === '^';
  let at = negated ? start + 1 : start;
  let ranges = '';
  for (let count = 0; pattern[at] !== ']' || count === 0; count++) {
    const low = boundAt(pattern, at);
    const high = low !== undefined && pattern[low.end] === '-' ? boundAt(pattern, low.end + 1) : low;
    if (low === undefined || high === undefined) return undefined;
    if (low.character <= high.character) ranges += `${quoted(low.character)}-${quoted(high.character)}`;
    at = high.end;
  }
  const source = ranges === '' ? (negated ? '.' : '(?!)') : `[${negated ? '^' : ''}${ranges}]`;
  return { source, end: at + 1 };
}

function boundAt(pattern: string, at: number): { character: string; end: number } | undefined {
  if (pattern[at] === '-' || pattern[at] === ']') return undefined;
  CHARACTER.lastIndex = at;
  const [whole, character] = CHARACTER.exec(pattern) ?? [];
  return whole === undefined || whole === '\\' ? undefined : { character: character!, end: at + whole.length };
}
