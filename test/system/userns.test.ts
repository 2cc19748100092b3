/** A user namespace for a container: its root is nobody on the host. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { requires } from '../requires.ts';
import { account } from './accounts.ts';
import { type Sandbox, sandbox, until } from './harness.ts';
import { terminal } from './tmux.ts';

const IDS = 65536;

/** A sandbox whose containers are remapped to a user of the test's. */
function remapped(t: TestContext, sizes: readonly number[] = [IDS]) {
  const box = sandbox(t);
  const { name, starts, uid } = account(t, sizes);
  box.env['TSBOX_USERNS_REMAP'] = name;
  return { box, name, uid, starts, start: starts[0]! };
}

const run = (box: Sandbox, flags: string[], script: string) =>
  box.ok(['run', '--rm', ...flags, box.image(), 'sh', '-c', script]);

const pidOf = (box: Sandbox, name: string) => Number(box.ok(['inspect', '--format', '{{.State.Pid}}', name]));

const needs = (t: TestContext) => requires(t, 'root', 'overlay', 'userns', 'command:useradd');

test("userns: the container's root is the first subordinate id on the host", (t) => {
  if (!needs(t)) return;
  const { box, start } = remapped(t);
  box.ok(['run', '--detach', '--name', 'one', box.image(), 'sleep', '100']);
  const pid = pidOf(box, 'one');
  const column = (value: number) => String(value).padStart(10);
  const line = `${column(0)} ${column(start)} ${column(IDS)}\n`;
  assert.equal(readFileSync(`/proc/${pid}/uid_map`, 'utf8'), line);
  assert.equal(readFileSync(`/proc/${pid}/gid_map`, 'utf8'), line);
  assert.equal(statSync(`/proc/${pid}`).uid, start);
  assert.match(readFileSync(`/proc/${pid}/status`, 'utf8'), new RegExp(`^Uid:\\t${start}\\t${start}\\t`, 'm'));
  assert.equal(box.ok(['exec', 'one', 'cat', '/proc/self/uid_map']), line.trimEnd());
  assert.equal(box.ok(['exec', 'one', 'id', '-u']), '0');
});

test('userns: every user of the container has the id that many after it', (t) => {
  if (!needs(t)) return;
  const { box, start } = remapped(t);
  box.ok(['run', '--detach', '--name', 'one', '--user', '33:44', box.image(), 'sleep', '100']);
  const { uid, gid } = statSync(`/proc/${pidOf(box, 'one')}`);
  assert.deepEqual([uid, gid], [start + 33, start + 44]);
});

test('userns: what belongs to the host cannot be removed by the root of a container', (t) => {
  if (!needs(t)) return;
  const { box, start } = remapped(t);
  const bin = join(box.directory, 'bin');
  const open = join(box.directory, 'open');
  for (const path of [bin, open]) mkdirSync(path);
  writeFileSync(join(bin, 'tool'), 'x', { mode: 0o755 });
  chmodSync(open, 0o1777);
  const script = 'rm -f /host/tool; echo $?; echo x > /host/new; echo $?; stat -c %u:%g /host/tool; touch /open/mine';
  const flags = ['-v', `${bin}:/host`, '-v', `${open}:/open`];
  const [removed, written, owner] = run(box, flags, `(${script}) 2>/dev/null`).split('\n');
  assert.deepEqual([removed, written, owner], ['1', '1', '65534:65534']);
  assert.ok(existsSync(join(bin, 'tool')));
  assert.equal(statSync(join(open, 'mine')).uid, start);
  // Without it root is root.
  assert.equal(run(box, ['--userns', 'host', ...flags], 'rm -f /host/tool; echo $?'), '0');
});

test("userns: a bind's source that is made belongs to the container's root", (t) => {
  if (!needs(t)) return;
  const { box, start } = remapped(t);
  run(box, ['-v', `${box.directory}/new/deep:/x`], 'touch /x/f');
  for (const path of ['new', 'new/deep', 'new/deep/f'])
    assert.equal(statSync(join(box.directory, path)).uid, start, path);
});

