/** Volumes on disk: names, what is found, what a killed process may leave. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { checkVolumeName, checkVolumeOptions } from '../../src/spec/volume.ts';
import { collectGarbage } from '../../src/store/gc.ts';
import { openStore } from '../../src/store/open.ts';
import { leaseNewVolume, readVolume, volumeNames } from '../../src/store/volumes.ts';
import { inProcess } from '../in-process.ts';

function roots(t: TestContext) {
  const directory = mkdtempSync(join(tmpdir(), 'tsbox-volumes-'));
  t.after(() => rmSync(directory, { recursive: true }));
  return { dataRoot: join(directory, 'd'), runRoot: join(directory, 'r') };
}

const wanted = (name: string) => ({ name, labels: {}, options: {} });

test('volumes: a name that could lead elsewhere is refused', () => {
  for (const name of ['..', '../x', 'a/b', '.x', '-x', 'a', '', 'x\n', 'é2', `x${'y'.repeat(255)}`]) {
    assert.throws(() => checkVolumeName(name), { code: 'ERR_TSBOX_USAGE' }, name);
  }
  for (const name of ['aa', 'A0', '0-_.', 'y'.repeat(255)]) checkVolumeName(name);
});

test('volumes: what an option of the driver needs is asked for', () => {
  assert.throws(() => checkVolumeOptions('v', { o: 'ro', device: '/x' }), /missing required option: "type"/);
  assert.throws(() => checkVolumeOptions('v', { o: 'ro' }), /missing required option: "device"/);
  assert.throws(() => checkVolumeOptions('v', { o: 'ro', type: 'none' }), /missing required option: "device"/);
  assert.throws(() => checkVolumeOptions('v', { size: '1g' }), /quota size requested but no quota support/);
  checkVolumeOptions('v', { o: 'ro', type: 'none', device: '/x' });
});

test('volumes: those of a dockerd are found, its other files and half-made ones are not', (t) => {
  const store = openStore(roots(t));
  const home = join(store.dataRoot, 'volumes');
  for (const name of ['v10/_data', 'v9/_data', '.tmp-x/_data', 'no-data', 'mounted/_data']) {
    mkdirSync(join(home, name), { recursive: true });
  }
  writeFileSync(join(home, 'metadata.db'), '');
  writeFileSync(
    join(home, 'mounted/opts.json'),
    '{"MountType":"none","MountOpts":"bind","MountDevice":"/x","Quota":{"Size":0}}',
  );
  assert.deepEqual(volumeNames(store), ['mounted', 'v9', 'v10']);
  assert.deepEqual(readVolume(store, 'mounted')?.options, { device: '/x', o: 'bind', type: 'none' });
  assert.equal(readVolume(store, 'v9')?.options, null);
  assert.equal(readVolume(store, 'metadata.db'), undefined);
  assert.equal(readVolume(store, '..'), undefined);
  collectGarbage(store);
  assert.deepEqual(readdirSync(home).sort(), ['metadata.db', 'mounted', 'no-data', 'v10', 'v9']);
});

test("volumes: one that is there is kept with what it has, and Docker's modes are used", (t) => {
  const store = openStore(roots(t));
  const first = leaseNewVolume(store, { name: 'vv', labels: { a: '1' }, options: {} });
  writeFileSync(join(first.volume.mountpoint, 'f'), '');
  const second = leaseNewVolume(store, { name: 'vv', labels: { b: '2' }, options: {} });
  assert.deepEqual([first.made, second.made, second.volume.labels], [true, false, { a: '1' }]);
  assert.deepEqual(readdirSync(second.volume.mountpoint), ['f']);
  const mode = (path: string) => (statSync(join(store.dataRoot, 'volumes', path)).mode & 0o7777).toString(8);
  assert.deepEqual([mode('vv'), mode('vv/_data'), mode('vv/tsbox.json')], ['701', '755', '600']);
  for (const { lease } of [first, second]) lease.release();
});

test('volumes: one that somebody is about to use is not removed', async (t) => {
  const where = roots(t);
  const store = openStore(where);
  const { lease } = leaseNewVolume(store, wanted('vv'));
  const refused = await inProcess(where, ['volume', 'rm', 'vv']);
  assert.deepEqual([refused.status, /remove vv: volume is in use/.test(refused.stderr)], [1, true]);
  assert.match((await inProcess(where, ['volume', 'prune', '-f'])).stdout, /^Total reclaimed space: 0B/);
  lease.release();
  assert.equal((await inProcess(where, ['volume', 'rm', 'vv'])).stdout, 'vv\n');
  assert.deepEqual(volumeNames(store), []);
});

test('volumes: one whose options are damaged is named, the others are listed, and it can be removed', async (t) => {
  const where = roots(t);
  const store = openStore(where);
  for (const name of ['aa', 'bb']) leaseNewVolume(store, wanted(name)).lease.release();
  writeFileSync(join(store.dataRoot, 'volumes/aa/opts.json'), '{"Mount');
  writeFileSync(join(store.dataRoot, 'volumes/bb/tsbox.json'), '{');
  const listed = await inProcess(where, ['volume', 'ls', '-q']);
  assert.deepEqual([listed.stdout, /aa\/opts.json: not JSON/.test(listed.stderr)], ['bb\n', true]);
  assert.equal((await inProcess(where, ['volume', 'rm', 'aa', 'bb'])).stdout, 'aa\nbb\n');
});

test('volumes: what a newer tsbox wrote is refused, not guessed', async (t) => {
  const where = roots(t);
  const store = openStore(where);
  leaseNewVolume(store, wanted('vv')).lease.release();
  writeFileSync(join(store.dataRoot, 'volumes/vv/tsbox.json'), '{"Version":2}');
  const { status, stderr } = await inProcess(where, ['volume', 'inspect', 'vv']);
  assert.deepEqual([status, /version 2 is newer/.test(stderr)], [1, true]);
});
