/** Layers on disk as the kernel's overlayfs reads them. Mounts are made in a mount namespace of their own. Where the directory for temporary
 *  files is on an overlay itself, so are the layers, and what the kernel refuses there is mounted by tsbox-union: `layer-overlaid.test.ts`. */
import assert from 'node:assert/strict';
import { lstatSync, mkdirSync, readFileSync, statfsSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { applyLayer } from '../../src/layer/apply.ts';
import { decompress } from '../../src/layer/decompress.ts';
import { diffLayer } from '../../src/layer/diff.ts';
import { reassembleLayer } from '../../src/layer/tar-split-read.ts';
import { requires } from '../requires.ts';
import {
  apply,
  archive,
  attributes,
  collect,
  type Made,
  pieces,
  run,
  scratch,
  sha256,
  snapshot,
} from '../unit/layer-support.ts';

const REPOSITORY = join(import.meta.dirname, '../..');
const FIXTURES = join(REPOSITORY, 'rootfs-fixtures/build');
const UNION = join(REPOSITORY, 'bin/tsbox-union');

/** Unpacks layers, the base first. @returns their directories, the nearest first */
async function layers(root: string, archives: readonly Buffer[]): Promise<string[]> {
  const lowers: string[] = [];
  for (const [number, bytes] of archives.entries()) {
    const target = join(root, `layer${number}`);
    mkdirSync(target);
    await apply(bytes, target, { lowers });
    lowers.unshift(target);
  }
  return lowers;
}

const OVERLAYFS_SUPER_MAGIC = 0x794c7630;
const isOverlay = (directory: string): boolean => statfsSync(directory).type === OVERLAYFS_SUPER_MAGIC;

/** Runs a shell command in `merged`, where the layers are mounted; `upper` when there is one. */
function inOverlay(root: string, lowers: readonly string[], command: string, upper?: string): string {
  const merged = join(root, 'merged');
  mkdirSync(merged, { recursive: true });
  const writable = upper === undefined ? '' : `,upperdir=${upper},workdir=${join(root, 'work')}`;
  if (upper !== undefined) for (const path of [upper, join(root, 'work')]) mkdirSync(path, { recursive: true });
  if (upper === undefined && lowers.length === 1) mkdirSync(join(root, 'nothing'), { recursive: true });
  const all = upper === undefined && lowers.length === 1 ? [...lowers, join(root, 'nothing')] : lowers;
  const mount = upper !== undefined && isOverlay(root) ? `${UNION} ${merged}` : `mount -t overlay overlay ${merged}`;
  // A union ends with its mount, and the mount with whoever is in its namespace.
  const script = `trap 'cd /; umount ${merged}' EXIT; ${mount} -o lowerdir=${all.join(':')}${writable} && cd ${merged} && ${command}`;
  return run('unshare', ['-m', 'bash', '-c', script]).toString();
}

const FIND = "find . -mindepth 1 -printf '%P\\n' | sort";

async function merged(t: TestContext, ...archives: Made[][]): Promise<string[]> {
  const root = scratch(t);
  const lowers = await layers(
    root,
    archives.map((made) => archive(...made)),
  );
  return inOverlay(root, lowers, FIND).trim().split('\n');
}

test('layer: a whiteout hides, an opaque directory starts empty, whatever the order of its entries', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const base = [{ name: 'd/' }, { name: 'd/old' }, { name: 'd/sub/old' }, { name: 'gone' }, { name: 'kept' }];
  const wanted = ['d', 'd/new', 'kept'];
  const marker = { name: 'd/.wh..wh..opq' };
  assert.deepEqual(await merged(t, base, [{ name: 'd/' }, marker, { name: 'd/new' }, { name: '.wh.gone' }]), wanted);
  assert.deepEqual(await merged(t, base, [{ name: '.wh.gone' }, { name: 'd/new' }, { name: 'd/' }, marker]), wanted);
  assert.deepEqual(await merged(t, base, [marker, { name: 'd/new' }, { name: 'd/' }, { name: '.wh.gone' }]), wanted);
  // Devices in an opaque directory hide nothing, and the kernel lists their names; as with Docker they are made all the same.
  if (!isOverlay(tmpdir())) return;
  const both = [marker, { name: 'd/.wh.old' }, { name: 'd/.wh.sub' }, { name: 'd/new' }, { name: '.wh.gone' }];
  assert.deepEqual(await merged(t, base, both), wanted);
  assert.deepEqual(await merged(t, base, both.reverse()), wanted);
});

