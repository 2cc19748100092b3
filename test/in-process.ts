/**
 * `tsbox ARGS...` within the test's own process: the same parsing, engine and words, without the 0.1 to 0.2 s that a Node takes to
 * start. For verbs that start no container, read no standard input and ask no registry (passwords are looked for in the user's home);
 * what is about the process itself (signals, pipes, exit) is for `Sandbox.tsbox`.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';

interface Written {
  stdout: Buffer[];
  stderr: Buffer[];
}

export interface Printed {
  status: number | null;
  stdout: string;
  stderr: string;
}

/** Whose output it is: what else this process writes (the test runner's lines) goes its way. */
const running = new AsyncLocalStorage<Written>();

const { writeSync } = fs;
fs.writeSync = ((fd: number, data: Uint8Array, offset?: number, ...rest: []) => {
  const written = fd === 1 || fd === 2 ? running.getStore() : undefined;
  if (written === undefined) return writeSync(fd, data, offset, ...rest);
  const bytes = Buffer.from(data.subarray(offset ?? 0)); // a copy: the buffer may be used again
  written[fd === 1 ? 'stdout' : 'stderr'].push(bytes);
  return bytes.length;
}) as typeof writeSync;
syncBuiltinESMExports();

interface Roots {
  dataRoot: string;
  runRoot: string;
  /** Of the variables only TSBOX_USERNS_REMAP and TSBOX_BRIDGE are heeded. */
  env?: NodeJS.ProcessEnv;
}

/** @param roots where its images and containers are */
export async function inProcess({ dataRoot, runRoot, env = {} }: Roots, args: readonly string[]): Promise<Printed> {
  const { program } = await import('../src/cli/program.ts');
  const written: Written = { stdout: [], stderr: [] };
  const remap = env['TSBOX_USERNS_REMAP'];
  const mapped = remap === undefined ? [] : ['--userns-remap', remap];
  const bridge = ['--bridge', env['TSBOX_BRIDGE'] ?? 'none'];
  const argv = ['--data-root', dataRoot, '--run-root', runRoot, ...bridge, ...mapped, ...args];
  const status = await running.run(written, () => program(argv));
  return { status, stdout: Buffer.concat(written.stdout).toString(), stderr: Buffer.concat(written.stderr).toString() };
}
