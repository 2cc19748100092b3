/**
 * 127 layers, two more than Docker takes: the busybox root file system, then 126 that each add a file, overwrite one, and remove what the
 * layer before it added for the occasion. usage: many-layers.ts OUTPUT-DIRECTORY
 *
 * In the running image `/layers` holds 001 to 126, `/top` says 126, and `/passing` has only 126.
 */
import { mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type FixtureLayer, packNames, run, writeImage } from './image.ts';

const LAYERS = 127;

function smallLayer(work: string, number: number): FixtureLayer {
  const label = (n: number) => String(n).padStart(3, '0');
  const directory = join(work, label(number));
  const files: Record<string, string> = {
    [`layers/${label(number)}`]: `${number}\n`,
    top: `${number}\n`,
    [`passing/${label(number)}`]: '',
  };
  if (number > 1) files[`passing/.wh.${label(number - 1)}`] = '';
  for (const name of ['layers', 'passing']) mkdirSync(join(directory, name), { recursive: true });
  for (const [name, data] of Object.entries(files)) writeFileSync(join(directory, name), data, { mode: 0o644 });
  const names = ['layers', 'passing', ...Object.keys(files)];
  for (const name of names) utimesSync(join(directory, name), number, number);
  const tar = join(work, `${label(number)}.tar`);
  packNames(
    tar,
    directory,
    names.map((name) => Buffer.from(name)),
    ['--format=ustar', '--owner=0', '--group=0', '--numeric-owner', '--mode=go-w'],
  );
  return { tar, compression: 'gzip', createdBy: `layer ${number}` };
}

const [output = ''] = process.argv.slice(2);
const work = mkdtempSync(join(tmpdir(), 'fixture-many-'));
try {
  const base = join(work, 'base.tar');
  run(join(import.meta.dirname, 'busybox.sh'), [base]);
  const layers: FixtureLayer[] = [{ tar: base, compression: 'gzip', createdBy: 'busybox' }];
  for (let number = 1; number < LAYERS; number++) layers.push(smallLayer(work, number));
  writeImage(output, 'many-layers', layers);
} finally {
  rmSync(work, { recursive: true });
}