test('userns: files have on disk the owners that the container gives them, and the mapped ones where they are mounted', (t) => {
  if (!needs(t)) return;
  const { box, start } = remapped(t);
  const script =
    'touch /a; chown 33:44 /a; rm /bin/ls; mv /usr /usr2; mkdir /usr; mknod /p p; ln -s x /l; exec sleep 100';
  box.ok(['run', '--detach', '--name', 'one', box.image(), 'sh', '-c', script]);
  const layers = join(box.dataRoot, 'overlay2');
  const id = readdirSync(layers).find((name) => existsSync(join(layers, name, 'merged')))!;
  const [merged, diff] = [join(layers, id, 'merged'), join(layers, id, 'diff')];
  return until('the files', () => readdirSync(diff).includes('l')).then(() => {
    const owner = (path: string) => [lstatSync(path).uid, lstatSync(path).gid];
    assert.deepEqual(owner(join(merged, 'a')), [start + 33, start + 44]);
    assert.deepEqual(owner(join(merged, 'bin')), [start, start]);
    assert.deepEqual(owner(join(diff, 'a')), [33, 44]);
    for (const name of ['usr2', 'usr', 'p', 'l', 'bin']) assert.deepEqual(owner(join(diff, name)), [0, 0], name);
    assert.ok(lstatSync(join(diff, 'bin/ls')).isCharacterDevice(), 'the whiteout is one');
  });
});

test('userns: commit and export have the ids of the container', async (t) => {
  if (!needs(t)) return;
  const { box } = remapped(t);
  box.ok(['run', '--name', 'one', box.image(), 'sh', '-c', 'touch /a; chown 33:44 /a; chmod 4755 /a; rm /bin/ls']);
  await box.quick(['commit', 'one', 'made']);
  const show = 'stat -c "%u:%g %a" /a; test -e /bin/ls; echo $?';
  for (const flags of [[], ['--userns', 'host']]) {
    assert.equal(box.ok(['run', '--rm', ...flags, 'made', 'sh', '-c', show]), '33:44 4755\n1');
  }
  const tar = box.tsbox(['export', 'one']).bytes;
  const listed = spawnSync('tar', ['--numeric-owner', '-tvf', '-', 'a'], { input: tar, encoding: 'utf8' });
  assert.match(listed.stdout, /^-rwsr-xr-x 33\/44 /);
  box.ok(['start', 'one']);
  const again = spawnSync('tar', ['--numeric-owner', '-tvf', '-', 'a'], { input: box.tsbox(['export', 'one']).bytes });
  assert.match(again.stdout.toString(), / 33\/44 /);
});

test('userns: a container keeps its user namespace, whatever the later command line says', async (t) => {
  if (!needs(t)) return;
  const { box, name, start } = remapped(t);
  await box.quick(['create', '--name', 'one', box.image(), 'sh', '-c', 'touch /f; exec cat /proc/self/uid_map']);
  delete box.env['TSBOX_USERNS_REMAP'];
  for (let time = 0; time < 2; time++)
    assert.match(box.ok(['start', '--attach', 'one']), new RegExp(`^ +0 +${start} `));
  assert.equal(await box.quick(['inspect', '--format', '{{.HostConfig.UsernsMode}}', 'one']), name);
});

test('userns: several ranges follow each other', (t) => {
  if (!needs(t)) return;
  const { box, starts } = remapped(t, [1000, 64536]);
  const [first, second] = run(box, [], 'cat /proc/self/uid_map').split('\n');
  assert.match(first!, new RegExp(`^ +0 +${starts[0]} +1000$`));
  assert.match(second!, new RegExp(`^ +1000 +${starts[1]} +64536$`));
  const open = join(box.directory, 'open');
  mkdirSync(open);
  chmodSync(open, 0o777);
  run(box, ['--user', '1005:1006', '-v', `${open}:/open`], 'touch /open/f');
  const { uid, gid } = statSync(join(open, 'f'));
  assert.deepEqual([uid, gid], [starts[1]! + 5, starts[1]! + 6]);
});

test('userns: name, number, group and --userns say whose ids', (t) => {
  if (!needs(t)) return;
  const { box, name, uid, start } = remapped(t);
  delete box.env['TSBOX_USERNS_REMAP'];
  const line = new RegExp(`^ +0 +${start} +${IDS}$`);
  for (const spec of [name, String(uid), `${name}:${name}`]) {
    assert.match(box.ok(['--userns-remap', spec, 'run', '--rm', box.image(), 'cat', '/proc/self/uid_map']), line);
    assert.match(run(box, ['--userns', spec], 'cat /proc/self/uid_map'), line);
  }
  assert.match(run(box, [], 'cat /proc/self/uid_map'), /^ +0 +0 +4294967295$/);
});

