/**
 * What a test needs and may not find. A missing thing skips the test and says why; with TSBOX_MUST_RUN=1 (as in CI) it fails it,
 * so that a green run means that everything was run.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { release } from 'node:os';
import { delimiter, join } from 'node:path';
import type { TestContext } from 'node:test';
import { missing as noMachine } from './vm/machine.ts';

export type Requirement =
  | 'root'
  | `command:${string}`
  | `file:${string}`
  | `filesystem:${string}`
  | 'userns'
  | 'overlay'
  | 'cgroup2'
  | 'vm'
  | 'fuse-passthrough';

const knowsFilesystem = (name: string): boolean =>
  readFileSync('/proc/filesystems', 'utf8').split(/\s+/).includes(name);

function missing(requirement: Requirement): string | undefined {
  if (requirement === 'root') return process.getuid?.() === 0 ? undefined : 'needs root';
  if (requirement === 'userns') {
    return spawnSync('unshare', ['-U', 'true']).status === 0 ? undefined : 'needs user namespaces';
  }
  if (requirement === 'overlay') return knowsFilesystem('overlay') ? undefined : 'needs overlayfs';
  if (requirement === 'cgroup2') {
    return existsSync('/sys/fs/cgroup/cgroup.controllers') ? undefined : 'needs cgroup version 2 at /sys/fs/cgroup';
  }
  if (requirement === 'fuse-passthrough') {
    const [major = 0, minor = 0] = release().split('.').map(Number);
    return major * 1000 + minor >= 6009 ? undefined : 'needs FUSE passthrough, so Linux 6.9';
  }
  if (requirement === 'vm') return noMachine();
  const [kind, name] = [
    requirement.slice(0, requirement.indexOf(':')),
    requirement.slice(requirement.indexOf(':') + 1),
  ];
  if (kind === 'filesystem') return knowsFilesystem(name) ? undefined : `needs a kernel with ${name}`;
  if (kind === 'file') return existsSync(name) ? undefined : `needs the file ${name}`;
  const found = `${process.env['PATH'] ?? ''}${delimiter}/usr/sbin${delimiter}/sbin`
    .split(delimiter)
    .some((directory) => existsSync(join(directory, name)));
  return found ? undefined : `needs the command ${name}`;
}

/** Skips the test unless everything is there. @returns whether the test may go on
 *  @throws Error instead of skipping when TSBOX_MUST_RUN=1 */
export function requires(context: TestContext, ...requirements: Requirement[]): boolean {
  const reasons = requirements.map(missing).filter((reason) => reason !== undefined);
  if (reasons.length === 0) return true;
  if (process.env['TSBOX_MUST_RUN'] === '1') throw new Error(`must run, but ${reasons.join(', ')}`);
  context.skip(reasons.join(', '));
  return false;
}
