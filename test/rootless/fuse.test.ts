/** The storage driver fuse as an ordinary user: the union is in the user namespace of the container, which the test cannot look into. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { CHANGE, CHECK, SEEN } from '../conformance/driver.ts';
import { requires } from '../requires.ts';
import { until } from '../system/harness.ts';
import { type User, user } from './user.ts';

const NEEDS = ['root', 'userns', 'file:/dev/fuse', 'command:useradd', 'command:newuidmap'] as const;

/** A user, with his image, who asks for the driver. */
function begin(t: TestContext, ...more: Parameters<typeof requires>[1][]): User | undefined {
  if (!requires(t, ...NEEDS, ...more)) return undefined;
  const he = user(t, undefined, { fuse: true });
  he.env['TSBOX_STORAGE_DRIVER'] = 'fuse';
  he.image();
  return he;
}

const IMAGE = 'busybox:offline';
const overlay2 = { env: { TSBOX_STORAGE_DRIVER: 'overlay2' } };
/** No mknod(2) of a device without root. */
const CHANGES = CHANGE.replace(/mknod [^;]*;/, '');
const CHECKS = CHECK.replace(' /deep/null;', ';');
const SEES = SEEN.replace('644 0 0 1 character special file\n', '');

/** Processes that serve a mount of his. */
function unions({ dataRoot }: User): number[] {
  const { stdout } = spawnSync('pgrep', ['-f', `union[.]js .* ${dataRoot}/`], { encoding: 'utf8' });
  return stdout.split('\n').filter(Boolean).map(Number);
}

async function killUnion(he: User): Promise<void> {
  const [pid, ...more] = unions(he);
  assert.ok(pid !== undefined && more.length === 0, 'one union');
  process.kill(pid, 'SIGKILL');
  await until('its end', () => unions(he).length === 0);
}

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
  he.ok(['run', '--name', 'made', IMAGE, 'sh', '-euc', `${CHANGES}; ${CHECKS}`]);
  assert.equal(he.ok(['logs', 'made']), SEES);
  const diff = he.ok(['diff', 'made']).split('\n');
  for (const line of ['A /new', 'C /etc/passwd', 'D /etc/group', 'D /var/spool', 'A /var/www/only']) {
    assert.ok(diff.includes(line), `${line} is not in\n${diff.join('\n')}`);
  }
  he.ok(['commit', 'made', 'made:image']);
  assert.equal(he.ok(['run', '--rm', 'made:image', 'sh', '-euc', CHECKS]), SEES);
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
  const script = `case $(cat /turn 2>/dev/null) in "") ${CHANGES}; echo 1 > /turn;; 1) ${CHECKS}; rm -r /var/www; mkdir /var/www
    echo 2 > /turn; rm /deep/fifo; mv /deep/link /deep/name;; 2) ls /var/www /deep;; esac`;
  for (const first of ['fuse', 'overlay2']) {
    const turn = (isFirst: boolean): string =>
      he.ok(['start', '--attach', first], isFirst === (first === 'overlay2') ? overlay2 : {});
    he.ok(['create', '--name', first, IMAGE, 'sh', '-euc', script]);
    turn(true);
    assert.equal(turn(false), SEES);
    assert.equal(turn(true), '/deep:\ner\nname\nsymlink\n\n/var/www:');
  }
  const changes = (name: string) => he.ok(['diff', name]).split('\n').sort();
  assert.deepEqual(changes('fuse'), changes('overlay2'));
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
  const refused = (...args: string[]) => {
    const { status, stderr } = he.tsbox(args, { timeout: 10_000 });
    assert.notEqual(status, 0, args.join(' '));
    assert.match(stderr, /ENOTCONN/);
    assert.match(stderr, /hint: The process that served the files of the container has ended .*"tsbox restart"/);
  };
  refused('exec', 'one', 'ls', '/');
  refused('exec', 'one', '/bin/nosuch');
  refused('exec', '--workdir', '/tmp', 'one', 'ls');
  refused('cp', 'one:/file', join(he.home, 'file'));
  refused('cp', '/etc/passwd', 'one:/file');
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
  await killUnion(he);
  he.ok(['rm', '--force', 'one'], { timeout: 10_000 });
  assert.deepEqual(
    readdirSync(join(he.dataRoot, 'overlay2')).filter((name) =>
      existsSync(join(he.dataRoot, 'overlay2', name, 'merged')),
    ),
    [],
  );
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
