/** Timing and counting of whole commands, from outside: the same for tsbox and for its peers. */
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

export interface Command {
  readonly argv: readonly [string, ...string[]];
  readonly env?: NodeJS.ProcessEnv;
}

/** Runs a command to its end. @throws Error with what it wrote to stderr unless it exits with 0 */
export function run(command: Command): { stdout: string; stderr: string } {
  const [file, ...args] = command.argv;
  const { status, stdout, stderr, error } = spawnSync(file, args, {
    env: command.env ?? process.env,
    encoding: 'utf8',
  });
  if (error !== undefined) throw error;
  if (status !== 0) throw new Error(`${command.argv.join(' ')}: exit ${status}: ${stderr.trim()}`);
  return { stdout, stderr };
}

/** Milliseconds from before the fork to after the wait. @throws Error unless it exits with 0 */
export function time(command: Command): number {
  const [file, ...args] = command.argv;
  const from = process.hrtime.bigint();
  const { status } = spawnSync(file, args, { stdio: 'ignore', env: command.env ?? process.env });
  const taken = Number(process.hrtime.bigint() - from) / 1e6;
  if (status !== 0) throw new Error(`${command.argv.join(' ')}: exit ${status}`);
  return taken;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

export interface Counts {
  processes: number;
  threads: number;
  syscalls: number;
}

const isTraced = (pid: number) => /^TracerPid:\s+[1-9]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));

/** Attaches strace to daemons. @returns what detaches it again */
async function watch(daemons: readonly number[], prefix: string): Promise<() => Promise<void>> {
  if (daemons.length === 0) return async () => {};
  const pids = daemons.flatMap((pid) => ['-p', String(pid)]);
  const strace = spawn('strace', ['-ff', '-qqq', '-o', prefix, ...pids], { stdio: 'ignore' });
  const ended = new Promise<void>((fulfil) => strace.once('close', () => fulfil()));
  while (!daemons.every(isTraced)) await sleep(20);
  return async () => {
    strace.kill('SIGINT');
    await ended;
  };
}

/** Counts what a command does, and everything below it, and `daemons` for as long as it takes. Needs strace. */
export async function count(command: Command, daemons: readonly number[]): Promise<Counts> {
  const directory = mkdtempSync(join(tmpdir(), 'bench-trace-'));
  try {
    const detach = await watch(daemons, join(directory, 'daemon'));
    try {
      run({ ...command, argv: ['strace', '-ff', '-qqq', '-o', join(directory, 'command'), ...command.argv] });
    } finally {
      await detach();
    }
    return tally(directory);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** One file a thread, one line a system call. */
function tally(directory: string): Counts {
  const counts = { processes: 1, threads: 0, syscalls: 0 };
  for (const name of readdirSync(directory)) {
    for (const line of readFileSync(join(directory, name), 'latin1').split('\n')) {
      if (!/^[a-z]\w*\(/.test(line)) continue;
      counts.syscalls++;
      if (!/^(clone3?|v?fork)\(.* = \d/.test(line)) continue;
      if (line.includes('CLONE_THREAD')) counts.threads++;
      else counts.processes++;
    }
  }
  return counts;
}
