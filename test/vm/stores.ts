/** Data roots that hold a fixture already: an emulated processor needs seconds to import one, and less than one to copy it. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';

const REPOSITORY = resolve(import.meta.dirname, '../..');
const STORES = join(import.meta.dirname, 'build/stores');

/** Makes them, with the tsbox that is built. @returns the directory that `sandbox(t).image()` finds in TSBOX_READY_STORES */
export function readyStores(): string {
  rmSync(STORES, { recursive: true, force: true });
  mkdirSync(STORES, { recursive: true });
  const archive = join(REPOSITORY, 'rootfs-fixtures/build/busybox.tar');
  const roots = ['--data-root', join(STORES, 'busybox'), '--run-root', join(STORES, 'run')];
  const words = [...roots, 'import', '--change', 'CMD ["sh"]', archive, 'busybox:offline'];
  const { status, stderr } = spawnSync(join(REPOSITORY, 'bin/tsbox'), words);
  if (status !== 0) throw new Error(`import ${archive}: ${stderr}`);
  return STORES;
}
