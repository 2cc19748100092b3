/**
 * `make bench-images`: pull, load, save, push and commit, tsbox beside docker, podman and tar, from a registry on the loopback, with data
 * roots on the disk and on tmpfs. The runs of all are interleaved; each begins with an empty store. usage: images.ts [RUNS [WORD...]]
 *
 * With WORDs, only that is measured whose title, such as `pull debian tmpfs`, has all of them.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus, release } from 'node:os';
import { join } from 'node:path';
import { archivers, type Contender, committers, probe, pullers, pushers } from './cases.ts';
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
  readonly places: readonly Place['name'][];
  /** Whether system calls are counted on tmpfs, where what was made for it is gone at once. */
  readonly counted: boolean;
  prepare(stage: Stage): Promise<Prepared>;
}

const BOTH = ['tmpfs', 'disk'] as const;

const ofSample = (image: ImageName, contenders: (sample: Sample, stage: Stage) => Contender[]) => ({
  image,
  prepare: async (stage: Stage): Promise<Prepared> => {
    const sample = await stage.sample(image);
    return { contenders: contenders(sample, stage), facts: sample.facts };
  },
});

const pull = (image: ImageName) => ofSample(image, (sample, { versions }) => pullers(versions, sample));
const archive = (image: ImageName) => ofSample(image, (sample, { versions }) => archivers(versions, sample));
const push = (image: ImageName) =>
  ofSample(image, (sample, { versions, registry }) => pushers(versions, sample, registry.host));

/** Everything that has a promise in both places; the rest, and counting, as far as it takes no time worth mentioning. */
const CASES: readonly Case[] = [
  { verbs: ['pull'], places: BOTH, counted: true, ...pull('debian') },
  { verbs: ['pull'], places: BOTH, counted: false, ...pull('many') },
  { verbs: ['pull'], places: BOTH, counted: true, ...pull('ten') },
  { verbs: ['load', 'save'], places: BOTH, counted: true, ...archive('debian') },
  { verbs: ['load', 'save'], places: BOTH, counted: false, ...archive('ten') },
  { verbs: ['push'], places: ['tmpfs'], counted: false, ...push('ten') },
  {
    verbs: ['commit'],
    image: 'files',
    places: BOTH,
    counted: true,
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
  const isWanted = (place: Place, { verbs, image, places }: Case) =>
    places.includes(place.name) &&
    verbs.some((verb) => words.every((word) => [verb, image, place.name].includes(word)));
  const wanted = CASES.filter((each) => places.some((place) => isWanted(place, each)));
  if (wanted.length === 0)
    throw new Error(`nothing is measured that is called ${words.join(' ')}: see bench/README.md`);
  const prepared = await Promise.all(wanted.map(async (each) => [each, await each.prepare(stage)] as const));
  for (const place of places) {
    for (const [each, { contenders, facts }] of prepared) {
      if (!isWanted(place, each)) continue;
      const { measured, notes } = await runCase(contenders, place, runs, each.counted && place.name === 'tmpfs');
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
