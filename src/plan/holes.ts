/** Plans without what differs from run to run: so that two runs can be compared, and a compiled plan can be kept. Pure. */
import { OPS } from './ops.ts';
import type { Plan, Step } from './step.ts';
import { type Hole, hole, type KnownHole, type Text, type Values } from './text.ts';

type MapText = (text: Text) => Text;

function mapStep(step: Step, map: MapText): Step {
  const changed: Record<string, unknown> = { ...step };
  for (const [name, kind] of Object.entries(OPS[step.op].args)) {
    const value = changed[name];
    if (kind === 'text') changed[name] = map(value as Text);
    else if (kind === 'texts') changed[name] = (value as readonly Text[]).map(map);
    else if (kind === 'list') changed[name] = mapSteps(value as readonly Step[], map);
  }
  return changed as unknown as Step;
}

function mapSteps(steps: readonly Step[], map: MapText): Step[] {
  return steps.map((step) => mapStep(step, map));
}

function mapPlan(plan: Plan, map: MapText): Plan {
  return {
    setup: mapSteps(plan.setup, map),
    monitor: mapSteps(plan.monitor, map),
    cleanup: mapSteps(plan.cleanup, map),
  };
}

function splitAt(part: string | Hole, value: string, name: KnownHole): (string | Hole)[] {
  if (typeof part !== 'string') return [part];
  const pieces = part.split(value);
  return pieces.flatMap((piece, index) => (index === 0 ? [piece] : [hole(name), piece])).filter((one) => one !== '');
}

/** Puts a hole wherever one of `values` stands in a text. The values are ids of many random digits, so nothing else is hit.
 *  A value that begins another one comes after it. */
export function withHoles(plan: Plan, values: Partial<Record<KnownHole, string>>): Plan {
  const entries = Object.entries(values) as [KnownHole, string][];
  entries.sort(([, a], [, b]) => b.length - a.length);
  return mapPlan(plan, (text) => {
    let parts: readonly (string | Hole)[] = typeof text === 'string' ? [text] : text;
    for (const [name, value] of entries) parts = parts.flatMap((part) => splitAt(part, value, name));
    const [only] = parts;
    return parts.length === 0 ? '' : parts.length === 1 && typeof only === 'string' ? only : parts;
  });
}

/** Fills the holes that have a value; texts without a hole left become plain strings. */
export function fillPlan(plan: Plan, values: Values): Plan {
  return mapPlan(plan, (text) => {
    if (typeof text === 'string') return text;
    const parts: (string | Hole)[] = [];
    for (const part of text) {
      const value = typeof part === 'string' ? part : values[part.hole];
      const last = parts.at(-1);
      if (value === undefined) parts.push(part);
      else if (typeof last === 'string') parts[parts.length - 1] = last + value;
      else parts.push(value);
    }
    const [only = ''] = parts;
    return parts.length <= 1 && typeof only === 'string' ? only : parts;
  });
}
