/** Scripts of the shell that work on a union, in a mount namespace of their own. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';

export const REPOSITORY = join(import.meta.dirname, '../..');
export const UNION = join(REPOSITORY, 'bin/tsbox-union');

/** What the union beside the kernel's overlay needs. */
export const fuse = ['root', 'overlay', 'file:/dev/fuse'] as const;

/** Runs a script in a mount namespace of its own, on a tmpfs with `l1 l2 u w m` in it. `mount_union` mounts with these,
 *  `union_pid` is the process that serves it. */
export function inNamespace(t: TestContext, script: string): { stdout: string; stderr: string; status: number | null } {
  const work = mkdtempSync(join(tmpdir(), 'tsbox-union-'));
  t.after(() => rmSync(work, { recursive: true }));
  const prelude = `
    set -eu
    mount -t tmpfs -o mode=755 union ${work}; cd ${work}
    mkdir l1 l2 u w m
    trap 'umount --lazy ${work}/m 2> /dev/null || true' EXIT
    mount_union() { ${UNION} m -o lowerdir=l1:l2,upperdir=u,workdir=w; }
    union_pid() { # other tests have unions too, in other namespaces
      for pid in $(pgrep -f '[u]nion.js m -o lowerdir=l1:l2'); do
        [ "$(readlink /proc/$pid/ns/mnt)" = "$(readlink /proc/$$/ns/mnt)" ] && echo $pid
      done | tail -n 1
    }
    mount_kernel() { mount -t overlay overlay m -o lowerdir=l1:l2,upperdir=u,workdir=w; }
  `;
  const result = spawnSync('unshare', ['--mount', 'bash', '-c', prelude + script], {
    encoding: 'utf8',
    input: '',
    timeout: 240_000,
    maxBuffer: 1 << 26,
  });
  return { stdout: result.stdout, stderr: result.stderr, status: result.status };
}

/** @returns what the script prints @throws AssertionError where it fails */
export function passes(t: TestContext, script: string): string {
  const { stdout, stderr, status } = inNamespace(t, script);
  assert.equal(status, 0, `${stdout}\n${stderr}`);
  return stdout;
}
