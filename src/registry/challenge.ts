/** `WWW-Authenticate`: what a server wants to see before it answers. Pure. @see RFC 9110, 11.6.1; RFC 6750, 3 */

export interface Challenge {
  /** Lower case: `bearer`, `basic`. */
  scheme: string;
  /** Names in lower case. */
  parameters: ReadonlyMap<string, string>;
}

const TOKEN = /[!#$%&'*+.^_`|~0-9A-Za-z-]+/y;
const QUOTED = /"((?:[^"\\]|\\.)*)"/y;

/** Reads one or several challenges. What cannot be read ends the list. */
export function parseChallenges(header: string): Challenge[] {
  const challenges: { scheme: string; parameters: Map<string, string> }[] = [];
  let at = 0;
  const skip = (pattern: RegExp): void => {
    while (at < header.length && pattern.test(header[at] ?? '')) at++;
  };
  const take = (pattern: RegExp, group: number): string | undefined => {
    pattern.lastIndex = at;
    const match = pattern.exec(header);
    if (match === null) return undefined;
    at = pattern.lastIndex;
    return match[group];
  };
  for (;;) {
    skip(/[\s,]/);
    const name = take(TOKEN, 0);
    if (name === undefined) return challenges;
    skip(/\s/);
    const current = challenges.at(-1);
    if (header[at] !== '=' || current === undefined) {
      challenges.push({ scheme: name.toLowerCase(), parameters: new Map() });
      continue;
    }
    at++;
    skip(/\s/);
    const value = header[at] === '"' ? take(QUOTED, 1)?.replace(/\\(.)/g, '$1') : take(TOKEN, 0);
    if (value === undefined) return challenges;
    current.parameters.set(name.toLowerCase(), value);
  }
}
