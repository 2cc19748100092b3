/** The storage driver fuse as an ordinary user: the union is in the user namespace of the container, which the test cannot look into. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { conform, WITHOUT_DEVICES } from '../conformance/driver.ts';
import { killUnion, refusesFiles, unions } from '../conformance/unions.ts';
import { type Requirement, requires } from '../requires.ts';
import { REPOSITORY, type Result, until } from '../system/harness.ts';
import { generator } from '../system/store-random.ts';
import { kill as killed } from '../system/truth.ts';
import { ORDINARY } from './box.ts';
import { type User, user } from './user.ts';

conform('fuse', ORDINARY);

const KILLS = Number(process.env['TSBOX_UNION_KILLS'] ?? 4);
const SEED = Number(process.env['TSBOX_SEED'] ?? Math.floor(Math.random() * 1e9));

const NEEDS = ['root', 'userns', 'file:/dev/fuse', 'command:useradd', 'command:newuidmap'] as const;

/** A user, with his image, who asks for the driver. */
function begin(t: TestContext, more: Requirement = 'root', before: (he: User) => void = () => {}): User | undefined {
  if (!requires(t, ...NEEDS, more)) return undefined;
  const he = user(t, undefined, { fuse: true });
  before(he);
  he.env['TSBOX_STORAGE_DRIVER'] = 'fuse';
  he.image();
  return he;
}

const IMAGE = 'busybox:offline';
const overlay2 = { env: { TSBOX_STORAGE_DRIVER: 'overlay2' } };
const { CHANGE, CHECK, SEEN } = WITHOUT_DEVICES;

const placeOf = (he: User, name: string) => he.ok(['inspect', '--format', '{{.GraphDriver.Data.MergedDir}}', name]);

