/** The programs client.c and data.c, built and started. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { join } from 'node:path';

/** @returns its path @throws Error with what the compiler says */
export function buildClient(directory: string, name: 'client' | 'data' = 'client'): string {
  const client = join(directory, name);
  const source = join(import.meta.dirname, `${name}.c`);
  const { status, stderr } = spawnSync('gcc', ['-O1', '-o', client, source], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`gcc ${name}.c: ${stderr}`);
  return client;
}

/** Random calls of many processes. @returns what the calls of each have returned, a line a process */
export async function randomCalls(
  client: string,
  directory: string,
  processes: number,
  seed: number,
  count: number,
): Promise<string[]> {
  const child = spawn(client, ['random', directory, String(processes), String(seed), String(count)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text) => {
    output += text;
  });
  const code = await new Promise((resolve) => child.once('close', resolve));
  if (code !== 0) throw new Error(`client in ${directory}: ended with ${code}`);
  return output.trim().split('\n').sort();
}

/** Changes by a few processes, which end when the file system is gone. They are a process group. */
export function durableCalls(
  client: string,
  directory: string,
  processes: number,
  seed: number,
  log: string,
): ChildProcess {
  return spawn(client, ['durable', directory, String(processes), String(seed), log], {
    stdio: ['ignore', 'inherit', 'inherit'],
    detached: true,
  });
}
