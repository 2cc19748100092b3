/** A data root without room, without inodes, without the right to write: what the verbs of images say, and that nothing has changed. */
import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { removeImage } from '../../src/engine/images.ts';
import { requireContainer } from '../../src/store/containers.ts';
import { findImageId, imageIds } from '../../src/store/images.ts';
import { openStore } from '../../src/store/open.ts';
import { rwLayer } from '../../src/store/rw-layers.ts';
import type { Store } from '../../src/store/store.ts';
import { requires } from '../requires.ts';
import { dockerFiles, fingerprint, tarOf } from '../unit/engine-archives.ts';
import { serve } from '../unit/registry-fixture.ts';
import { sandbox, TSBOX } from './harness.ts';
import { image, registry } from './image-server.ts';
import { type Ended, type SmallDisk, smallDisk } from './small-disk.ts';
import { assertComplete, assertSame, assertTidy, shape } from './store-whole.ts';

const few = Object.fromEntries(Array.from({ length: 40 }, (_, at) => [`few/d${at}/file`, 'x'.repeat(at * 200)]));
const layers = [
  tarOf({ 'etc/os-release': 'ID=test\n', 'usr/big': Buffer.alloc(150_000, 'big ') }),
  tarOf(few),
  tarOf({ 'usr/small': 'small' }),
];

interface Place {
  disk: SmallDisk;
  store: Store;
  archive: string;
  rootfs: string;
  tsbox(...args: string[]): Promise<Ended>;
  ok(...args: string[]): Promise<string>;
  /** Everything in the data root but the directory for what is read once, and what is only worked out beforehand. */
  contents(): string[];
}

async function place(context: TestContext): Promise<Place> {
  const { directory } = sandbox(context);
  const disk = await smallDisk(context, directory);
  const [archive, rootfs] = [join(directory, 'image.tar'), join(directory, 'rootfs.tar')];
  writeFileSync(archive, tarOf(dockerFiles(layers, ['x:1', 'x:2'])));
  writeFileSync(rootfs, layers[1]!);
  const env = { TSBOX_ROOT: join(disk.path, 'd'), TSBOX_RUN_ROOT: join(directory, 'r') };
  const tsbox = (...args: string[]) => disk.run([TSBOX, ...args], env);
  const ok = async (...args: string[]) => {
    const { status, stdout, stderr } = await tsbox(...args);
    assert.equal(status, 0, `${args.join(' ')}: ${stderr}`);
    return stdout.trim();
  };
  await ok('images');
  const store = openStore({ dataRoot: join(disk.seen, 'd'), runRoot: env.TSBOX_RUN_ROOT });
  const contents = () => fingerprint(store.dataRoot).filter((line) => !/^tmp |\/init\.json /.test(line));
  return { disk, store, archive, rootfs, tsbox, ok, contents };
}

/** Removes the images that have one of these names; without any all of them. */
function removeImages(store: Store, ...names: string[]): void {
  const engine = { store, options: { dataRoot: store.dataRoot, runRoot: store.runRoot } };
  const ids = names.length === 0 ? imageIds(store) : names.map((name) => findImageId(store, name));
  for (const id of ids) if (id !== undefined) removeImage(engine, id, { force: true, noPrune: false });
}

/** Gives the command less and less of what it needs. @param before makes the store as it is before the command */
async function starve(here: Place, before: () => unknown, args: string[], named: RegExp): Promise<void> {
  const { disk, store } = here;
  await before();
  const start = disk.used();
  await here.ok(...args);
  const [end, wanted] = [disk.used(), shape(store)];
  for (const kind of ['size', 'inodes'] as const) {
    const need = end[kind] - start[kind];
    for (const part of [0, 0.3, 0.6, 0.95]) {
      await before();
      const unchanged = here.contents();
      disk.leave({ [kind]: Math.floor(Math.max(need - 1, 0) * part) });
      const { status, stderr } = await here.tsbox(...args);
      const what = `${args.join(' ')} with ${part} of ${need} ${kind}: ${stderr}`;
      assert.equal(status, 1, what);
      assert.match(stderr, /ENOSPC \(No space left on device\)\nhint: .*full/, what);
      assert.match(stderr, named, what);
      assertSame(here.contents(), unchanged, what);
      disk.leave({});
      await here.ok(...args);
      assertSame(shape(store), wanted, what);
      assertTidy(store);
    }
  }
  await assertComplete(store);
}

test('full disk: pull and load say so, change nothing, and work when there is room again', {
  timeout: 600_000,
}, async (context) => {
  if (!requires(context, 'root')) return;
  const here = await place(context);
  const clear = () => removeImages(here.store);
  await starve(here, clear, ['load', '-i', here.archive], /: (load|store|write|remember|stage) /);
  const server = await serve(context, registry(image(layers)));
  await starve(here, clear, ['pull', '-q', `${server.host}/x:1`], /: (pull|store|write|remember|stage) /);
});

