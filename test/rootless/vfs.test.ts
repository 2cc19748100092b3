/** The storage driver vfs as an ordinary user: root of a user namespace copies the layers, and the container's first process mounts the copy. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { conform, WITHOUT_DEVICES } from '../conformance/driver.ts';
import { type Requirement, requires } from '../requires.ts';
import { REPOSITORY, until } from '../system/harness.ts';
import { ORDINARY, USERNS } from './box.ts';
import { type User, user } from './user.ts';

conform('vfs', ORDINARY);

const NEEDS = ['root', 'userns', 'command:useradd', 'command:newuidmap'] as const;
const IMAGE = 'busybox:offline';
const overlay2 = { env: { TSBOX_STORAGE_DRIVER: 'overlay2' } };
const { CHANGE, CHECK, SEEN } = WITHOUT_DEVICES;

/** A user, with his image, who asks for the driver. @param apart his commands see mounts that the test makes for him */
function begin(t: TestContext, { more = [], apart = false }: { more?: Requirement[]; apart?: boolean } = {}) {
  if (!requires(t, ...NEEDS, ...more)) return undefined;
  const he = user(t, undefined, { fuse: apart });
  he.env['TSBOX_STORAGE_DRIVER'] = 'vfs';
  return he;
}

const upperOf = (he: User, name: string) => he.ok(['inspect', '--format', '{{.GraphDriver.Data.UpperDir}}', name]);
const pidOf = (he: User, name: string) => Number(he.ok(['inspect', '--format', '{{.State.Pid}}', name]));
const layersOf = (he: User, image: string): string[] => JSON.parse(he.ok(['image', 'inspect', image]))[0].RootFS.Layers;

/** A command of the host as root of the user namespace of a container that runs. */
function inNamespaceOf(he: User, name: string, command: string): string {
  return he.shell(`${USERNS} join ${pidOf(he, name)} ${command}`);
}

