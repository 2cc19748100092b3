/** Where tsbox spends its milliseconds: the phases that it prints itself, and Node's own start as seen from outside. */
import { type Command, median, run, time } from './measure.ts';
import { table } from './table.ts';

/** `timing NAME MS` lines, as src/engine/timing.ts prints them. */
function phasesOf(stderr: string): [string, number][] {
  return [...stderr.matchAll(/^timing (.+) ([\d.]+)$/gm)].map((match) => [match[1]!, Number(match[2])]);
}

/** A table of medians over `runs` runs, in the order in which the phases come. */
export function breakdown(command: Command, runs: number): string {
  const env = { ...(command.env ?? process.env), TSBOX_TIMING: '1' };
  const phases = new Map<string, number[]>();
  const add = (name: string, ms: number) => {
    const known = phases.get(name) ?? [];
    known.push(ms);
    phases.set(name, known);
  };
  for (let number = 0; number < runs; number++) {
    add('an empty script in the same Node', time({ argv: [process.execPath, '-e', '0'] }));
    for (const [name, ms] of phasesOf(run({ ...command, env }).stderr)) add(name, ms);
  }
  const rows = [...phases].map(([name, taken]) => [name, '', median(taken).toFixed(2), Math.min(...taken).toFixed(2)]);
  return `\n${table([['where tsbox spends them', '', 'median ms', 'least ms'], ...rows])}`;
}