test('full disk: import, commit, tag and save', { timeout: 600_000 }, async (context) => {
  if (!requires(context, 'root')) return;
  const here = await place(context);
  const { disk, store } = here;
  await starve(here, () => removeImages(here.store, 'y:1'), ['import', here.rootfs, 'y:1'], /: import .*: /);

  await here.ok('load', '-i', here.archive);
  await here.ok('create', '--name', 'maker', 'x:1');
  const { upper } = rwLayer(store, requireContainer(store, 'maker').ID);
  mkdirSync(join(upper, 'made'));
  for (let at = 0; at < 20; at++) writeFileSync(join(upper, 'made', `${at}`), 'x'.repeat(at * 1000));
  await starve(here, () => removeImages(here.store, 'made:1'), ['commit', 'maker', 'made:1'], /: commit maker: /);

  disk.leave({ size: 0 });
  const before = here.contents();
  assert.match((await here.tsbox('tag', 'x:1', 'x:3')).stderr, /: store image .*: ENOSPC/);
  assertSame(here.contents(), before);
  for (const size of [0, 100]) {
    disk.leave({ size });
    const { status, stderr } = await here.tsbox('save', '-o', join(disk.path, 'x.tar'), 'x:1');
    assert.equal(status, 1);
    assert.match(stderr, /: write .*\/x\.tar: ENOSPC \(No space left on device\)\nhint: .*full/);
    assert.deepEqual(readdirSync(disk.seen), ['d'], 'no file that is not whole');
  }
  disk.leave({});
  await here.ok('save', '-o', join(disk.path, 'x.tar'), 'x:1');
});

test('full disk: containers and images can be removed, so that there is room again', async (context) => {
  if (!requires(context, 'root', 'overlay')) return;
  const here = await place(context);
  for (const kind of ['size', 'inodes'] as const) {
    await here.ok('load', '-i', here.archive);
    await here.ok('create', '--name', 'one', 'x:1');
    const before = here.contents();
    here.disk.leave({ [kind]: 0 });
    assert.match((await here.tsbox('create', '--name', 'two', 'x:1')).stderr, /ENOSPC/);
    assertSame(here.contents(), before);
    assert.equal(await here.ok('rm', 'one'), 'one');
    here.disk.leave({ [kind]: 0 });
    assert.match(await here.ok('rmi', 'x:2'), /x:2$/);
    assert.match(await here.ok('rmi', 'x:1'), /x:1\n.*sha256:/);
    assertTidy(here.store);
    here.disk.leave({});
  }
  // Every amount of room that a container's files may find.
  await here.ok('load', '-i', here.archive);
  for (let size = 0; size <= 48; size += 4) {
    const before = here.contents();
    here.disk.leave({ size });
    const { status, stderr } = await here.tsbox('create', '--name', 'two', 'x:1');
    here.disk.leave({});
    if (status === 0) break;
    assert.match(stderr, /ENOSPC \(No space left on device\)\nhint: .*full/);
    assertSame(here.contents(), before);
  }
  await here.ok('rm', 'two');
});

test('read-only data root: what reads works, what writes says so', async (context) => {
  if (!requires(context, 'root')) return;
  const here = await place(context);
  const { disk } = here;
  await here.ok('load', '-i', here.archive);
  const before = here.contents();
  disk.leave({ readOnly: true });
  const archive = join(disk.path, '..', 'x.tar');
  const server = await serve(context, registry(image(layers.slice(0, 1))));
  assert.match(await here.ok('images'), /^x +1 /m);
  await here.ok('save', '-o', archive, 'x:1');
  for (const args of [
    ['pull', `${server.host}/y:1`],
    ['import', here.rootfs],
    ['rmi', '--force', 'x:1'],
    ['tag', 'x:1', 'y:1'],
    ['create', 'x:1', 'true'],
  ]) {
    const { status, stderr } = await here.tsbox(...args);
    assert.equal(status, 1, args.join(' '));
    assert.match(stderr, /EROFS \(Read-only file system\)\nhint: .*read-only/);
  }
  disk.leave({});
  assertSame(here.contents(), before);
});

test("a data root that is somebody else's: every verb says so", async (context) => {
  if (!requires(context, 'root', 'command:unshare')) return;
  const here = await place(context);
  await here.ok('load', '-i', here.archive);
  chmodSync(join(here.disk.path, '..'), 0o755);
  const before = here.contents();
  const somebody = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', TSBOX];
  const roots = ['--data-root', join(here.disk.path, 'd'), '--run-root', join(here.disk.path, '..', 'r')];
  for (const args of [['images'], ['load', '-i', here.archive], ['rmi', 'x:1'], ['tag', 'x:1', 'y:1']]) {
    const { status, stderr } = await here.disk.run([...somebody, ...roots, ...args]);
    assert.equal(status, 1, args.join(' '));
    assert.match(stderr, /\/d\/.*EACCES \(Permission denied\)\nhint: .*sudo/);
  }
  assertSame(here.contents(), before);
});
