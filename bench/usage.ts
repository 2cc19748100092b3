/** What a command costs: time, processor time and memory, its daemons' included. */
import { spawn, spawnSync } from 'node:child_process';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from './measure.ts';

export interface Usage {
  /** From before the fork to after the wait. */
  readonly seconds: number;
  /** The same and until all of the file system is on the disk. */
  readonly synced: number;
  /** User and system time of the command, what it waited for, and the daemons. */
  readonly cpu: number;
  /** Bytes: the largest resident sets of the command's processes and of the daemons, added up. */
  readonly peak: number;
}

export interface Work extends Command {
  /** Processes that work for it. */
  readonly daemons: readonly number[];
}

/** USER_HZ; every Linux has the same towards its programs. */
const TICKS_A_SECOND = 100;
const POLL_MS = 10;

/** Seconds of a process and of the children it has waited for. @see proc_pid_stat(5), utime to cstime */
function cpuOf(pid: number | 'self', own: boolean): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const [user, system, childUser, childSystem] = fields.slice(11, 15).map(Number) as [number, number, number, number];
  return ((own ? user + system : 0) + childUser + childSystem) / TICKS_A_SECOND;
}

const cpuOfAll = (daemons: readonly number[]) =>
  daemons.reduce((sum, pid) => sum + cpuOf(pid, true), cpuOf('self', false));

/** Bytes; 0 when it has ended. @see proc_pid_status(5), VmHWM */
function peakOf(pid: number): number {
  try {
    return Number(/^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1] ?? 0) * 1024;
  } catch {
    return 0;
  }
}

/** The same with the children of its first thread, which are those of a shell. */
function peakWithChildren(pid: number): number {
  try {
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').split(' ').filter(Boolean);
    return children.reduce((sum, child) => sum + peakWithChildren(Number(child)), peakOf(pid));
  } catch {
    return 0;
  }
}

/** Makes the largest resident set what it is at the moment. @see proc_pid_clear_refs(5) */
const forgetPeak = (pid: number) => writeFileSync(`/proc/${pid}/clear_refs`, '5');

/** Runs it to its end. @returns its largest resident set, seen every few milliseconds @throws Error unless it exits with 0 */
async function runToEnd(work: Work): Promise<number> {
  const [file, ...args] = work.argv;
  const child = spawn(file, args, { env: work.env ?? process.env, stdio: ['ignore', 'ignore', 'pipe'] });
  let peak = 0;
  let stderr = '';
  child.stderr.on('data', (chunk) => {
    stderr += chunk;
  });
  const poll = setInterval(() => {
    peak = Math.max(peak, peakWithChildren(child.pid ?? 0));
  }, POLL_MS);
  try {
    const status = await new Promise((fulfil, reject) => child.once('error', reject).once('close', fulfil));
    if (status !== 0) throw new Error(`exit ${status}: ${stderr.trim().slice(-500)}`);
  } finally {
    clearInterval(poll);
  }
  return peak;
}

const syncAll = (directory: string) => spawnSync('sync', ['--file-system', directory]);

/** @param directory on the file system that is written to; nothing waits there to be written when the work begins */
export async function measure(work: Work, directory: string): Promise<Usage> {
  syncAll(directory);
  work.daemons.forEach(forgetPeak);
  const cpuBefore = cpuOfAll(work.daemons);
  const from = process.hrtime.bigint();
  const since = () => Number(process.hrtime.bigint() - from) / 1e9;
  const own = await runToEnd(work);
  const seconds = since();
  const cpu = cpuOfAll(work.daemons) - cpuBefore;
  const peak = work.daemons.reduce((sum, pid) => sum + peakOf(pid), own);
  syncAll(directory);
  return { seconds, synced: since(), cpu, peak };
}

/** Runs it under strace. @returns how many system calls the command and everything below it made; undefined without strace */
export async function countCalls(work: Work, directory: string): Promise<number | undefined> {
  if (spawnSync('strace', ['--version']).status !== 0) return undefined;
  const counts = join(directory, 'strace');
  await runToEnd({ ...work, argv: ['strace', '-f', '-c', '-qq', '-U', 'calls,name', '-o', counts, ...work.argv] });
  const total = /^\s*(\d+) total$/m.exec(readFileSync(counts, 'utf8'))?.[1];
  rmSync(counts);
  return total === undefined ? undefined : Number(total);
}
