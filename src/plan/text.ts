/**
 * Text in a plan. What differs from one run to the next is a hole with a name, filled in last, so that the rest of a compiled plan
 * can be compared, cached and replayed. What a user gave is always a literal part: braces in it mean nothing.
 */

/** Filled in by tsbox before the plan is run. */
export type KnownHole = 'id' | 'shortId' | 'name' | 'layer' | 'initLink' | 'link';
/** Filled in by whoever runs the step, at that moment. */
export type LateHole = 'pid' | 'monitor' | 'exit' | 'now';
export type HoleName = KnownHole | LateHole;

export interface Hole {
  readonly hole: HoleName;
}

export type Text = string | readonly (string | Hole)[];

/** Late holes by their number on the wire.
 *  pid: the first process of the container as the host sees it, 0 before there is one; monitor: the monitor's own pid;
 *  exit: exit code, 128+n when killed by signal n; now: time in UTC, RFC 3339 with nanoseconds. */
export const LATE_HOLES: readonly LateHole[] = ['pid', 'monitor', 'exit', 'now'];

export const hole = (name: HoleName): Hole => ({ hole: name });

/** Tagged template: strings are literal, holes stay holes. `` text`${root}/overlay2/${hole('layer')}/merged` `` */
export function text(literals: TemplateStringsArray, ...values: readonly (Text | Hole)[]): Text {
  const parts: (string | Hole)[] = [];
  const add = (part: string | Hole) => {
    const last = parts.at(-1);
    if (typeof part === 'string' && typeof last === 'string') parts[parts.length - 1] = last + part;
    else if (part !== '') parts.push(part);
  };
  literals.forEach((literal, index) => {
    add(literal);
    const value = values[index];
    if (value === undefined) return;
    if (typeof value === 'string' || 'hole' in value) add(value);
    else for (const part of value) add(part);
  });
  return parts.length === 0 ? '' : parts.length === 1 && typeof parts[0] === 'string' ? parts[0] : parts;
}

export type Values = Partial<Record<HoleName, string>>;

/** The text with every hole that has a value filled; a plain string when none is left. */
export function fill(value: Text, values: Values): Text {
  if (typeof value === 'string') return value;
  const parts = value.map((part) => (typeof part === 'string' ? part : (values[part.hole] ?? part)));
  return parts.every((part) => typeof part === 'string') ? parts.join('') : parts;
}

/** The text as a reader sees it: open holes in braces. */
export function show(value: Text): string {
  if (typeof value === 'string') return value;
  return value.map((part) => (typeof part === 'string' ? part : `{${part.hole}}`)).join('');
}