test('rootless fuse: it is what info names; --explain shows who mounts, and where', (t) => {
  const he = begin(t);
  if (he === undefined) return;
  const info = JSON.parse(he.ok(['info', '--format', 'json']));
  assert.deepEqual([info.Driver, info.DriverStatus[1]], ['fuse', ['Reason', 'it was asked for']]);
  const plan = he.ok(['--dry-run', 'run', IMAGE, 'true']);
  assert.match(plan, /run \[".*\/tsbox-keeper", "\{pid\}", .*"fuse", "\{pid\}", .*apart,userxattr,lowerdir=/);
  assert.match(plan, /Storage driver fuse: it was asked for/);
});

test('rootless fuse: changes of every kind are seen, and are in diff, commit and export', (t) => {
  const he = begin(t);
  if (he === undefined) return;
  he.ok(['run', '--name', 'made', IMAGE, 'sh', '-euc', `${CHANGE}; ${CHECK}`]);
  assert.equal(he.ok(['logs', 'made']), SEEN);
  const diff = he.ok(['diff', 'made']).split('\n');
  for (const line of ['A /new', 'C /etc/passwd', 'D /etc/group', 'D /var/spool', 'A /var/www/only']) {
    assert.ok(diff.includes(line), `${line} is not in\n${diff.join('\n')}`);
  }
  he.ok(['commit', 'made', 'made:image']);
  assert.equal(he.ok(['run', '--rm', 'made:image', 'sh', '-euc', CHECK]), SEEN);
  const tar = he.tsbox(['export', 'made']).bytes;
  const { stdout } = spawnSync('tar', ['--list', '--verbose', '--numeric-owner'], { input: tar, encoding: 'utf8' });
  assert.match(stdout, /^-rws--x--x 12\/34 .* deep\/link$/m);
  assert.doesNotMatch(stdout, /etc\/group$/m);
  const other = 'touch /tmp/mine; stat -c "%u %g" /tmp/mine; rm /etc/passwd 2> /dev/null || echo kept';
  assert.equal(he.ok(['run', '--rm', '--user', '33:44', IMAGE, 'sh', '-c', other]), '33 44\nkept');
  assert.deepEqual(unions(he), []);
});

test('rootless fuse: a container goes on under the kernel, and back', (t) => {
  const he = begin(t, 'overlay');
  if (he === undefined) return;
  const script = `case $(cat /turn 2>/dev/null) in "") ${CHANGE}; echo 1 > /turn;; 1) ${CHECK}; rm -r /var/www; mkdir /var/www
    echo 2 > /turn; rm /deep/fifo; mv /deep/link /deep/name;; 2) ls /var/www /deep;; esac`;
  for (const first of ['fuse', 'overlay2']) {
    const turn = (isFirst: boolean): string =>
      he.ok(['start', '--attach', first], isFirst === (first === 'overlay2') ? overlay2 : {});
    he.ok(['create', '--name', first, IMAGE, 'sh', '-euc', script]);
    turn(true);
    assert.equal(turn(false), SEEN);
    assert.equal(turn(true), '/deep:\ner\nname\nsymlink\n\n/var/www:');
  }
  const changes = (name: string) => he.ok(['diff', name]).split('\n').sort();
  assert.deepEqual(changes('fuse'), changes('overlay2'));
});

test('rootless fuse: cp, volumes and binds, of one that runs and one that does not; two of an image at once', async (t) => {
  const he = begin(t);
  if (he === undefined) return;
  he.shell('echo "from the host" > file; mkdir dir shared; echo "of a directory" > dir/file');
  for (const name of ['one', 'two']) {
    he.ok(['run', '--detach', '--name', name, IMAGE, 'sh', '-c', `mkdir /dir; echo ${name} > /name; exec sleep 1000`]);
  }
  he.ok(['create', '--name', 'made', IMAGE, 'cat', '/dir/file']);
  for (const name of ['one', 'two'])
    await until('the file', () => he.tsbox(['exec', name, 'cat', '/name']).status === 0);
  he.ok(['cp', 'file', 'one:/dir/file']);
  he.ok(['cp', 'dir', 'made:/']);
  assert.equal(he.ok(['exec', 'one', 'cat', '/dir/file', '/name']), 'from the host\none');
  assert.equal(he.tsbox(['exec', 'two', 'cat', '/dir/file']).status, 1);
  for (const name of ['one', 'made']) he.ok(['cp', `${name}:/dir/file`, name]);
  assert.equal(he.shell('cat one made'), 'from the host\nof a directory');
  assert.equal(he.ok(['start', '--attach', 'made']), 'of a directory');
  const flags = [
    '--read-only',
    '-v',
    'vol:/var/vol',
    '-v',
    `${he.home}/shared:/mnt/shared`,
    '--tmpfs',
    '/tmp',
    '-v',
    'copied:/etc',
  ];
  const script = `for f in /var/vol/f /mnt/shared/f /tmp/f; do echo $f > $f; done; cat /var/vol/f /mnt/shared/f /tmp/f
    echo no > /no 2> /dev/null || echo refused; head -c 5 /etc/passwd`;
  assert.equal(
    he.ok(['run', '--rm', ...flags, IMAGE, 'sh', '-c', script]),
    '/var/vol/f\n/mnt/shared/f\n/tmp/f\nrefused\nroot:',
  );
  assert.equal(unions(he).length, 2, 'of the two that run');
});

test('rootless fuse: it is chosen where the kernel refuses an overlay: a data root on an overlay', (t) => {
  const he = begin(t, 'overlay', (one) =>
    one.asRoot(`cd ${one.directory}; mkdir l u w; chown ${one.uid}:${one.gid} l u
      mount -t overlay overlay ${one.home} -o lowerdir=l,upperdir=u,workdir=w`),
  );
  if (he === undefined) return;
  delete he.env['TSBOX_STORAGE_DRIVER'];
  const info = JSON.parse(he.ok(['info', '--format', 'json']));
  assert.deepEqual(info.DriverStatus[1], [
    'Reason',
    'the kernel refuses an overlay on overlay in a user namespace: EINVAL',
  ]);
  assert.equal(info.Driver, 'fuse');
  he.ok(['run', '--name', 'made', IMAGE, 'sh', '-euc', `${CHANGE}; ${CHECK}`]);
  assert.equal(he.ok(['logs', 'made']), SEEN);
  assert.match(he.ok(['diff', 'made']), /^D \/etc\/group$/m);
  he.ok(['commit', 'made', 'made:image']);
  assert.equal(he.ok(['run', '--rm', 'made:image', 'sh', '-euc', CHECK]), SEEN);
  assert.equal(he.shell(`ls -A ${he.dataRoot} | grep tmp-overlay`), '', 'nothing is left of the try');
});

test('rootless fuse: a user with no subordinate ids has it too', (t) => {
  if (!requires(t, ...NEEDS)) return;
  const he = user(t, [], { fuse: true });
  he.env['TSBOX_STORAGE_DRIVER'] = 'fuse';
  const script =
    'touch /f; rm /bin/ls; echo more >> /etc/passwd; stat -c %u /f /etc/passwd; test -e /bin/ls || echo gone';
  assert.equal(he.ok(['run', '--name', 'one', he.image(), 'sh', '-c', script]), '0\n0\ngone');
  assert.equal(he.ok(['diff', 'one']).split('\n').sort().join(), 'A /f,C /bin,C /etc,C /etc/passwd,D /bin/ls');
});

test('rootless fuse: a commit has what was written by a map of a file that is still open', async (t) => {
  const he = begin(t, 'command:python3');
  if (he === undefined) return;
  he.ok([
    'run',
    '--detach',
    '--name',
    'one',
    IMAGE,
    'sh',
    '-c',
    'head -c 8192 /dev/zero > /file; echo ready; sleep 1000',
  ]);
  await until('the file', () => he.ok(['logs', 'one']) === 'ready');
  const pid = he.ok(['inspect', '--format', '{{.State.Pid}}', 'one']);
  const program = `import mmap, os, sys
file = os.open("/proc/${pid}/root/file", os.O_RDWR)
pages = mmap.mmap(file, 8192)
pages[4096:4102] = b"mapped"
open("written", "w").close()
sys.stdin.read()`;
  const join = `${REPOSITORY}/native-bindings/build/tsbox-userns join ${pid}`;
  const script = `mkfifo input; ${join} python3 -c '${program}' < input > /dev/null 2>&1 & exec 3> input
    for i in $(seq 200); do [ -e written ] && break; sleep 0.05; done; tsbox commit --pause=false one one:image; exec 3>&-; wait`;
  he.shell(script);
  const read = ['dd', 'if=/file', 'bs=1', 'skip=4096', 'count=6', 'status=none'];
  assert.equal(he.ok(['run', '--rm', 'one:image', ...read]), 'mapped');
});

test('rootless fuse: a commit of one that runs has what was written to a file that is still open', async (t) => {
  const he = begin(t);
  if (he === undefined) return;
  // Whoever closes the file, its reader too, would have it written: cat does not, and stat(1) does not open it.
  const script = `mkfifo /p; cat /p >> /etc/passwd & exec 5> /p; size() { stat -c %s /etc/passwd; }; before=$(size)
    echo "one:x:7:7::/:/bin/sh" >&5; until [ $(size) -gt $before ]; do sleep 0.1; done; touch /ready; sleep 1000`;
  he.ok(['run', '-d', '--name', 'one', IMAGE, 'sh', '-c', script]);
  await until('it has written', () => he.tsbox(['exec', 'one', 'test', '-e', '/ready']).status === 0);
  he.ok(['commit', '--pause=false', 'one', 'one:image']);
  assert.equal(he.ok(['run', '--rm', 'one:image', 'tail', '-n', '1', '/etc/passwd']), 'one:x:7:7::/:/bin/sh');
  he.ok(['rm', '-f', 'one']);
});

test('rootless fuse: the union is none of the container’s processes, keeps no mount of the host, and ends with the container', async (t) => {
  const he = begin(t);
  if (he === undefined) return;
  he.ok(['run', '--detach', '--name', 'one', IMAGE, 'sleep', '1000']);
  const [pid] = unions(he);
  assert.ok(pid !== undefined);
  assert.equal(he.ok(['exec', 'one', 'ps', '-o', 'args']).includes('union'), false);
  const mounts = readFileSync(`/proc/${pid}/mountinfo`, 'utf8').trim().split('\n');
  const points = mounts.map((line) => line.split(' ')[4]!);
  assert.deepEqual(
    points.filter((point) => point !== '/' && !/^\/proc(\/|$)/.test(point)),
    [],
  );
  const init = Number(he.ok(['inspect', '--format', '{{.State.Pid}}', 'one']));
  process.kill(init, 'SIGKILL');
  assert.equal(he.ok(['wait', 'one']), '137');
  assert.deepEqual(unions(he), [], 'its end comes before that of the container is told');
  await until('the place to go', () => !existsSync(placeOf(he, 'one')));
});

test('rootless fuse: a union that is killed: whoever needs files is told, nothing waits, and a restart goes on', async (t) => {
  const he = begin(t);
  if (he === undefined) return;
  he.ok(['run', '--detach', '--name', 'one', IMAGE, 'sh', '-c', 'echo kept > /file; echo ready; sleep 1000']);
  await until('the file', () => he.ok(['logs', 'one']) === 'ready');
  assert.equal(he.ok(['exec', 'one', 'cat', '/file']), 'kept');
  const error = () => he.ok(['inspect', '--format', '{{.State.Error}}', 'one']);
  assert.equal(error(), '');
  await killUnion(he);
  refusesFiles(he, he.home);
  assert.match(he.ok(['ps']), / Up /);
  assert.equal(error(), 'the process that serves its files has ended');
  // These read what is on disk, which is whole.
  assert.match(he.ok(['diff', 'one']), /^A \/file$/m);
  assert.ok(he.tsbox(['export', 'one']).bytes.includes('kept\n'));
  he.ok(['commit', '--pause=false', 'one', 'one:image']);
  assert.equal(he.ok(['run', '--rm', 'one:image', 'cat', '/file']), 'kept');
  he.ok(['restart', '--time', '1', 'one']);
  assert.equal(he.ok(['exec', 'one', 'cat', '/file']), 'kept');
  assert.equal(error(), '');
  // What keeps it is its parent.
  const [pid] = unions(he);
  process.kill(Number(/^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]), 'SIGKILL');
  await until('the end of the union', () => unions(he).length === 0);
  assert.equal(error(), 'the process that serves its files has ended');
  he.ok(['rm', '--force', 'one'], { timeout: 10_000 });
  assert.deepEqual(mergedOf(he), []);
});

