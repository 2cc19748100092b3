/** Runs a case: everyone in turn, as often as asked for. */
import type { Contender, Step } from './cases.ts';
import { forgetBlobs, type Place } from './places.ts';
import { countCalls, measure, type Usage, type Work } from './usage.ts';
import type { Result } from './verdict.ts';

export interface Outcome {
  /** By verb: who did it, in the order of the contenders. */
  readonly measured: Map<string, Result[]>;
  /** What went wrong, each once. */
  readonly notes: Set<string>;
}

interface Found {
  usages: Usage[];
  calls?: number | undefined;
}

/** @param counts whether to run once more under strace, for those whom it can count */
export async function runCase(
  contenders: readonly Contender[],
  place: Place,
  runs: number,
  counts: boolean,
): Promise<Outcome> {
  const found = new Map<string, Map<Contender, Found>>();
  const notes = new Set<string>();
  const of = (verb: string, contender: Contender): Found => {
    if (!found.has(verb)) found.set(verb, new Map());
    const step = found.get(verb)!;
    if (!step.has(contender)) step.set(contender, { usages: [] });
    return step.get(contender)!;
  };
  const attempt = async ({ name }: Contender, what: string, task: () => Promise<unknown>) => {
    await task().catch((error: Error) => notes.add(`not measured: ${name}: ${what}${error.message}`));
  };
  const trial = async (contender: Contender, take: (work: Work, directory: string, found: Found) => Promise<void>) => {
    const directory = place.open();
    forgetBlobs();
    const step: Step = (verb, work) =>
      attempt(contender, `${verb}: `, () => take(work, directory, of(verb, contender)));
    await attempt(contender, '', () => contender.trial(directory, step));
    place.close(directory);
  };
  for (let number = 0; number < runs; number++) {
    for (const contender of contenders) {
      await trial(contender, async (work, directory, { usages }) => void usages.push(await measure(work, directory)));
    }
  }
  for (const contender of contenders.filter(({ counted }) => counts && counted)) {
    await trial(contender, async (work, directory, found) => {
      found.calls = await countCalls(work, directory);
    });
  }
  const results = (step: Map<Contender, Found>): Result[] =>
    contenders.flatMap((contender) => {
      const { usages = [], calls } = step.get(contender) ?? {};
      return usages.length === 0 ? [] : [{ name: contender.name, version: contender.version, usages, calls }];
    });
  return { measured: new Map([...found].map(([verb, step]) => [verb, results(step)])), notes };
}
