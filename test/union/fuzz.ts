/** `node test/union/fuzz.ts SEEDS [FIRST] [CALLS]`: random calls on the kernel's overlay and on the union, in a mount namespace of its own; root. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe } from './calls.ts';
import { clear, type Plan, planFor, runPlan, shorten } from './differential.ts';
import { runInNamespace } from './namespace.ts';

const [seeds = '20', first = '1', count = '120', place = ''] = process.argv.slice(2);

if (place === '') runInNamespace(import.meta.filename, [seeds, first, count]);

const directory = join(place, 'd');
mkdirSync(directory);

async function differences(plan: Plan): Promise<string[]> {
  clear(directory);
  return runPlan(plan, directory, process.env['FILE_SYSTEM'] === 'overlay');
}

let failed = 0;
for (let seed = Number(first); seed < Number(first) + Number(seeds); seed++) {
  const plan = planFor(seed, Number(count));
  const found = await differences(plan);
  if (found.length === 0) continue;
  failed++;
  console.log(`seed ${seed}: ${found.join('\n')}`);
  if (process.env['SHORTEN'] === '0') continue;
  const last = /^call (\d+) /.exec(found[0]!);
  const end = last === null ? plan.calls.length : Number(last[1]) + 1;
  const begun = { ...plan, calls: plan.calls.slice(0, end), users: plan.users.slice(0, end) };
  const short = await shorten(begun, async (each) => (await differences(each)).length > 0);
  console.log(`shortest of seed ${seed}:`);
  for (const [index, call] of short.calls.entries()) console.log(`  ${short.users[index]} ${describe(call)}`);
  console.log((await differences(short)).join('\n'));
}
console.log(`${seeds} seeds from ${first} on, ${count} calls each: ${failed} with a difference`);
process.exitCode = failed > 0 ? 1 : 0;