test('rootless fuse: between two runs by a restart policy nothing is said to have ended too early', async (t) => {
  const he = begin(t);
  if (he === undefined) return;
  he.ok(['run', '--detach', '--name', 'one', '--restart', 'always', IMAGE, 'sh', '-c', 'exit 1']);
  const state = () => JSON.parse(he.ok(['inspect', '--format', '{{json .State}}', 'one']));
  const between = await until('a pause', () => [state()].find(({ Restarting }) => Restarting));
  assert.equal(between.Error, '');
});

test('rootless fuse: after a SIGKILL of the monitor the union ends, and the container starts again under either driver', async (t) => {
  const he = begin(t, 'overlay');
  if (he === undefined) return;
  he.ok(['run', '--detach', '--name', 'one', IMAGE, 'sh', '-c', 'echo more >> /file; echo ready; sleep 1000']);
  const runRoot = join(he.env['XDG_RUNTIME_DIR']!, 'tsbox');
  const id = he.ok(['inspect', '--format', '{{.Id}}', 'one']);
  for (const [turn, options] of [overlay2, {}, {}].entries()) {
    await until('the line', () => he.ok(['exec', 'one', 'wc', '-l', '/file']) === `${turn + 1} /file`);
    process.kill(JSON.parse(readFileSync(join(runRoot, id, 'state.json'), 'utf8')).Monitor, 'SIGKILL');
    he.ok(['start', 'one'], options);
    assert.equal(unions(he).length, options === overlay2 ? 0 : 1);
  }
  await until('the line', () => he.ok(['exec', 'one', 'wc', '-l', '/file']) === '4 /file');
  process.kill(JSON.parse(readFileSync(join(runRoot, id, 'state.json'), 'utf8')).Monitor, 'SIGKILL');
  he.ok(['rm', '--force', 'one']);
  assert.deepEqual(unions(he), []);
});

