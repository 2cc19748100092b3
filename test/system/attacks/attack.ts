/** The attacker's program, built once for the test, and the ways of putting it into a container. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Sandbox } from '../harness.ts';

/** `-v` for a container that has the program at /attack, and its path on the host. */
export interface Attack {
  readonly path: string;
  readonly flags: readonly string[];
}

/** Compiles attack.c. The caller has asked for `command:gcc`. */
export function attack(box: Sandbox): Attack {
  const path = join(box.directory, 'attack');
  const source = join(import.meta.dirname, 'attack.c');
  const gcc = spawnSync('gcc', ['-O1', '-static', '-Wall', '-Wextra', '-Werror', '-o', path, source]);
  assert.equal(gcc.status, 0, gcc.stderr.toString());
  return { path, flags: ['-v', `${path}:/attack:ro`] };
}

/** Lines of `name outcome` as the program prints them; of a name that comes again the last. */
export function outcomes(output: string): Record<string, string> {
  return Object.fromEntries(
    output
      .split('\n')
      .map((line) => line.split(' '))
      .filter((words) => words.length === 2),
  );
}

/** An image that is busybox with what `script` (sh, run in its root on the host) makes of it. */
export function malicious(box: Sandbox, name: string, script: string, changes: readonly string[] = []): string {
  const tree = join(box.directory, `tree-${name}`);
  const archive = join(import.meta.dirname, '../../../rootfs-fixtures/build/busybox.tar');
  mkdirSync(tree);
  const made = spawnSync('sh', ['-ec', `tar xf ${archive}\n${script}\ntar cf ../${name}.tar .`], { cwd: tree });
  assert.equal(made.status, 0, made.stderr.toString());
  spawnSync('rm', ['-rf', tree]);
  box.ok([
    'import',
    ...changes.flatMap((change) => ['--change', change]),
    `${tree.replace(/tree-[^/]*$/, name)}.tar`,
    name,
  ]);
  return name;
}