test('layer: a whiteout and a directory of its name in one layer: the directory, without what was below', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const base = [{ name: 'd/old' }, { name: 'f' }];
  for (const layer of [
    [{ name: '.wh.d' }, { name: 'd/' }, { name: 'd/new' }],
    [{ name: '.wh.d' }, { name: 'd/new' }],
    [{ name: 'd/new' }, { name: '.wh.d' }],
    [{ name: 'd/' }, { name: '.wh.d' }, { name: 'd/new' }],
  ]) {
    assert.deepEqual(await merged(t, base, layer), ['d', 'd/new', 'f'], JSON.stringify(layer));
  }
  assert.deepEqual(await merged(t, base, [{ name: '.wh.f' }, { name: 'f', data: 'x' }]), ['d', 'd/old', 'f']);
  assert.deepEqual(await merged(t, base, [{ name: 'f', data: 'x' }, { name: '.wh.f' }]), ['d', 'd/old', 'f']);
});

test('layer: an opaque root hides all that is below', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const base = [{ name: 'd/old' }, { name: 'f' }];
  const second = [{ name: 'g' }, { name: '.wh.f' }];
  assert.deepEqual(await merged(t, base, second, [{ name: '.wh..wh..opq' }, { name: 'd/new' }]), ['d', 'd/new']);
});

test('layer: a hard link to a file of a lower layer', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const root = scratch(t);
  const xattrs = new Map([['user.x', Buffer.from('y')]]);
  const capability = Buffer.from('0100000200200000000000000000000000000000', 'hex');
  const base = archive(
    { name: 'd/', mode: 0o1777, uid: 5, mtime: 1_234_567_890, xattrs },
    {
      name: 'd/f',
      data: 'z'.repeat(700_000),
      mode: 0o4711,
      uid: 3,
      mtimeNsec: 5,
      xattrs: new Map([['security.capability', capability]]),
    },
    { name: 'd/s', type: 'symlink', linkname: 'f' },
    { name: 'gone', data: 'x' },
    { name: 'o/f', data: 'x' },
  );
  const link = (name: string, linkname: string): Made => ({ name, type: 'link', linkname });
  const lowers = await layers(root, [base, archive({ name: '.wh.gone' }, { name: 'o/.wh..wh..opq' })]);
  const top = join(root, 'top');
  mkdirSync(top);
  await apply(archive(link('new', 'd/f'), link('new-symlink', 'd/s'), link('third', 'new')), top, {
    lowers: async () => lowers,
  });
  const seen = inOverlay(
    root,
    [top, ...lowers],
    "stat -c '%n %i %h %a %u %Y' new d/f third; readlink new-symlink; stat -c '%a %u %Y' d",
  );
  const [first, second, third, target, directory] = seen.trim().split('\n');
  assert.equal(first!.split(' ').slice(1).join(), second!.split(' ').slice(1).join());
  assert.equal(first!.split(' ').slice(1).join(), third!.split(' ').slice(1).join());
  assert.match(first!, / 3 4711 3 1700000000$/);
  assert.equal(target, 'f');
  assert.equal(directory, '1777 5 1234567890', 'the parent looks as it did');
  assert.match(
    run('getfattr', ['-d', '-m-', '-e', 'hex', '--absolute-names', join(top, 'new')]).toString(),
    /security\.capability=0x01000002/,
  );
  assert.equal(readFileSync(join(top, 'new'), 'utf8'), 'z'.repeat(700_000));
  for (const hidden of ['gone', 'o/f', 'never']) {
    const target = join(root, `hidden-${hidden.replace('/', '-')}`);
    mkdirSync(target);
    await assert.rejects(apply(archive(link('x', hidden)), target, { lowers }), {
      code: 'ERR_TSBOX_DAMAGED',
      message: /is not there/,
    });
  }
});

