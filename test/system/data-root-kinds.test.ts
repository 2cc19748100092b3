/** A data root that is mounted read-only while a container runs, one on a file system without extended attributes, and one on an overlay: in
 *  a mount namespace of the test's own, each verb works or says why not. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { requires } from '../requires.ts';
import { REPOSITORY, sandbox, TSBOX, until } from './harness.ts';

const ARCHIVES = join(REPOSITORY, 'rootfs-fixtures/build');

interface Place {
  command(...words: string[]): void;
  tsbox(...words: string[]): { status: number | null; stdout: string; stderr: string };
  ok(...words: string[]): string;
  root: string;
  runRoot: string;
}

const overlayOn = (root: string): string =>
  `mount -t tmpfs none ${root} && cd ${root} && mkdir l u w && mount -t overlay overlay ${root} -o lowerdir=l,upperdir=u,workdir=w && cd /`;

/** A file system of this type under the data root, which nobody else sees. */
async function mounted(t: TestContext, type: string): Promise<Place> {
  const box = sandbox(t);
  mkdirSync(box.dataRoot);
  const mount = type === 'overlay' ? overlayOn(box.dataRoot) : `mount -t ${type} none ${box.dataRoot}`;
  const script = `${mount} && echo up && read end`;
  const holder = spawn('unshare', ['-m', 'sh', '-c', script], { stdio: ['pipe', 'pipe', 'inherit'] });
  t.after(async () => {
    const closed = once(holder, 'close');
    holder.kill('SIGKILL');
    await closed;
  });
  await once(holder.stdout, 'data');
  const inside = (words: string[]) =>
    spawnSync('nsenter', ['-t', String(holder.pid), '-m', '--', ...words], {
      env: box.env,
      encoding: 'utf8',
      timeout: 60_000,
      killSignal: 'SIGKILL',
    });
  const place: Place = {
    root: box.dataRoot,
    runRoot: box.runRoot,
    command: (...words) => assert.equal(inside(words).status, 0, words.join(' ')),
    tsbox: (...words) => inside([TSBOX, ...words]),
    ok(...words) {
      const { status, stdout, stderr } = place.tsbox(...words);
      assert.equal(status, 0, `${words.join(' ')}: ${stderr}`);
      return stdout;
    },
  };
  return place;
}

