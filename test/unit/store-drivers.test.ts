import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { hole, text } from '../../src/plan/text.ts';
import { choice, chooseDriver, driverOf, type OverlayFacts } from '../../src/store/drivers/choose.ts';
import { fuseDriver } from '../../src/store/drivers/fuse.ts';
import { overlay2Driver } from '../../src/store/drivers/overlay2.ts';
import { vfsDriver } from '../../src/store/drivers/vfs.ts';
import { openStore } from '../../src/store/open.ts';
import { overlayRefusalInNamespace } from '../../src/sys/overlay-trial.ts';

const never = () => assert.fail('this is not asked');

const facts = (some: Partial<OverlayFacts>): OverlayFacts => ({
  isRoot: true,
  kernel: 601,
  fileSystem: 'ext4',
  hasOverlay: () => true,
  refusal: never,
  withoutFuse: never,
  ...some,
});

test('drivers: on an ordinary host nothing is tried', () => {
  const { name, reason } = choice(facts({}));
  assert.deepEqual([name, reason], ['overlay2', 'the kernel has overlay, and takes ext4 for it']);
});

test('drivers: without root the overlay is one of a user namespace: Linux 5.11; before, or where it may be refused, it is tried', () => {
  const user = { isRoot: false, kernel: 511 };
  assert.deepEqual(choice(facts(user)), {
    name: 'overlay2',
    reason: 'the kernel has overlay in a user namespace, and takes ext4 for it',
  });
  const refused = { refusal: () => 'EPERM', withoutFuse: () => undefined };
  assert.deepEqual(choice(facts({ ...user, kernel: 510, hasOverlay: never, ...refused })), {
    name: 'fuse',
    reason: 'the kernel refuses an overlay on ext4 in a user namespace: EPERM',
  });
  assert.equal(choice(facts({ ...user, kernel: 510, refusal: () => undefined })).name, 'overlay2');
  assert.equal(choice(facts({ ...user, fileSystem: 'overlay', ...refused })).name, 'fuse');
});

test('drivers: an overlay is tried as an ordinary user, and nothing of it is left', (t) => {
  const place = mkdtempSync(join(tmpdir(), 'tsbox-drivers-'));
  t.after(() => rmSync(place, { recursive: true }));
  for (const name of ['lower', 'upper', 'work']) mkdirSync(join(place, name));
  assert.equal(typeof (overlayRefusalInNamespace(place) ?? ''), 'string');
  assert.equal(readFileSync('/proc/mounts', 'utf8').includes(place), false);
  // The kernel asks that this is a directory.
  rmSync(join(place, 'upper'), { recursive: true });
  const refused = overlayRefusalInNamespace(place);
  assert.ok(refused !== undefined && /^(ENOENT|EPERM|ENODEV|EINVAL|no user namespace)$/.test(refused), refused);
});

test('drivers: what may be refused is tried, and the union taken where it is, else copies', () => {
  const onOverlay = { fileSystem: 'overlay', hasOverlay: never };
  assert.equal(choice(facts({ ...onOverlay, refusal: () => undefined })).name, 'overlay2');
  assert.deepEqual(choice(facts({ ...onOverlay, refusal: () => 'EINVAL', withoutFuse: () => undefined })), {
    name: 'fuse',
    reason: 'the kernel refuses an overlay on overlay: EINVAL',
  });
  const noModule = { hasOverlay: () => false, refusal: () => 'ENODEV' };
  assert.equal(choice(facts({ ...noModule, withoutFuse: () => undefined })).name, 'fuse');
  const neither = choice(facts({ ...noModule, withoutFuse: () => '/dev/fuse: ENOENT' }));
  assert.equal(neither.name, 'vfs');
  assert.match(neither.reason, /ENODEV.*\/dev\/fuse: ENOENT/);
  const notRoot = choice(facts({ isRoot: false, ...noModule, withoutFuse: () => '/dev/fuse: EACCES' }));
  assert.deepEqual(notRoot, {
    name: 'vfs',
    reason:
      'the kernel refuses an overlay on ext4 in a user namespace: ENODEV; nor is there a union from user space: /dev/fuse: EACCES',
  });
});

test('drivers: one that was asked for is taken without a look; there are three', () => {
  assert.deepEqual([chooseDriver('/nosuch', '/nosuch/overlay2', 'overlay2').name], ['overlay2']);
  assert.equal(chooseDriver('/nosuch', '/nosuch/overlay2', 'fuse').reason, 'it was asked for');
  assert.equal(chooseDriver('/nosuch', '/nosuch/overlay2', 'vfs').name, 'vfs');
  assert.throws(() => chooseDriver('/nosuch', '/nosuch/overlay2', 'zfs'), {
    code: 'ERR_TSBOX_USAGE',
    message: 'unknown storage driver: "zfs"',
    hint: 'There are overlay2, fuse and vfs.',
  });
});

test('drivers: a store looks for its driver when somebody needs it', (t) => {
  const root = mkdtempSync(join(tmpdir(), 'tsbox-drivers-'));
  t.after(() => rmSync(root, { recursive: true }));
  const store = openStore({ dataRoot: `${root}/d`, runRoot: `${root}/r`, storageDriver: 'zfs' });
  assert.throws(() => store.driver, { code: 'ERR_TSBOX_USAGE' });
  const other = openStore({ dataRoot: `${root}/d`, runRoot: `${root}/r` });
  assert.equal(other.driver, other.driver);
  assert.deepEqual(
    readdirSync(`${root}/d`).filter((name) => name.startsWith('.tmp')),
    [],
  );
});

