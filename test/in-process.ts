/**
 * `tsbox ARGS...` within the test's own process: the same parsing, engine and words, without the 0.1 to 0.2 s that a Node takes to
 * start. For verbs that start no container and read no standard input; what is about the process itself (signals, pipes, exit) is for
 * `Sandbox.tsbox`.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';

interface Written {
  stdout: Buffer[];
  stderr: Buffer[];
}

export interface Printed {
  status: number;
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

/** @param roots where its images and containers are */
export async function inProcess(
  roots: { dataRoot: string; runRoot: string },
  args: readonly string[],
): Promise<Printed> {
  const { program } = await import('../src/cli/program.ts');
  const written: Written = { stdout: [], stderr: [] };
  const argv = ['--data-root', roots.dataRoot, '--run-root', roots.runRoot, ...args];
  const status = await running.run(written, () => program(argv));
  return { status, stdout: Buffer.concat(written.stdout).toString(), stderr: Buffer.concat(written.stderr).toString() };
}
