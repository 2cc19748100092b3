/**
 * `<data-root>/run-roots` has a file for each run root with which containers of this data root were started: so one that runs is found,
 * whatever run root a caller names.
 */
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import type { Store } from './store.ts';

const fileOf = (dataRoot: string, runRoot: string): string => `${dataRoot}/run-roots/${encodeURIComponent(runRoot)}`;

/** All of them, also those that are gone by now. */
export function runRootsOf(dataRoot: string): string[] {
  try {
    return readdirSync(`${dataRoot}/run-roots`).map(decodeURIComponent);
  } catch {
    return []; // there is none, or something that tsbox has not made
  }
}

/** For who starts a container. Those that are gone, with the host's last start say, are forgotten. Does nothing where nothing can be
 *  written: no container is started there either. */
export function noteRunRoot({ dataRoot, runRoot }: Store): void {
  if (existsSync(fileOf(dataRoot, runRoot))) return;
  try {
    mkdirSync(`${dataRoot}/run-roots`, { recursive: true, mode: 0o700 });
    for (const root of runRootsOf(dataRoot)) if (!existsSync(root)) rmSync(fileOf(dataRoot, root), { force: true });
    writeFileSync(fileOf(dataRoot, runRoot), '', { mode: 0o600 });
  } catch {
    // see above
  }
}