test('read-only data root: what looks at a container works, what changes it says so', async (t) => {
  if (!requires(t, 'root', 'overlay', 'command:unshare')) return;
  const { tsbox, ok, command, root, runRoot } = await mounted(t, 'tmpfs');
  ok('import', '--change', 'CMD ["sh"]', join(ARCHIVES, 'busybox.tar'), 'image');
  ok('run', '--name', 'ended', 'image', 'touch', '/made');
  ok('run', '--detach', '--name', 'runs', '--volume', 'vv:/v', 'image', 'sh', '-c', 'echo said; sleep 1000');
  ok('run', '--detach', '--restart', 'on-failure', '--name', 'two', 'image', 'sleep', '1000');
  ok('run', '--detach', '--restart', 'on-failure', '--name', 'three', 'image', 'sleep', '1000');
  const saying = (code: number) => [
    'image',
    'sh',
    '-c',
    `trap "exit ${code}" TERM; echo ready; while :; do sleep 0.05; done`,
  ];
  ok('run', '--detach', '--restart', 'unless-stopped', '--name', 'four', ...saying(4));
  ok(
    'run',
    '--detach',
    '--name',
    'five',
    'image',
    'sh',
    '-c',
    'while [ ! -e /dev/shm/go ]; do sleep 0.05; done; exit 5',
  );
  await until('its trap', () => ok('logs', 'four') === 'ready\n');
  command('mount', '--bind', root, root);
  command('mount', '-o', 'remount,bind,ro', root);
  for (const words of [
    ['ps', '--all'],
    ['images'],
    ['inspect', 'runs'],
    ['inspect', 'ended'],
    ['logs', 'runs'],
    ['top', 'runs'],
    ['diff', 'ended'],
    ['volume', 'ls'],
    ['volume', 'inspect', 'vv'],
    ['network', 'ls'],
    ['network', 'inspect', 'none'],
    ['system', 'df'],
    ['exec', '--env', 'A=b', 'runs', 'true'],
    ['cp', 'runs:/etc/hosts', '-'],
    ['stats', '--no-stream'],
    ['pause', 'runs'],
    ['unpause', 'runs'],
  ]) {
    assert.equal(tsbox(...words).stderr, '', words.join(' '));
  }
  assert.equal(ok('logs', 'runs'), 'said\n');
  for (const words of [
    ['create', 'image'],
    ['run', '--rm', 'image', 'true'],
    ['start', 'ended'],
    ['rename', 'ended', 'other'],
    ['cp', 'ended:/made', '-'],
    ['rm', 'ended'],
    ['rm', '--force', 'two'],
    ['commit', 'ended', 'new'],
    ['volume', 'create', 'ww'],
    ['network', 'create', '--subnet', '10.231.0.0/24', 'nn'],
  ]) {
    const { status, stderr } = tsbox(...words);
    assert.notEqual(status, 0, words.join(' '));
    assert.match(stderr, /EROFS \(Read-only file system\)[\s\S]*hint: .*read-only/, words.join(' '));
  }
  // How it has ended stays known, whether somebody has ended it, and that somebody has.
  tsbox('exec', 'five', 'touch', '/dev/shm/go'); // may be killed by the end that it brings about
  assert.equal(ok('stop', 'four'), 'four\n');
  await until('its end', () => ok('ps', '--quiet', '--filter', 'name=five') === '');
  const ends = () =>
    ok('inspect', '--format', '{{.State.Status}} {{.State.ExitCode}} [{{.State.Error}}]', 'four', 'five');
  assert.equal(ends(), 'exited 4 []\nexited 5 []\n');
  // What runs can be ended, and the list says so; two was ended before it could not be removed.
  assert.equal(ok('ps', '--format', '{{.Names}}'), 'three\nruns\n');
  assert.equal(ok('stop', '--time', '0', 'runs'), 'runs\n');
  assert.equal(ok('kill', 'three'), 'three\n');
  assert.equal(ok('wait', 'three'), '137\n');
  const status = ok(
    'ps',
    '--all',
    '--filter',
    'name=runs',
    '--filter',
    'name=two',
    '--filter',
    'name=three',
    '--format',
    '{{.Status}}',
  );
  assert.match(status, /^(Exited \(137\) .* ago\n){3}$/);
  command('umount', root);
  assert.equal(ends(), 'exited 4 []\nexited 5 []\n');
  assert.doesNotMatch(ok('system', 'start'), /four|five/);
  assert.equal(ends(), 'exited 4 []\nexited 5 []\n');
  ok('start', 'two');
  ok('start', 'four');
  ok('rm', '--force', 'runs', 'ended', 'two', 'three', 'four', 'five');
  assert.deepEqual(
    readdirSync(runRoot).filter((name) => /^[0-9a-f]{64}/.test(name)),
    [],
  );
});

test('data root without extended attributes: what needs them says so, and nothing is left', async (t) => {
  if (!requires(t, 'root', 'overlay', 'command:unshare')) return;
  const { tsbox, ok } = await mounted(t, 'ramfs');
  ok('import', '--change', 'CMD ["sh"]', join(ARCHIVES, 'busybox.tar'), 'image');
  for (const words of [
    ['load', '--input', join(ARCHIVES, 'layers.tar')],
    ['create', 'image'],
    ['run', '--rm', 'image', 'true'],
  ]) {
    const { status, stderr } = tsbox(...words);
    assert.notEqual(status, 0, words.join(' '));
    assert.match(stderr, /set xattr .*EOPNOTSUPP \(.*\)\nhint: .*extended attributes/, words.join(' '));
  }
  assert.equal(ok('ps', '--all', '--quiet'), '');
  assert.equal(ok('images', '--format', '{{.Repository}}'), 'image\n');
  ok('rmi', 'image');
});

