/** Users of the host that a test makes and removes, with the subordinate ids that it gives them. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import type { TestContext } from 'node:test';

export interface Account {
  name: string;
  uid: number;
  gid: number;
  /** First id of each of its ranges, the same in /etc/subuid and /etc/subgid. */
  starts: number[];
}

/** Ids that no distribution gives to anybody. */
const FIRST = 0x4000_0000;
const STEP = 0x20000;

function command(program: string, ...args: string[]): void {
  const { status, stderr, error } = spawnSync(program, args, { encoding: 'utf8' });
  assert.equal(status, 0, `${program} ${args.join(' ')}: ${error?.message ?? stderr}`);
}

let made = 0;

/** A user with ranges of so many ids each; gone, with its lines, when the test ends.
 *  @param before what has to be done while he is still there */
export function account(
  context: TestContext,
  sizes: readonly number[],
  before: () => Promise<void> = async () => {},
): Account {
  const number = made++;
  const name = `tsbt${process.pid}x${number}`;
  const starts = sizes.map((_, index) => FIRST + ((process.pid % 900) * 8 + ((number * 3 + index) % 8)) * STEP);
  command('useradd', '--no-create-home', '--no-log-init', '--user-group', '--shell', '/bin/sh', name);
  context.after(async () => {
    try {
      await before();
    } finally {
      command('userdel', '--force', name);
    }
  });
  // Whatever useradd gives by itself is taken back: the test's own ranges are all there is.
  for (const [file, flag] of [
    ['/etc/subuid', '--del-subuids'],
    ['/etc/subgid', '--del-subgids'],
  ] as const) {
    for (const line of readFileSync(file, 'utf8').split('\n')) {
      const [owner, start, size] = line.split(':');
      if (owner === name) command('usermod', flag, `${start}-${Number(start) + Number(size) - 1}`, name);
    }
  }
  for (const [index, size] of sizes.entries()) {
    const range = `${starts[index]}-${starts[index]! + size - 1}`;
    command('usermod', '--add-subuids', range, '--add-subgids', range, name);
  }
  const [, , uid, gid] = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .find((line) => line.startsWith(`${name}:`))!
    .split(':');
  return { name, uid: Number(uid), gid: Number(gid), starts };
}