test('layer: devices, capabilities, trusted and security attributes as GNU tar unpacks them', async (t) => {
  if (!requires(t, 'root')) return;
  const root = scratch(t);
  for (const name of ['from', 'ours', 'theirs']) mkdirSync(join(root, name));
  const script = `mknod null c 1 3; mknod big b 259 300000; mkfifo fifo; echo x > f; chown 12:34 f; chmod 6755 f
    setfattr -n security.capability -v 0x0100000200200000000000000000000000000000 f
    setfattr -n trusted.test -v binary f; setfattr -n user.test -v $'a\\nb' f; ln -s f s; setfattr -h -n trusted.link -v l s
    chown -h 56:78 s; mkdir d; setfattr -n trusted.dir -v d d; setfattr -n trusted.fifo -v p fifo`;
  run('bash', ['-ec', script], { cwd: join(root, 'from') });
  const bytes = run('tar', ['--xattrs', '--xattrs-include=*', '--numeric-owner', '-cf', '-', '.'], {
    cwd: join(root, 'from'),
  });
  run('tar', ['--xattrs', '--xattrs-include=*', '--numeric-owner', '-xpf', '-'], {
    cwd: join(root, 'theirs'),
    input: bytes,
  });
  const { notices } = await apply(bytes, join(root, 'ours'));
  assert.deepEqual(notices, []);
  assert.deepEqual(snapshot(join(root, 'ours')), snapshot(join(root, 'from')));
  assert.deepEqual(snapshot(join(root, 'ours')), snapshot(join(root, 'theirs')));
  assert.equal(attributes(join(root, 'ours')), attributes(join(root, 'from')));
});

test('layer: devices need root, and the error says so', async (t) => {
  if (!requires(t, 'root')) return;
  const root = scratch(t);
  run('chmod', ['777', root]);
  writeFileSync(join(root, 'layer.tar'), archive({ name: 'null', type: 'char', deviceMajor: 1, deviceMinor: 3 }));
  const program = `
    import { applyLayer } from '${join(import.meta.dirname, '../../src/layer/apply.ts')}';
    import { createReadStream, mkdirSync } from 'node:fs';
    mkdirSync('${root}/target');
    await applyLayer(createReadStream('${root}/layer.tar'), '${root}/target', { whiteouts: 'overlay-user', lchown: false })
      .then(() => process.exit(1), (error) => console.log(error.code, error.message, error.hint));`;
  // Without the capability, and not as another user: that one may not even read the sources.
  const out = run('setpriv', ['--bounding-set=-mknod', process.execPath, '--input-type=module', '-e', program]);
  assert.match(out.toString(), /^ERR_TSBOX_UNSUPPORTED tar entry "null": mknod null: EPERM .* Run tsbox as root/);
});

test('diff: what a container did, as a layer, gives the same view again', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const root = scratch(t);
  const base = archive(
    { name: 'd/' },
    { name: 'd/a', data: 'a' },
    { name: 'd/b', data: 'b' },
    { name: 'again/' },
    { name: 'again/old', data: 'old' },
    { name: 'link1', data: 'linked' },
    { name: 'link2', type: 'link', linkname: 'link1' },
    { name: 'mode', data: 'mode' },
    { name: 'gone', data: 'gone' },
  );
  const lowers = await layers(root, [base]);
  const work = `rm gone d/b; rm -r again; mkdir again; echo new > again/new; chmod 600 mode; echo more >> d/a; mkfifo fifo
    mknod null c 1 3; ln d/a linked; ln -s /etc/passwd s; printf x > $'d/\\xff'; mkdir -p "$(printf 'n%.0s' {1..200})/x"
    setfattr -n user.x -v y d/a; chown 3000000 mode; truncate -s 300000 hole; touch -d @1000000000.123456789 d`;
  const look = `find . -mindepth 1 -printf '%P|%y|%m|%U:%G|%s|%T@|%n|%l\\n' | sort; md5sum d/a hole; getfattr -d d/a`;
  const seen = inOverlay(root, lowers, `{ ${work}; } && ${look}`, join(root, 'upper'));
  const bytes = await collect(diffLayer(join(root, 'upper'), { whiteouts: 'overlay' }));
  const names = run('tar', ['-tf', '-', '--quoting-style=escape'], { input: bytes }).toString().trim().split('\n');
  assert.deepEqual(
    names.slice(0, 3),
    ['again/', 'again/.wh..wh..opq', 'again/new'],
    'the marker comes right after its directory',
  );
  assert.ok(names.includes('.wh.gone') && names.includes('d/.wh.b'));
  assert.match(run('tar', ['-tvf', '-'], { input: bytes }).toString(), /^-rw------- 0\/0 +0 .* \.wh\.gone$/m);
  const top = join(root, 'top');
  mkdirSync(top);
  const { diffId } = await apply(bytes, top, { tarSplit: join(root, 'split') });
  assert.equal(diffId, sha256(bytes));
  const sizes = (text: string): string =>
    text.replace(/^([^|]*\|d\|[^|]*\|[^|]*)\|\d+/gm, '$1').replace(/^(\w+)\|\|/, '');
  const again = inOverlay(root, [top, ...lowers], look);
  assert.equal(sizes(again), sizes(seen));
  assert.ok(
    (await collect(diffLayer(top, { whiteouts: 'overlay' }))).equals(bytes),
    'the same directory, the same bytes',
  );
  assert.ok((await collect(reassembleLayer(top, join(root, 'split')))).equals(bytes));
});