test('rootless vfs: a start mounts the copy and copies nothing; files that are closed to the user count in its size', async (t) => {
  const he = begin(t);
  if (he === undefined) return;
  he.image();
  he.ok(['create', '--name', 'one', IMAGE, 'sleep', '1000']);
  const inode = statSync(join(upperOf(he, 'one'), 'bin/busybox')).ino;
  he.ok(['start', 'one']);
  assert.equal(statSync(`/proc/${pidOf(he, 'one')}/root/bin/busybox`).ino, inode);
  const write =
    'mkdir -m 700 /closed; head -c 1000000 /dev/zero > /closed/zeros; chown -R 33:44 /closed; rm /etc/group';
  he.ok(['exec', 'one', 'sh', '-c', write]);
  assert.match(he.ok(['ps', '--size', '--format', '{{.Size}}']), /^1MB \(virtual /);
  assert.match(he.ok(['ps', '--format', '{{.Names}} {{.Size}}']), /^one 1MB /);
  const state = (...flags: string[]) => JSON.parse(he.ok(['inspect', ...flags, 'one']))[0];
  const { SizeRw, SizeRootFs, ...same } = state('--size');
  assert.ok(SizeRw >= 1_000_000 && SizeRootFs > SizeRw, `${SizeRw} ${SizeRootFs}`);
  assert.deepEqual(same, state());
  he.ok(['stop', '--time', '0', 'one']);
  const upper = upperOf(he, 'one');
  assert.equal(statSync(join(upper, 'closed')).uid, he.starts[0]! + 32);
  assert.match(he.ok(['container', 'prune', '--force']), /^Total reclaimed space: 1MB$/m);
  assert.equal(existsSync(join(upper, '..')), false);
});

test('rootless vfs: the copy has all that the layers show: owners, modes, times, links, attributes; its commit is no layer', async (t) => {
  const he = begin(t, { more: ['command:setfattr', 'command:getfattr', 'command:setcap'] });
  if (he === undefined) return;
  const script = `mkdir /kinds; cd /kinds; echo x > file; chown 12:34 file; chmod 6751 file; ln file name; ln -s name symlink; mkfifo fifo
    mkdir closed; echo y > closed/y; chown -R 33:44 closed; chmod 1705 closed; touch -d '2001-02-03 04:05:06' closed/y closed; touch caps; exec sleep 1000`;
  he.ok(['run', '--detach', '--name', 'made', he.image(), 'sh', '-euc', script]);
  await until('the files', () => he.tsbox(['exec', 'made', 'ls', '/kinds/caps']).status === 0);
  const at = `/proc/${pidOf(he, 'made')}/root/kinds`;
  inNamespaceOf(he, 'made', `setfattr --name user.mine --value mine ${at}/closed/y`);
  inNamespaceOf(he, 'made', `env PATH=/usr/sbin:/sbin setcap cap_net_raw+ep ${at}/caps`);
  he.ok(['commit', '--pause=false', 'made', 'made:image']);
  he.ok(['run', '--detach', '--name', 'copy', 'made:image', 'sleep', '1000']);
  const facts = (name: string) => {
    const there = `/proc/${pidOf(he, name)}/root/kinds`;
    const names = `sh -c 'cd ${there}; find . | sort | while read name; do stat -c "%n %F %a %u %g %s %h %Y" "$name"; done'`;
    const attributes = `sh -c 'cd ${there}; getfattr --dump --match=- closed/y caps; test file -ef name && echo same; readlink symlink'`;
    return inNamespaceOf(he, name, names) + inNamespaceOf(he, name, attributes);
  };
  const seen = facts('made');
  assert.match(seen, /^\.\/file regular file 6751 12 34 2 2 /m);
  assert.match(seen, /^\.\/closed\/y regular file 644 33 44 2 1 981173106$/m);
  assert.match(seen, /user\.mine="mine"[\s\S]*security\.capability=[\s\S]*same\nname/);
  assert.equal(facts('copy'), seen);
  assert.equal(he.ok(['diff', 'copy']), '');
  he.ok(['commit', '--pause=false', 'copy', 'copy:image']);
  assert.deepEqual(layersOf(he, 'copy:image'), layersOf(he, 'made:image'));
});

test('rootless vfs: what root of a user namespace may not make is left out of the copy, and is no change', (t) => {
  const he = begin(t, { more: ['command:setfattr'] });
  if (he === undefined) return;
  he.ok(['create', '--name', 'first', he.image(), 'true']);
  const lower = readFileSync(join(upperOf(he, 'first'), '../lower'), 'utf8')
    .split(':')
    .at(-1)!;
  // No layer of his can have them: root puts them there.
  const place = join(he.dataRoot, 'overlay2', lower);
  he.asRoot(`mknod ${place}/null c 1 3; setfattr --name security.other --value x ${place}/etc/passwd`);
  assert.equal(
    he.ok(['run', '--name', 'second', IMAGE, 'sh', '-c', 'ls /null 2>&1 | wc -l; head -c 4 /etc/passwd']),
    '1\nroot',
  );
  assert.equal(he.ok(['diff', 'second']), '');
  he.asRoot(`rm ${place}/null`);
});

test('rootless vfs: a container stays what it was made, whatever the host would choose; one of a union is refused', (t) => {
  const he = begin(t, { more: ['overlay'] });
  if (he === undefined) return;
  he.ok(['create', '--name', 'copy', he.image(), 'sh', '-euc', `${CHANGE}; ${CHECK}`]);
  assert.equal(he.ok(['inspect', '--format', '{{.Driver}} {{.GraphDriver.Name}}', 'copy']), 'vfs vfs');
  assert.equal(he.ok(['start', '--attach', 'copy'], overlay2), SEEN);
  assert.match(he.ok(['diff', 'copy'], overlay2), /^D \/etc\/group$/m);
  he.ok(['create', '--name', 'union', IMAGE, 'true'], overlay2);
  for (const words of [
    ['start', 'union'],
    ['cp', 'union:/etc/passwd', '.'],
    ['export', '-o', '/dev/null', 'union'],
  ]) {
    const { status, stderr } = he.tsbox(words);
    assert.notEqual(status, 0);
    assert.match(
      stderr,
      /the container was made for a union of layers.*\n.*--storage-driver overlay2 or fuse/,
      words[0],
    );
  }
  assert.equal(he.ok(['start', '--attach', 'union'], overlay2), '');
});

test('rootless vfs: it is chosen where the kernel refuses an overlay and /dev/fuse cannot be opened', (t) => {
  const he = begin(t, { more: ['overlay', 'file:/dev/fuse'], apart: true });
  if (he === undefined) return;
  he.asRoot(`chmod 600 /dev/fuse; cd ${he.directory}; mkdir l u w; chown ${he.uid}:${he.gid} l u
    mount -t overlay overlay ${he.home} -o lowerdir=l,upperdir=u,workdir=w`);
  delete he.env['TSBOX_STORAGE_DRIVER'];
  const says =
    'the kernel refuses an overlay on overlay in a user namespace: EINVAL; nor is there a union from user space: /dev/fuse: EACCES';
  const info = JSON.parse(he.ok(['info', '--format', 'json']));
  assert.deepEqual([info.Driver, info.DriverStatus[1]], ['vfs', ['Reason', says]]);
  assert.ok(he.ok(['--dry-run', 'run', he.image(), 'true']).includes(`Storage driver vfs: ${says}`));
  const doctor = he.tsbox(['doctor']).stdout.replace(/\s+/g, ' ');
  assert.match(doctor, /overlay, on which the kernel puts no other: containers get the storage driver vfs/);
  assert.match(
    doctor,
    /cannot be mounted there: EINVAL; each container gets a copy of all its files \(storage driver vfs\)/,
  );
  he.ok(['run', '--name', 'made', IMAGE, 'sh', '-euc', `${CHANGE}; ${CHECK}`]);
  assert.equal(he.ok(['logs', 'made']), SEEN);
  he.ok(['commit', 'made', 'made:image']);
  assert.equal(he.ok(['run', '--rm', 'made:image', 'sh', '-euc', CHECK]), SEEN);
});

test('rootless vfs: a data root mounted with nosuid and nodev: containers run, --read-only too', (t) => {
  const he = begin(t, { more: ['file:/dev/fuse'], apart: true });
  if (he === undefined) return;
  he.asRoot(`mount -t tmpfs -o mode=700,uid=${he.uid},gid=${he.gid},nosuid,nodev tmpfs ${he.home}`);
  he.image();
  assert.equal(he.ok(['run', '--rm', IMAGE, 'sh', '-c', 'echo x > /x; cat /x']), 'x');
  const script = 'echo x > /x || echo refused; echo y > /vol/y; cat /vol/y';
  assert.equal(he.ok(['run', '--rm', '--read-only', '-v', 'vol:/vol', IMAGE, 'sh', '-c', script]), 'refused\ny');
});

test('rootless vfs: a user with no subordinate ids has it too', (t) => {
  if (!requires(t, ...NEEDS)) return;
  const he = user(t, []);
  he.env['TSBOX_STORAGE_DRIVER'] = 'vfs';
  const script =
    'touch /f; rm /bin/ls; echo more >> /etc/passwd; stat -c %u /f /etc/passwd; test -e /bin/ls || echo gone';
  assert.equal(he.ok(['run', '--name', 'one', he.image(), 'sh', '-c', script]), '0\n0\ngone');
  assert.equal(he.ok(['diff', 'one']).split('\n').sort().join(), 'A /f,C /bin,C /etc,C /etc/passwd,D /bin/ls');
});

test('rootless vfs: a restart policy, and a copy that was cut short: the next start makes it anew', async (t) => {
  const he = begin(t);
  if (he === undefined) return;
  he.image();
  he.ok([
    'run',
    '--detach',
    '--name',
    'again',
    '--restart',
    'always',
    IMAGE,
    'sh',
    '-c',
    'echo line >> /log; exec sleep 1000',
  ]);
  await until('the line', () => he.tsbox(['exec', 'again', 'cat', '/log']).stdout === 'line\n');
  process.kill(pidOf(he, 'again'), 'SIGKILL');
  await until('the second line', () => he.tsbox(['exec', 'again', 'cat', '/log']).stdout === 'line\nline\n');
  he.ok(['create', '--name', 'cut', IMAGE, 'cat', '/etc/hostname', '/etc/group']);
  const upper = upperOf(he, 'cut');
  const cut = () => he.shell(`cd ${upper}/..; rm -r diff copied; mkdir -p .tmp-tree/etc; touch .tmp-tree/etc/half`);
  cut();
  const { status, stderr } = he.tsbox(['diff', 'cut']);
  assert.notEqual(status, 0);
  assert.match(stderr, /not all copied yet\n.*"tsbox start" copies them/);
  assert.match(he.ok(['ps', '--all', '--size']), /0B \(virtual/);
  he.shell('echo x > file');
  he.ok(['cp', 'file', 'cut:/file']);
  assert.deepEqual(readdirSync(join(upper, '..')).sort(), ['copied', 'diff', 'driver', 'link', 'lower']);
  cut();
  assert.match(he.ok(['start', '--attach', 'cut']), /root/);
  assert.equal(existsSync(join(upper, 'etc/half')), false);
  cut();
  he.ok(['rm', 'cut']);
});

test('rootless vfs: the copy of layers made by chance is what the kernel shows of them, and so is its commit', {
  timeout: 3_600_000,
}, (t) => {
  const he = begin(t, { more: ['overlay', 'command:getfattr'] });
  if (he === undefined) return;
  const seeds = process.env['TSBOX_VFS_SEEDS'] ?? '8';
  const first = process.env['TSBOX_SEED'] ?? String(1 + (Math.floor(Date.now() / 1000) % 1_000_000));
  t.diagnostic(`TSBOX_SEED=${first} TSBOX_VFS_SEEDS=${seeds}`);
  const [program, node] = [join(REPOSITORY, 'test/system/vfs-trees.ts'), process.execPath];
  const map = (id: number) => `"0 ${id} 1 1 ${he.starts[0]} 65536"`;
  const script = `mount -t tmpfs -o mode=755 trees trees && exec ${node} ${program} ${first} ${seeds} trees 2>&1`;
  assert.equal(he.shell(`mkdir trees; ${USERNS} ${map(he.uid)} ${map(he.gid)} sh -c '${script}'`), 'ok');
});

/** An image whose copy takes a while. */
function manyFiles(he: User): string {
  const script = 'for d in $(seq 20); do mkdir -p /many/$d; for f in $(seq 100); do echo $f > /many/$d/$f; done; done';
  he.ok(['run', '--name', 'maker', he.image(), 'sh', '-c', script], overlay2);
  he.ok(['commit', 'maker', 'many:files'], overlay2);
  he.ok(['rm', 'maker'], overlay2);
  return 'many:files';
}

const copying = (he: User) =>
  readdirSync(join(he.dataRoot, 'overlay2')).some((name) =>
    existsSync(join(he.dataRoot, 'overlay2', name, '.tmp-tree')),
  );

test('rootless vfs: create is killed in the copy: the copy ends with it; ps, start and rm --force go on', async (t) => {
  const he = begin(t, { more: ['overlay'] });
  if (he === undefined) return;
  const image = manyFiles(he);
  for (const next of ['start', 'rm', 'rm at once']) {
    const client = he.start(['create', '--name', 'one', image, 'ls', '/many/20/100']);
    const ended = once(client, 'close');
    await until('the copy', () => copying(he));
    client.kill('SIGKILL');
    await ended;
    if (next !== 'rm at once') {
      await until('the end of whoever copies', () => he.processes().length === 0);
      assert.equal(copying(he), false, 'what was copied is gone');
    }
    if (next === 'start') {
      assert.equal(he.ok(['inspect', '--format', '{{.State.Status}}', 'one']), 'created');
      assert.equal(he.ok(['start', '--attach', 'one']), '/many/20/100');
    }
    he.ok(['rm', '--force', 'one']);
    assert.equal(copying(he), false);
  }
});

test('rootless vfs: create is interrupted in the copy: nothing is left', async (t) => {
  const he = begin(t, { more: ['overlay'] });
  if (he === undefined) return;
  const image = manyFiles(he);
  const before = readdirSync(join(he.dataRoot, 'overlay2')).sort();
  const client = he.start(['create', '--name', 'one', image, 'true']);
  const ended = once(client, 'close');
  await until('the copy', () => copying(he));
  client.kill('SIGTERM');
  assert.deepEqual(await ended, [null, 'SIGTERM']);
  assert.equal(he.ok(['ps', '--all', '--quiet']), '');
  assert.deepEqual(readdirSync(join(he.dataRoot, 'overlay2')).sort(), before);
});

test('rootless vfs: a full disk: create says so and leaves nothing', (t) => {
  const he = begin(t, { more: ['file:/dev/fuse'], apart: true });
  if (he === undefined) return;
  he.asRoot(`mount -t tmpfs -o mode=700,uid=${he.uid},gid=${he.gid},size=9m tmpfs ${he.home}`);
  he.image();
  let made = 0;
  let last = he.tsbox(['create', IMAGE, 'true']);
  for (; last.status === 0 && made < 20; last = he.tsbox(['create', IMAGE, 'true'])) made++;
  assert.match(last.stderr, /^tsbox: copy the container's files: .*: ENOSPC \(No space left on device\)\nhint: /);
  assert.equal(last.stderr.split('\n').length, 3, 'it is said once');
  const count = (place: string) => Number(he.shell(`ls ${he.dataRoot}/${place} | wc -l`));
  assert.equal(count('containers'), made);
  // The layer of the image, the short names, two directories of each container.
  assert.equal(count('overlay2'), 2 + 2 * made);
  he.ok(['rm', ...he.ok(['ps', '--all', '--quiet']).split('\n')]);
});