test('userns: what does not go with it is refused before anything is made', async (t) => {
  if (!needs(t)) return;
  const { box } = remapped(t);
  const image = box.image();
  const refused = (flags: string[], message: RegExp) => {
    const said = box.tsbox(['create', ...flags, image]);
    assert.deepEqual([said.status === 0, message.test(said.stderr)], [false, true], said.stderr);
  };
  refused(['--network', 'host'], /cannot share the host's network namespace when user namespaces are enabled\nhint: /);
  refused(['--userns', 'nobody-like-this'], /no such user: nobody-like-this\nhint: .*useradd/);
  refused(['--userns', 'root'], /root cannot be remapped with itself/);
  refused(['--userns', 'a:b:c'], /invalid user\/group specification/);
  refused(['--userns', 'games'], /no subordinate ids for "games" in \/etc\/subuid\nhint: .*usermod --add-subuids/);
  assert.equal(await box.quick(['ps', '-aq']), '');
  assert.equal(run(box, ['--network', 'host', '--userns', 'host'], 'echo yes'), 'yes');
});

test('userns: terminal, /dev and what is mounted there work as without', async (t) => {
  if (!needs(t) || !requires(t, 'command:tmux')) return;
  const { box } = remapped(t);
  const script =
    'echo a > /dev/null; head -c 3 /dev/zero | wc -c; head -c 3 /dev/urandom | wc -c; echo out > /dev/stdout; ' +
    'test -w /dev/shm && touch /dev/shm/f && echo shm; ls -ldn /dev/mqueue | tr -s " " | cut -d" " -f3; ' +
    'echo x > /proc/sys/kernel/hostname; cat /sys/class/net/lo/operstate; mknod /tmp/n c 1 3; echo $?';
  const lines = run(box, [], `(${script}) 2>/dev/null`).split('\n');
  assert.deepEqual(lines, ['3', '3', 'out', 'shm', '0', 'unknown', '1']);
  assert.equal(run(box, ['--user', '1000'], 'echo mine > /dev/stdout'), 'mine');
  const screen = terminal(t, { env: box.env });
  screen.type(`tsbox run --rm -it ${box.image()} sh`);
  await screen.see(/#$/);
  screen.type('tty; stat -c %u /dev/console');
  await screen.see(/^\/dev\/pts\/0\n0$/m);
  screen.type('exit');
  await screen.see(/outside\$$/);
});

test('userns: nothing of the container can be reached from it that belongs to the root of the host', (t) => {
  if (!needs(t)) return;
  const { box } = remapped(t);
  const flags = ['--cap-add', 'ALL'];
  const script =
    'mount -t tmpfs x /mnt && echo mounted; mount -o remount,rw /proc/sys; ' +
    'echo 1 > /proc/sys/kernel/panic; echo $?; cat /proc/1/environ >/dev/null; echo $?; chroot /proc/1/root true; echo $?';
  const lines = run(box, flags, `mkdir -p /mnt; (${script}) 2>/dev/null`).split('\n');
  assert.deepEqual(lines, ['mounted', '1', '0', '0']);
});

test('userns: a low limit of files does not keep the container from starting', (t) => {
  if (!needs(t)) return;
  const { box } = remapped(t);
  assert.equal(run(box, ['--ulimit', 'nofile=5'], 'ulimit -Hn'), '5');
  assert.equal(run(box, ['--ulimit', 'nofile=1500'], 'ulimit -Hn'), '1500');
});

test('userns auto: each container has ids that no other has, and keeps them', async (t) => {
  if (!needs(t)) return;
  const { box, start } = remapped(t);
  const image = box.image();
  const create = ['create', '--userns', 'auto:size=1000', image, 'sh', '-c', 'cat /proc/self/uid_map; touch /mine'];
  const made = await Promise.all([0, 1, 2, 3].map(() => box.start(create).done));
  const ids = made.map(({ stdout, stderr }) => stdout.trim() || assert.fail(stderr));
  const first = (id: string) => {
    const map = box.ok(['start', '--attach', id]);
    const [inside, outside, size] = map.trim().split(/\s+/).map(Number);
    assert.deepEqual([inside, size], [0, 1000], map);
    return outside!;
  };
  const starts = ids.map(first);
  const wanted = [0, 1000, 2000, 3000].map((offset) => start + offset);
  assert.deepEqual([...starts].sort(), wanted);
  assert.deepEqual(ids.map(first), starts, 'the next start too');
  // What a removed one had is given out again; too much is refused before anything is made.
  box.ok(['rm', ids[0]!]);
  const flags = ['--userns', 'auto:size=500'];
  const again = run(box, flags, 'cat /proc/self/uid_map').trim().split(/\s+/).map(Number);
  assert.deepEqual(again, [0, starts[0], 500]);
  const refused = box.tsbox(['create', '--userns', 'auto:size=65000', image]);
  assert.match(
    refused.stderr,
    /no 65000 ids in a row are free in \/etc\/subuid for --userns auto:size=65000\nhint: Remove/,
  );
  box.ok(['run', '--detach', '--name', 'runs', '--userns', 'auto:size=10', image, 'sleep', '100']);
  assert.match(box.ok(['exec', 'runs', 'cat', '/proc/self/uid_map']), / 10$/);
  assert.equal(box.ok(['ps', '-aq']).split('\n').length, 4);
});
