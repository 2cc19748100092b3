/** The processes that serve files of containers, and what is to be seen where one was killed. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { type Result, until } from '../system/harness.ts';

/** What root's sandbox and an ordinary user have in common. */
interface Tsbox {
  dataRoot: string;
  tsbox(args: readonly string[], options: { timeout: number }): Result;
}

/** Processes that serve a mount of this sandbox. */
export function unions({ dataRoot }: Pick<Tsbox, 'dataRoot'>): number[] {
  const { stdout } = spawnSync('pgrep', ['-f', `union[.]js .* ${dataRoot}/`], { encoding: 'utf8' });
  return stdout.split('\n').filter(Boolean).map(Number);
}

/** Ends the only one. That of a container which has just ended goes a moment later. */
export async function killUnion(box: Pick<Tsbox, 'dataRoot'>): Promise<void> {
  const [pid] = await until('one union', () => {
    const all = unions(box);
    return all.length === 1 && all;
  });
  process.kill(pid!, 'SIGKILL');
  await until('its end', () => unions(box).length === 0);
}

/** A verb that needs files says so, with what to do, and does not wait. */
export function refuses(box: Tsbox, ...args: string[]): void {
  const { status, stderr } = box.tsbox(args, { timeout: 10_000 });
  assert.notEqual(status, 0, args.join(' '));
  assert.match(stderr, /ENOTCONN/);
  assert.match(stderr, /hint: The process that served the files of the container has ended .*"tsbox restart"/);
}

/** Those that do, of the container `one`. @param directory of whoever runs tsbox */
export function refusesFiles(box: Tsbox, directory: string): void {
  refuses(box, 'exec', 'one', 'ls', '/');
  refuses(box, 'exec', 'one', '/bin/nosuch');
  refuses(box, 'exec', '--workdir', '/tmp', 'one', 'ls');
  refuses(box, 'cp', 'one:/file', `${directory}/file`);
  refuses(box, 'cp', '/etc/passwd', 'one:/file');
}