test('fuse: the steps of a mount; any number of layers, and holes', () => {
  const driver = fuseDriver('/d/overlay2', '/bin/tsbox-union', 'a test asks');
  const many = Array.from({ length: 500 }, (_, index) => `l/${index}`).join(':');
  const steps = driver.mountSteps({ mountId: text`${hole('layer')}`, lower: many });
  assert.deepEqual(
    steps.map(({ op }) => op),
    ['rmdir', 'mkdir', 'chdir', 'run', 'chdir'],
  );
  const run = steps.find((step) => step.op === 'run');
  assert.match(run?.why ?? '', /Storage driver fuse: a test asks$/);
  const options = text`apart,lowerdir=${many},upperdir=${hole('layer')}/diff,workdir=${hole('layer')}/work`;
  assert.deepEqual(run?.args, ['/bin/tsbox-union', '-o', options, text`/d/overlay2/${hole('layer')}/merged`]);
  assert.deepEqual(
    driver.umountSteps('abc').map((step) => step.op),
    ['umount', 'rmdir'],
  );
});

test('fuse: copies of layers where owners are those of outside', () => {
  const driver = fuseDriver('/d/overlay2', '/bin/tsbox-union', 'a test asks');
  const shifted = { home: '/d/shifted/map', uid: 100000, gid: 100000 };
  const steps = driver.mountSteps({ mountId: 'abc', lower: 'l/A', shifted });
  assert.ok(steps.some((step) => step.op === 'chdir' && step.path === '/d/shifted/map'));
  const run = steps.find((step) => step.op === 'run');
  assert.equal(run?.args[2], 'apart,lowerdir=l/A,upperdir=../../overlay2/abc/diff,workdir=../../overlay2/abc/work');
});

test('fuse: without root the monitor starts the union in the user namespace of the container, and waits for its end', () => {
  const driver = fuseDriver('/d/overlay2', '/bin/tsbox-union', 'a test asks');
  const steps = driver.mountSteps({
    mountId: 'abc',
    lower: 'l/A',
    userxattr: true,
    lock: '/r/id/union.lock',
    inside: true,
  });
  assert.deepEqual(
    steps.map(({ op }) => op),
    ['rmdir', 'mkdir', 'outside'],
  );
  const [run] = steps.flatMap((step) => (step.op === 'outside' ? step.list : []));
  assert.ok(run?.op === 'run');
  const [keeper, pid, lock, , userns, verb, of, ...rest] = run.args;
  assert.match(`${keeper} ${userns}`, /tsbox-keeper .*tsbox-userns$/);
  assert.deepEqual([pid, lock, verb, of], [text`${hole('pid')}`, '/r/id/union.lock', 'fuse', text`${hole('pid')}`]);
  const options = 'apart,userxattr,lowerdir=l/A,upperdir=abc/diff,workdir=abc/work';
  const merged = '/d/overlay2/abc/merged';
  assert.deepEqual(rest, ['/d/overlay2', merged, '/bin/tsbox-union', '-o', options, merged]);
  const [wait, ...others] = driver.unplaceSteps('abc', '/r/id/union.lock');
  assert.ok(wait?.op === 'run');
  assert.deepEqual(wait.args.slice(1), ['--wait', '/r/id/union.lock']);
  assert.deepEqual(
    others.map(({ op }) => op),
    ['unlink', 'rmdir'],
  );
});

test('vfs: the copy is mounted on its place, without root too; a container of a union is refused', () => {
  const driver = vfsDriver('/d/overlay2', 'a test asks');
  const layer = { mountId: text`${hole('layer')}`, lower: 'l/A' };
  const steps = driver.mountSteps({ ...layer, whole: true });
  assert.deepEqual(
    steps.map(({ op }) => op),
    ['mkdir', 'mount', 'mount'],
  );
  const mount = steps.find((step) => step.op === 'mount');
  assert.deepEqual(mount?.source, text`/d/overlay2/${hole('layer')}/diff`);
  assert.deepEqual(mount?.target, driver.mergedPath(layer.mountId));
  assert.match(mount?.why ?? '', /Storage driver vfs: a test asks$/);
  assert.throws(() => driver.mountSteps(layer), { code: 'ERR_TSBOX_UNSUPPORTED', message: /made for a union/ });
  assert.throws(() => driver.viewSteps({ home: '/d', lower: 'l/A', place: '/p' }), { code: 'ERR_TSBOX_UNSUPPORTED' });
  const inside = { userxattr: true, lock: '/r/id/union.lock', inside: true as const };
  assert.deepEqual(driver.mountSteps({ ...layer, whole: true, ...inside }), steps);
});

test('drivers: a container that is a copy is mounted as one under every driver, any other as this host does', () => {
  const overlay2 = overlay2Driver('/d/overlay2', 'a test asks');
  const vfs = vfsDriver('/d/overlay2', 'a test asks');
  const nameOf = (driver: typeof vfs, whole?: true) =>
    driverOf({ driver, overlay: '/d/overlay2' }, { mountId: 'a', lower: 'l/A', ...(whole && { whole }) }).name;
  assert.deepEqual([nameOf(overlay2), nameOf(overlay2, true)], ['overlay2', 'vfs']);
  assert.deepEqual([nameOf(vfs), nameOf(vfs, true)], ['vfs', 'vfs']);
});
