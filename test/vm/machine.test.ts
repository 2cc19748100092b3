/** The virtual machine itself, as seen from the host. What runs in it is in inside/. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { requires } from '../requires.ts';
import { until } from '../system/harness.ts';
import { boot, type Machine, REPOSITORY } from './machine.ts';

/** Directories of machines, each with a process that has it in its command line. */
const directories = () => readdirSync(tmpdir()).filter((name) => name.startsWith('tsb-vm-'));
const processes = (words: string) => spawnSync('pgrep', ['--full', '--', words]).stdout.toString().trim();

/** Runs a script in it. @returns [status, stdout, stderr] */
async function said(machine: Machine, script: string): Promise<[number, string, string]> {
  const [out, err]: Buffer[][] = [[], []];
  const status = await machine.run({
    argv: ['sh', '-c', script],
    env: { WORD: "it's a\nword" },
    cwd: REPOSITORY,
    timeout: 60_000,
    onStdout: (data) => void out!.push(data),
    onStderr: (data) => void err!.push(data),
  });
  return [status, Buffer.concat(out!).toString('latin1'), Buffer.concat(err!).toString('latin1')];
}

test('vm: one boot, many commands', async (t) => {
  if (!requires(t, 'vm')) return;
  const before = directories();
  const machine = await boot();
  t.after(() => machine.close());
  await t.test('exit status, both outputs, environment, directory', async () => {
    const answer = await said(machine, 'echo "$WORD"; pwd; printf "\\377-\\0" >&2; exit 3');
    assert.deepEqual(answer, [3, `it's a\nword\n${REPOSITORY}\n`, '\xff-\0']);
    assert.deepEqual(await said(machine, 'kill -9 $$'), [137, '', 'Killed\n']);
  });
  await t.test('a large output is all there', async () => {
    const [status, out] = await said(machine, 'head -c 3000000 /dev/zero; echo end');
    assert.deepEqual([status, out.length, out.slice(-4)], [0, 3_000_004, 'end\n']);
  });
  await t.test('cgroup version 2 alone, with its controllers', async () => {
    const script = 'grep cgroup /proc/self/mounts; cat /sys/fs/cgroup/cgroup.controllers';
    const [, out] = await said(machine, script);
    assert.match(out, /^none \/sys\/fs\/cgroup cgroup2 rw,relatime,nsdelegate 0 0\n/);
    for (const name of ['cpu', 'cpuset', 'io', 'memory', 'pids']) assert.match(out, new RegExp(`\\b${name}\\b`));
  });
  await t.test('what is written in there stays in there', async () => {
    const path = join(REPOSITORY, 'test/vm/written');
    assert.deepEqual(await said(machine, `echo x > ${path} && cat ${path}`), [0, 'x\n', '']);
    assert.ok(!existsSync(path));
    const [status] = await said(machine, 'mount -t virtiofs host /mnt && echo x > /mnt/tmp/tsb-written');
    assert.notEqual(status, 0, 'nor by who goes below the tmpfs');
  });
  await t.test('when the kernel panics, nothing that was printed is lost, and it is said', async () => {
    let out = '';
    const script = 'echo before; echo c > /proc/sysrq-trigger; sleep 10';
    const onStdout = (data: Buffer) => {
      out += data;
    };
    await assert.rejects(
      machine.run({ argv: ['sh', '-c', script], timeout: 60_000, onStdout }),
      /the kernel of the virtual machine panicked; its console:\n.*sysrq triggered crash/s,
    );
    assert.equal(out, 'before\n');
  });
  await machine.close();
  assert.deepEqual(directories(), before);
  for (const pid of machine.pids) assert.ok(!existsSync(`/proc/${pid}`));
});

test('vm: who takes too long is ended, and the console is shown', async (t) => {
  if (!requires(t, 'vm')) return;
  const before = directories();
  await assert.rejects(
    boot({ timeout: 100 }),
    /took longer than 0.1 s, and the virtual machine was ended; its console:/,
  );
  assert.deepEqual(directories(), before);
});

test('vm: its processes end with the one that started them, even by SIGKILL', async (t) => {
  if (!requires(t, 'vm')) return;
  const before = directories();
  const runner = spawn(process.execPath, [join(import.meta.dirname, 'run.ts'), 'true'], { stdio: 'ignore' });
  const directory = await until('a directory', () => directories().find((name) => !before.includes(name)));
  await until('qemu', () => processes(`qemu.*${directory}`) !== '');
  const ended = once(runner, 'close');
  runner.kill('SIGKILL');
  await ended;
  await until('nobody', () => processes(directory) === '');
  spawnSync('rm', ['-r', join(tmpdir(), directory)]);
});