test('data root on an overlay: images are unpacked, the union shows them, diff and commit read what it leaves', async (t) => {
  if (!requires(t, 'root', 'overlay', 'file:/dev/fuse', 'command:unshare', `file:${ARCHIVES}/layers.tar`)) return;
  const { ok, command, root } = await mounted(t, 'overlay');
  ok('load', '--input', join(ARCHIVES, 'layers.tar'));
  const merged = join(root, 'm');
  command('mkdir', merged);
  const inUnion = (data: string, script: string): void => {
    const union = join(REPOSITORY, 'bin/tsbox-union');
    command('sh', '-ec', `${union} ${merged} -o ${data}; cd ${merged}; trap 'cd /; umount ${merged}' EXIT; ${script}`);
  };
  const dirs = (...names: string[]) => names.map((name) => `{{.GraphDriver.Data.${name}}}`).join(':');
  const layers = ok('image', 'inspect', '--format', dirs('UpperDir', 'LowerDir'), 'layers').trim();
  const look = join(import.meta.dirname, 'fixture-tree.ts');
  const check = `import { fixtureDifferences } from '${look}'; process.exit(fixtureDifferences('.').map((line) => console.error(line)).length)`;
  inUnion(`lowerdir=${layers}`, `${process.execPath} --input-type=module -e "${check}"`);

  ok('create', '--name', 'one', 'layers', 'true');
  const [upper, work, lower] = ['UpperDir', 'WorkDir', 'LowerDir'].map((name) =>
    ok('inspect', '--format', dirs(name), 'one').trim(),
  );
  const change = 'mkdir fixture/new; echo x > fixture/new/file; rm -r etc; [ ! -e etc ]';
  inUnion(`lowerdir=${lower},upperdir=${upper},workdir=${work}`, change);
  const changes = 'C /fixture\nA /fixture/new\nA /fixture/new/file\nD /etc\n';
  assert.deepEqual(ok('diff', 'one').split('\n').sort(), changes.split('\n').sort());
  ok('commit', 'one', 'two');
  const again = ok('image', 'inspect', '--format', dirs('UpperDir', 'LowerDir'), 'two').trim();
  inUnion(`lowerdir=${again}`, '[ ! -e etc ]; [ "$(cat fixture/new/file)" = x ]');
});

test('data root on an overlay: the storage driver fuse is chosen, says why, and runs containers', async (t) => {
  if (!requires(t, 'root', 'overlay', 'file:/dev/fuse', 'command:unshare')) return;
  const { ok, root } = await mounted(t, 'overlay');
  ok('import', '--change', 'CMD ["sh"]', join(ARCHIVES, 'busybox.tar'), 'image');
  const reason = 'the kernel refuses an overlay on overlay: EINVAL';
  assert.equal(
    ok('info', '--format', '{{.Driver}} {{json .DriverStatus}}').trim(),
    `fuse ${JSON.stringify([
      ['Backing Filesystem', 'overlay'],
      ['Reason', reason],
    ])}`,
  );
  assert.match(ok('--dry-run', 'run', 'image'), new RegExp(`Storage driver fuse: ${reason}`));
  const change = 'rm -r /etc/group /var/www; mkdir /var/www; echo x > /var/www/x; echo y >> /etc/passwd';
  const check = 'ls /etc/group 2> /dev/null; ls /var/www; tail -n 1 /etc/passwd';
  ok('run', '--name', 'made', 'image', 'sh', '-euc', change);
  ok('commit', 'made', 'changed');
  assert.equal(ok('run', '--rm', 'changed', 'sh', '-c', check), 'x\ny\n');
  const diff = ok('diff', 'made').trim().split('\n').sort();
  assert.deepEqual(diff, ['A /var/www/x', 'C /etc', 'C /etc/passwd', 'C /var', 'C /var/www', 'D /etc/group']);
  assert.match(ok('cp', 'made:/etc/passwd', '-'), /root:/);
  ok('rm', 'made');
  ok('rmi', 'changed', 'image');
  assert.deepEqual(
    readdirSync(root).filter((name) => name.startsWith('.tmp')),
    [],
  );
});