test('diff: a directory renamed by an overlay with redirects is refused', async (t) => {
  if (!requires(t, 'root')) return;
  const root = scratch(t);
  mkdirSync(join(root, 'd'));
  run('setfattr', ['-n', 'trusted.overlay.redirect', '-v', '/old', join(root, 'd')]);
  await assert.rejects(collect(diffLayer(root, { whiteouts: 'overlay' })), { code: 'ERR_TSBOX_UNSUPPORTED' });
});

test('layer: each layer of the fixture comes back byte for byte, and the stack shows what it must', async (t) => {
  if (!requires(t, 'root', 'overlay', `file:${FIXTURES}/layers.tar`)) return;
  const root = scratch(t);
  run('tar', ['-xf', join(FIXTURES, 'layers.tar'), '-C', root]);
  const [manifest] = JSON.parse(readFileSync(join(root, 'manifest.json'), 'utf8')) as {
    Layers: string[];
    Config: string;
  }[];
  const config = JSON.parse(readFileSync(join(root, manifest!.Config), 'utf8')) as { rootfs: { diff_ids: string[] } };
  const lowers: string[] = [];
  for (const [number, path] of manifest!.Layers.entries()) {
    const target = join(root, `layer${number}`);
    mkdirSync(target);
    const tarSplit = join(root, `split${number}`);
    const bytes = await collect(decompress(pieces(readFileSync(join(root, path)))));
    const applied = await applyLayer(pieces(bytes), target, { whiteouts: 'overlay', lchown: true, tarSplit, lowers });
    assert.deepEqual(applied.notices, []);
    assert.equal(applied.diffId, config.rootfs.diff_ids[number]);
    assert.equal(sha256(await collect(reassembleLayer(target, tarSplit))), applied.diffId);
    lowers.unshift(target);
  }
  const check = `
    import { fixtureDifferences } from '${join(import.meta.dirname, 'fixture-tree.ts')}';
    for (const line of fixtureDifferences('.')) console.log(line);`;
  const merged = join(root, 'merged');
  mkdirSync(merged);
  const script = `mount -t overlay overlay -o lowerdir=${lowers.join(':')} ${merged} && cd ${merged} && exec "$@"`;
  const out = run('unshare', [
    '-m',
    'bash',
    '-c',
    script,
    'check',
    process.execPath,
    '--input-type=module',
    '-e',
    check,
  ]);
  assert.equal(out.toString(), '');
});

test('layer: umoci unpacks what was packed', async (t) => {
  if (!requires(t, 'root', 'command:umoci')) return;
  const root = scratch(t);
  const from = join(root, 'from');
  mkdirSync(join(from, 'd/empty'), { recursive: true });
  const script = `echo x > d/f; ln d/f d/link; ln -s f s; mknod null c 1 3; mkfifo fifo; chown 12:34 d/f; touch -d @1000000000.5 d/f
    printf y > "$(printf 'n%.0s' {1..200})"; setfattr -n user.x -v y d/f`;
  run('bash', ['-ec', script], { cwd: from });
  const umoci = (...args: string[]): Buffer => run('umoci', args, { cwd: root });
  umoci('init', '--layout', 'oci');
  umoci('new', '--image', 'oci:test');
  writeFileSync(join(root, 'layer.tar'), await collect(diffLayer(from, { whiteouts: 'overlay' })));
  umoci('raw', 'add-layer', '--image', 'oci:test', 'layer.tar');
  umoci('unpack', '--image', 'oci:test', 'bundle');
  const theirs = snapshot(join(root, 'bundle/rootfs'), { directoryTimes: false });
  const ours = snapshot(from, { directoryTimes: false });
  assert.deepEqual({ ...theirs, '.': '' }, { ...ours, '.': '' });
  assert.equal(lstatSync(join(root, 'bundle/rootfs/d/f'), { bigint: true }).mtimeNs, 1_000_000_000_500_000_000n);
});
