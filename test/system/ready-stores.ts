/**
 * Data roots that hold a fixture already: made once by the tsbox that is built, copied for each test, which takes a tenth of the time
 * of an import.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';

export type FixtureName = 'busybox' | 'debian' | 'layers' | 'many-layers';

const REPOSITORY = resolve(import.meta.dirname, '../..');
const FIXTURES = join(REPOSITORY, 'rootfs-fixtures/build');
const STORES = join(FIXTURES, 'stores');

/** `busybox:offline`, `debian:offline`, `layers:latest` or `many-layers:latest` */
export function fixtureImage(name: FixtureName): string {
  return `${name}:${name === 'busybox' || name === 'debian' ? 'offline' : 'latest'}`;
}

/** The words that bring a fixture in. @throws Error when it has not been made */
export function importWords(name: FixtureName): string[] {
  const archive = join(FIXTURES, `${name}.tar`);
  if (!existsSync(archive)) throw new Error(`${archive} is missing: make fixtures`);
  if (name === 'layers' || name === 'many-layers') return ['load', '--input', archive];
  const shell = name === 'busybox' ? 'sh' : 'bash';
  return ['import', '--change', `CMD ["${shell}"]`, archive, fixtureImage(name)];
}

/** The bundle's name has its digest: what another tsbox has stored is not taken for this one's. */
function build(): string {
  const bundle = readdirSync(join(REPOSITORY, 'dist')).find((name) => /^tsbox-[0-9a-f]+\.cjs$/.test(name));
  if (bundle === undefined) throw new Error('dist/ has no tsbox: make build');
  return basename(bundle, '.cjs');
}

/** @returns a data root with the fixture in it, to copy: nobody may change it */
export function readyStore(name: FixtureName): string {
  const stores = join(STORES, build());
  const ready = join(stores, name);
  if (existsSync(ready)) return ready;
  for (const old of existsSync(STORES) ? readdirSync(STORES) : []) {
    if (join(STORES, old) !== stores) rmSync(join(STORES, old), { recursive: true, force: true });
  }
  mkdirSync(stores, { recursive: true });
  const half = mkdtempSync(join(stores, '.half-'));
  const roots = ['--data-root', join(half, 'd'), '--run-root', join(half, 'r')];
  const { status, stderr } = spawnSync(join(REPOSITORY, 'bin/tsbox'), [...roots, ...importWords(name)]);
  if (status !== 0) throw new Error(`store the fixture ${name}: ${stderr}`);
  try {
    renameSync(join(half, 'd'), ready);
  } catch (error) {
    if (!existsSync(ready)) throw error; // else another test was first
  }
  rmSync(half, { recursive: true });
  return ready;
}
