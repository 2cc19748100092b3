/** A command for which one process after another is refused: few-forks.c. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { PATIENCE } from './harness.ts';

const TIME_LIMIT = 60_000;

/** `one`: the nth alone is refused; `from`: all from the nth on. */
export type Which = 'one' | 'from';

export interface Refused {
  /** null when it did not end, or one of its processes kept its output open. */
  status: number | null;
  stdout: string;
  stderr: string;
  /** Who was refused a process; undefined when nobody asked for so many. */
  whom: string | undefined;
}

export type FewForks = (which: Which, number: number, command: readonly string[], env: NodeJS.ProcessEnv) => Refused;

/** @param directory for the program and its reports */
export function fewForks(directory: string): FewForks {
  const program = join(directory, 'few-forks');
  const report = join(directory, 'few-forks.report');
  const source = join(import.meta.dirname, 'few-forks.c');
  const made = spawnSync('gcc', ['-O1', '-Wall', '-Werror', '-o', program, source], { encoding: 'utf8' });
  assert.equal(made.status, 0, made.stderr);
  return (which, number, command, env) => {
    rmSync(report, { force: true });
    const { status, error, stdout, stderr } = spawnSync(program, [which, String(number), report, ...command], {
      env,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: PATIENCE * TIME_LIMIT,
      killSignal: 'SIGKILL',
    });
    const whom = /^\d+ refused (.*)$/m.exec(readFileSync(report, 'utf8'))?.[1];
    return { status: error === undefined ? status : null, stdout, stderr, whom };
  };
}
