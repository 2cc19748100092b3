/** The memory of the process that stays beside a detached container for as long as that runs. */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Engine } from './engines.ts';
import { IMAGE } from './life-cases.ts';
import { run } from './measure.ts';

export interface Keeper {
  engine: string;
  /** Of its process. */
  name: string;
  /** Memory that is its alone, and its fair share of what it shares. @see proc_pid_smaps(5) */
  privateKb: number;
  pssKb: number;
}

/** The most that tsbox's monitor may have. */
export const PROMISED_KEEPER = { privateKb: 700, pssKb: 1000 } as const;
/** Until what the start needed is given back. */
const SETTLE_MS = 1000;

function parentOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
}

/** Looks at the parent of a container's first process. */
export async function keeperOf({ name: engine, program, env }: Engine): Promise<Keeper> {
  const say = (...args: string[]) => run({ argv: [...program, ...args], env }).stdout.trim();
  const container = say('run', '-d', '--network', 'none', IMAGE, 'sleep', '1000');
  try {
    await sleep(SETTLE_MS);
    const pid = parentOf(Number(say('inspect', '--format', '{{.State.Pid}}', container)));
    const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1');
    const kb = (field: string) => Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(rollup)?.[1] ?? 0);
    const name = readFileSync(`/proc/${pid}/comm`, 'utf8').trim();
    return { engine, name, privateKb: kb('Private_Clean') + kb('Private_Dirty'), pssKb: kb('Pss') };
  } finally {
    say('rm', '-f', container);
  }
}
