/**
 * `make bench-life`: the verbs of a container's life, many containers, what they write, and the memory of who stays beside them: tsbox
 * beside docker and podman, all in one run, interleaved. usage: life.ts [RUNS [CASE]]
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { cpus, release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Engine, REPOSITORY, type Start, startDocker, startPodman, startTsbox } from './engines.ts';
import { IMAGE, LIFE_CASES, type LifeCase } from './life-cases.ts';
import { median, run } from './measure.ts';
import { type Keeper, keeperOf, PROMISED_KEEPER } from './memory.ts';
import { table } from './table.ts';

const ROOTFS = join(REPOSITORY, 'rootfs-fixtures/build/busybox.tar');

async function startAll(work: string): Promise<Engine[]> {
  const engines: Engine[] = [];
  const all: Record<string, Start> = { tsbox: startTsbox, docker: startDocker, podman: startPodman };
  for (const [name, start] of Object.entries(all)) {
    const engine = await start(join(work, name)).catch((error: Error) => error.message);
    if (typeof engine === 'string') {
      console.log(`left out: ${name}: ${engine}`);
      continue;
    }
    run({ argv: [...engine.program, 'import', ROOTFS, IMAGE], env: engine.env });
    engines.push(engine);
  }
  return engines;
}

async function measure(one: LifeCase, engines: readonly Engine[], runs: number): Promise<Map<Engine, number[]>> {
  const times = new Map(engines.map((engine) => [engine, [] as number[]]));
  const rounds = Math.max(1, Math.ceil(runs * (one.share ?? 1)));
  for (let round = -1; round < rounds; round++) {
    if (round < 0 && one.share !== undefined) continue; // long ones are not warmed up
    for (const engine of engines) {
      const taken = await one.time(engine);
      if (round >= 0) times.get(engine)!.push(taken);
    }
  }
  return times;
}

function rows(one: LifeCase, times: Map<Engine, number[]>): string[][] {
  const ours = [...times].find(([{ name }]) => name === 'tsbox')?.[1];
  return [...times].map(([{ name }, taken], at) => {
    const other = ours !== undefined && name !== 'tsbox';
    const part = other ? median(ours) / median(taken) : undefined;
    const least = other ? Math.min(...ours) / Math.min(...taken) : undefined;
    const promise = one.promises?.[name];
    const judged =
      promise === undefined || part === undefined ? '' : `${promise}: ${part <= promise ? 'kept' : 'MISSED'}`;
    const figures = [
      median(taken).toFixed(1),
      Math.min(...taken).toFixed(1),
      part?.toFixed(2) ?? '',
      least?.toFixed(2) ?? '',
    ];
    return [at === 0 ? one.name : '', name, ...figures, judged];
  });
}

function keepers(found: readonly Keeper[]): string {
  const lines = found.map(({ engine, name, privateKb, pssKb }) => {
    const kept = privateKb <= PROMISED_KEEPER.privateKb && pssKb <= PROMISED_KEEPER.pssKb;
    const promise = `${PROMISED_KEEPER.privateKb} and ${PROMISED_KEEPER.pssKb}: ${kept ? 'kept' : 'MISSED'}`;
    return [engine, name, String(privateKb), String(pssKb), engine === 'tsbox' ? promise : ''];
  });
  return table([['', 'process', 'private KB', 'PSS KB', 'promise'], ...lines]);
}

const [, , runs = '10', ...words] = process.argv;
const only = words.join(' ');
const work = mkdtempSync(join(tmpdir(), 'tsbox-bench-'));
let engines: Engine[] = [];
try {
  engines = await startAll(work);
  const versions = engines.map(({ name, version }) => `${name} ${version}`).join(', ');
  console.log(
    `a container's life: ${runs} runs, interleaved; ${cpus().length} processors, Linux ${release()}; ${versions}`,
  );
  const all: string[][] = [['', '', 'median ms', 'least ms', 'tsbox/it', 'of least', 'promise']];
  for (const one of LIFE_CASES.filter(({ name }) => name.includes(only))) {
    all.push(...rows(one, await measure(one, engines, Number(runs))));
  }
  console.log(table(all));
  if ('memory'.includes(only))
    console.log(`\nwho stays beside a detached container\n${keepers(await Promise.all(engines.map(keeperOf)))}`);
} finally {
  for (const engine of engines) await engine.close();
  rmSync(work, { recursive: true, force: true });
}
