/** A tmpfs of any size in a mount namespace of its own, and commands that run there. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';

export interface Ended {
  status: number | null;
  stdout: string;
  stderr: string;
}

export interface SmallDisk {
  /** Its path for commands that run there. */
  readonly path: string;
  /** The same directory for this process. */
  readonly seen: string;
  run(command: readonly string[], env?: NodeJS.ProcessEnv): Promise<Ended>;
  /** What is taken of it: KiB, inodes. */
  used(): { size: number; inodes: number };
  /** Leaves so much room: KiB, inodes; without a number plenty. */
  leave(free: { size?: number; inodes?: number; readOnly?: boolean }): void;
}

const PLENTY = { size: 64 * 1024, inodes: 100_000 };

/** Mounted at `disk` in the directory until the test ends. */
export async function smallDisk(context: TestContext, directory: string): Promise<SmallDisk> {
  const path = join(directory, 'disk');
  mkdirSync(path);
  const script = `mount -t tmpfs -o size=${PLENTY.size}k,nr_inodes=${PLENTY.inodes} none ${path} && echo up && read end`;
  const holder = spawn('unshare', ['-m', 'sh', '-c', script], { stdio: ['pipe', 'pipe', 'inherit'] });
  context.after(async () => {
    const closed = once(holder, 'close');
    holder.kill('SIGKILL');
    await closed;
  });
  await once(holder.stdout, 'data');
  const inside = ['nsenter', '-t', String(holder.pid), '-m', '--'];
  const seen = `/proc/${holder.pid}/root${path}`;
  const used = () => {
    const { bsize, blocks, bfree, files, ffree } = statfsSync(seen);
    return { size: ((blocks - bfree) * bsize) / 1024, inodes: files - ffree };
  };
  return {
    path,
    seen,
    used,
    run(command, env = {}) {
      const [program = '', ...args] = [...inside, ...command];
      const child = spawn(program, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
      let [stdout, stderr] = ['', ''];
      child.stdout.on('data', (chunk) => {
        stdout += chunk;
      });
      child.stderr.on('data', (chunk) => {
        stderr += chunk;
      });
      return new Promise((resolve) => child.on('close', (status) => resolve({ status, stdout, stderr })));
    },
    leave({ size, inodes, readOnly = false }) {
      const now = used();
      const options = [
        `size=${size === undefined ? PLENTY.size : now.size + size}k`,
        `nr_inodes=${inodes === undefined ? PLENTY.inodes : now.inodes + inodes}`,
        readOnly ? 'ro' : 'rw',
      ];
      execFileSync(inside[0]!, [...inside.slice(1), 'mount', '-o', `remount,${options}`, path]);
    },
  };
}