test(`rootless fuse: whatever is killed while a container starts, rm -f leaves nothing (seed ${SEED})`, async (t) => {
  const he = begin(t);
  if (he === undefined) return;
  const random = generator(SEED);
  const begins = performance.now();
  he.ok(['run', '--rm', IMAGE, 'true']);
  const moment = performance.now() - begins;
  for (let kill = 0; kill < KILLS; kill++) {
    const client = he.start(['run', '--detach', '--name', 'one', IMAGE, 'sleep', '1000']);
    const ended = once(client, 'close');
    const wait = random() * moment;
    await new Promise((wake) => setTimeout(wake, wait));
    const alive: number[] = he.processes();
    const victim: number | undefined = alive[Math.floor(random() * alive.length)];
    const told: string = victim === undefined ? 'nobody' : `${victim} (${commandOf(victim)})`;
    killed(victim);
    await ended;
    const removed: Result = he.tsbox(['rm', '--force', 'one'], { timeout: 30_000 });
    const { status, stderr } = removed;
    if (!/No such container/.test(stderr)) assert.equal(status, 0, `${told} after ${wait} ms: ${stderr}`);
    const left = () => he.processes().map((pid) => `${pid} (${commandOf(pid)})`);
    await until(`the end of all after the kill of ${told} after ${wait} ms`, () => left().length === 0);
    assert.deepEqual(mergedOf(he), []);
  }
});

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').slice(0, 100);
  } catch {
    return 'it has ended';
  }
}

/** Places of mounts. */
const mergedOf = ({ dataRoot }: User) =>
  readdirSync(join(dataRoot, 'overlay2')).filter((name) => existsSync(join(dataRoot, 'overlay2', name, 'merged')));
