/**
 * `make bench-images`: pull, load, save, push and commit, tsbox beside docker, podman and tar, from a registry on the loopback, with data
 * roots on the disk and on tmpfs. The runs of all are interleaved; each begins with an empty store. usage: images.ts [RUNS [WORD...]]
 *
 * With WORDs, only that is measured whose title, such as `pull debian tmpfs`, has all of them.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus, release } from 'node:os';
import { join } from 'node:path';
import { archivers, type Contender, committers, probe, pullers } from './cases.ts';
import { debianLayer, manyEntries, tenLayers, tenThousandFiles } from './content.ts';
import { diskPlace, inOwnNamespaces, mountTmpfs, type Place, tmpfsPlace } from './places.ts';
import { type Registry, startRegistry } from './registry.ts';
import { makeSample, type Sample } from './sample.ts';
import { runCase } from './trials.ts';
import { verdict } from './verdict.ts';

const CONTENTS = { debian: debianLayer, many: manyEntries, ten: tenLayers };
type ImageName = keyof typeof CONTENTS;

interface Stage {
  readonly directory: string;
  readonly registry: Registry;
  readonly versions: Map<string, string>;
  sample(image: ImageName): Promise<Sample>;
}

interface Prepared {
  readonly contenders: readonly Contender[];
  readonly facts: string;
}

interface Case {
  readonly verbs: readonly string[];
  readonly image: string;
  prepare(stage: Stage): Promise<Prepared>;
}

const CASES: readonly Case[] = [
  ...(['debian', 'many', 'ten'] as const).map((image) => ({
    verbs: ['pull'],
    image,
    prepare: async ({ sample, versions }: Stage): Promise<Prepared> => {
      const made = await sample(image);
      return { contenders: pullers(versions, made), facts: made.facts };
    },
  })),
  ...(['debian', 'ten'] as const).map((image) => ({
    verbs: ['load', 'save', 'push'],
    image,
    prepare: async ({ sample, versions, registry }: Stage): Promise<Prepared> => {
      const made = await sample(image);
      return { contenders: archivers(versions, made, registry.host), facts: made.facts };
    },
  })),
  {
    verbs: ['commit'],
    image: 'files',
    prepare: async ({ directory, versions }) => {
      const contenders = committers(versions, tenThousandFiles(directory));
      return { contenders, facts: '10000 files of 4 KB over busybox' };
    },
  },
];

async function openStage(directory: string, versions: Map<string, string>): Promise<Stage> {
  const registry = await startRegistry(join(directory, 'registry'));
  const samples = new Map<string, Promise<Sample>>();
  const sample = (image: ImageName) => {
    const made =
      samples.get(image) ?? makeSample(directory, registry, image, CONTENTS[image](directory), image !== 'many');
    samples.set(image, made);
    return made;
  };
  return { directory, registry, versions, sample };
}

/** No credentials of whoever calls this. */
function useNoConfiguration(directory: string): void {
  mkdirSync(directory);
  writeFileSync(join(directory, 'config.json'), '{}');
  process.env['DOCKER_CONFIG'] = directory;
}

async function measureAll(stage: Stage, places: readonly Place[], runs: number, words: readonly string[]) {
  const sum = { kept: 0, missed: 0 };
  const isWanted = (place: Place, { verbs, image }: Case) =>
    verbs.some((verb) => words.every((word) => [verb, image, place.name].includes(word)));
  const wanted = CASES.filter((each) => places.some((place) => isWanted(place, each)));
  const prepared = new Map<Case, Prepared>();
  for (const each of wanted) prepared.set(each, await each.prepare(stage));
  for (const place of places) {
    for (const [each, { contenders, facts }] of prepared) {
      if (!isWanted(place, each)) continue;
      const counts = place.name === 'tmpfs' && each.image !== 'many';
      const { measured, notes } = await runCase(contenders, place, runs, counts);
      for (const [verb, results] of measured) {
        const { text, kept, missed } = verdict({ verb, image: each.image, place: place.name }, results);
        sum.kept += kept;
        sum.missed += missed;
        console.log(`\n${verb} ${each.image} ${place.name} (${facts})\n${text}`);
      }
      for (const note of notes) console.log(note);
    }
  }
  console.log(`\npromises: ${sum.kept} kept, ${sum.missed} missed`);
}

const [runs = '3', ...words] = process.argv.slice(2);
const work = await inOwnNamespaces();
const directory = join(work, 's');
mountTmpfs(directory);
useNoConfiguration(join(directory, 'configuration'));
const { versions, missing } = await probe(join(directory, 'probe'));
const disk = diskPlace(work);
if (typeof disk === 'string') missing.push(`left out: the disk: ${disk}`);
for (const sentence of missing) console.log(sentence);
console.log(`images: ${runs} runs each, interleaved; ${cpus().length} processors, Linux ${release()}`);
const stage = await openStage(directory, versions);
const places = [tmpfsPlace(work), ...(typeof disk === 'string' ? [] : [disk])];
await measureAll(stage, places, Number(runs), words);
await stage.registry.close();
