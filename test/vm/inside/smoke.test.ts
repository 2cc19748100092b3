/** Everything once, on a second kernel: what the system tests prove in full, a command or two of each. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import test from 'node:test';
import { requires } from '../../requires.ts';
import { runRootOf, type Sandbox, sandbox, until } from '../../system/harness.ts';
import { leftovers } from '../../system/leftovers.ts';
import { terminal } from '../../system/tmux.ts';

const REPOSITORY = join(import.meta.dirname, '../../..');

/** Nothing of a container is there any more. */
async function clean(box: Sandbox): Promise<void> {
  assert.equal(box.ok(['ps', '-aq']), '');
  assert.deepEqual(runRootOf(box), []);
  assert.deepEqual(await leftovers(box.directory), []);
}

test('smoke: images and a container', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const image = 'busybox:offline';
  await t.test('import a root file system', () => {
    box.ok(['import', join(REPOSITORY, 'rootfs-fixtures/build/busybox.tar'), image]);
    assert.match(box.ok(['images']), /^busybox +offline /m);
  });
  await t.test('load an image of three layers with whiteouts, and run it', () => {
    box.ok(['load', '-i', join(REPOSITORY, 'rootfs-fixtures/build/layers.tar')]);
    box.ok(['run', '--rm', 'layers:latest', 'test', '-d', '/fixture']);
  });
  await t.test('run: output, exit code, its own pid, host name, root and cgroup', () => {
    const script = 'echo $$; hostname; ls /; cat /proc/self/cgroup; echo problem >&2; exit 7';
    const { status, stdout, stderr } = box.tsbox(['run', '--rm', '-h', 'box', image, 'sh', '-c', script]);
    assert.deepEqual([status, stderr], [7, 'problem\n']);
    const cgroups = stdout.split('var\n')[1];
    assert.equal(stdout, `1\nbox\nbin\ndev\netc\nhome\nproc\nroot\nsbin\nsys\ntmp\nusr\nvar\n${cgroups}`);
    for (const line of cgroups!.trim().split('\n')) assert.match(line, /^\d+:[^:]*:\/$/);
  });
  await t.test('in the background: exec, logs, stop, commit, save, rm, rmi', () => {
    const script = 'trap "echo stopped; exit 3" TERM; echo began; while :; do sleep 0.1; done';
    box.ok(['run', '-d', '--name', 'one', image, 'sh', '-c', script]);
    assert.equal(box.ok(['exec', 'one', 'sh', '-c', 'echo mark > /mark; cat /mark']), 'mark');
    box.ok(['stop', '-t', '100', 'one']);
    assert.equal(box.ok(['logs', 'one']), 'began\nstopped');
    assert.equal(box.ok(['inspect', '-f', '{{.State.Status}} {{.State.ExitCode}}', 'one']), 'exited 3');
    box.ok(['commit', 'one', 'marked']);
    assert.equal(box.ok(['run', '--rm', 'marked', 'cat', '/mark']), 'mark');
    box.ok(['save', '-o', join(box.directory, 'marked.tar'), 'marked']);
    box.ok(['rm', 'one']);
    box.ok(['rmi', 'marked']);
  });
  await clean(box);
});

test('smoke: a terminal', async (t) => {
  if (!requires(t, 'root', 'overlay', 'command:tmux')) return;
  const box = sandbox(t);
  const image = box.image();
  const tty = terminal(t, { env: box.env });
  tty.type(`tsbox run -it --rm -e 'PS1=inside# ' ${image}`);
  await tty.see(/^inside#$/m);
  tty.type('tty; stty size');
  await tty.see(/^\/dev\/pts\/0\n24 80$/m);
  tty.type('exit 5');
  await tty.see(/^outside\$$/m);
  tty.type('echo status $?');
  await tty.see(/^status 5$/m);
});

test('smoke: twenty at once', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const image = box.image();
  const all = [...Array(20).keys()].map((n) => {
    const script = `hostname; echo ${n} > /mark; sleep 1; cat /mark; exit ${n}`;
    return box.start(['run', '--rm', '--name', `n${n}`, '-h', `h${n}`, image, 'sh', '-c', script]);
  });
  const results = await Promise.all(all.map((one) => one.done));
  assert.deepEqual(
    results.map(({ status, stdout, stderr }) => [status, stdout, stderr]),
    all.map((_, n) => [n, `h${n}\n${n}\n`, '']),
  );
  await until('an empty run root', () => runRootOf(box).length === 0);
  await clean(box);
});
