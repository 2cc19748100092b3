/** `load`: archives that others made, and archives that nobody should have made. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, lstatSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { loadImages } from '../../src/engine/load.ts';
import { findImageId } from '../../src/store/images.ts';
import { requires } from '../requires.ts';
import {
  blobOf,
  configOf,
  descriptorOf,
  dockerFiles,
  type Files,
  layoutFiles,
  OCI,
  ociFiles,
  sha256,
  tarOf,
  temporary,
  writeFiles,
} from '../unit/engine-archives.ts';
import { archive, extendedHeader, paxRecord } from '../unit/layer-support.ts';
import { sandbox, TSBOX } from './harness.ts';
import { contents, engineIn, failing, layerDirectories, listener, run, startDocker } from './images-setup.ts';

const base = tarOf({ 'etc/os-release': 'ID=test\n', 'bin/sh': '#!', 'data/old': 'old' });
const top = tarOf({ 'etc/motd': 'hello\n', 'data/.wh.old': '' });
const id = `sha256:${sha256(configOf([base, top]))}`;

function fileWith(directory: string, bytes: Buffer): string {
  const path = join(directory, `input-${sha256(bytes).slice(0, 8)}.tar`);
  writeFileSync(path, bytes);
  return path;
}

test('load: a docker-archive, plain, gzip and zstd, gives the same image', async (context) => {
  if (!requires(context, 'root')) return;
  const tar = tarOf(dockerFiles([base, top], ['x:1', 'y:2']));
  for (const bytes of [tar, gzipSync(tar), zstdCompressSync(tar)]) {
    const engine = engineIn(context);
    const { say, words } = listener();
    const lines = await loadImages(engine, { input: fileWith(engine.directory, bytes) }, say);
    assert.deepEqual(lines, ['Loaded image: x:1', 'Loaded image: y:2']);
    assert.deepEqual(words(), ['Loading layer']);
    assert.equal(findImageId(engine.store, 'x:1'), id);
    const [lower, upper] = layerDirectories(engine, 'x:1');
    assert.equal(readFileSync(`${lower}/etc/os-release`, 'utf8'), 'ID=test\n');
    assert.equal(readFileSync(`${upper}/etc/motd`, 'utf8'), 'hello\n');
    const whiteout = lstatSync(`${upper}/data/old`);
    assert.deepEqual([whiteout.isCharacterDevice(), whiteout.rdev], [true, 0]);
    assert.equal(lstatSync(lower!).mode & 0o777, 0o755);
  }
});

test('load: an OCI layout, as a directory and in a tar, gives the same image as the docker-archive', async (context) => {
  if (!requires(context, 'root')) return;
  const files = ociFiles([base, top], undefined, [gzipSync(base), zstdCompressSync(top)]);
  const directory = temporary(context);
  writeFiles(join(directory, 'layout'), files);
  for (const input of [join(directory, 'layout'), fileWith(directory, tarOf(files))]) {
    const engine = engineIn(context);
    assert.deepEqual(await loadImages(engine, { input }, () => {}), [`Loaded image ID: ${id}`]);
  }
});

test('load: loading again changes nothing, and a name that moves is told', async (context) => {
  if (!requires(context, 'root')) return;
  const engine = engineIn(context);
  const input = fileWith(engine.directory, tarOf(dockerFiles([base, top], ['x:1'])));
  await loadImages(engine, { input }, () => {});
  const before = contents(engine).filter((line) => !line.includes('lastUpdated'));
  const { say, events } = listener();
  await loadImages(engine, { input }, say);
  assert.deepEqual(events, []);
  assert.deepEqual(
    contents(engine).filter((line) => !line.includes('lastUpdated')),
    before,
  );
  const other = fileWith(engine.directory, tarOf(dockerFiles([base], ['x:1'])));
  assert.deepEqual(await loadImages(engine, { input: other }, () => {}), [
    `The image x:1 already exists, renaming the old one with ID ${id} to empty string`,
    'Loaded image: x:1',
  ]);
});

test('load: layers that are symlinks to each other', async (context) => {
  if (!requires(context, 'root')) return;
  const engine = engineIn(context);
  const files = dockerFiles([base, base], ['x:1']);
  const [first, second] = JSON.parse(files['manifest.json'] as string)[0].Layers;
  files[second] = { link: `../${first}` };
  await loadImages(engine, { input: fileWith(engine.directory, tarOf(files)) }, () => {});
  assert.equal(layerDirectories(engine, 'x:1').length, 2);
});

test('load: a layer may link to a file of a layer below', async (context) => {
  if (!requires(context, 'root')) return;
  const engine = engineIn(context);
  const directory = temporary(context);
  writeFiles(directory, { 'data/kept': 'kept' });
  await run('ln', [join(directory, 'data/kept'), join(directory, 'linked')]);
  // GNU tar writes the second name as a link to the first; the first entry is then cut out.
  const both = await run('tar', ['-cC', directory, '--format=ustar', 'data/kept', 'linked']);
  const linkOnly = both.subarray(1024);
  await loadImages(
    engine,
    { input: fileWith(engine.directory, tarOf(dockerFiles([tarOf({ 'data/kept': 'kept' }), linkOnly], ['x:1']))) },
    () => {},
  );
  const [, upper] = layerDirectories(engine, 'x:1');
  assert.equal(readFileSync(`${upper}/linked`, 'utf8'), 'kept');
  assert.equal(lstatSync(`${upper}/linked`).ino, lstatSync(`${upper}/data/kept`).ino);
});

test('load: what skopeo and umoci write', async (context) => {
  if (!requires(context, 'root', 'command:skopeo', 'command:umoci')) return;
  const directory = temporary(context);
  const layout = join(directory, 'layout');
  writeFiles(layout, ociFiles([base, top], 'one', [gzipSync(base), gzipSync(top)]));
  const from = `oci:${layout}:one`;
  await run('skopeo', ['copy', '-q', from, `docker-archive:${directory}/docker.tar:skopeo/x:1`]);
  await run('skopeo', ['copy', '-q', from, `oci-archive:${directory}/oci.tar:skopeo/x:1`]);
  for (const name of ['docker.tar', 'oci.tar']) {
    const engine = engineIn(context);
    assert.deepEqual(await loadImages(engine, { input: join(directory, name) }, () => {}), [
      'Loaded image: skopeo/x:1',
    ]);
    assert.equal(findImageId(engine.store, 'skopeo/x:1'), id);
  }
  const bundle = join(directory, 'bundle');
  await run('umoci', ['unpack', '--image', `${layout}:one`, bundle]);
  writeFileSync(join(bundle, 'rootfs/etc/new'), 'by umoci');
  await run('umoci', ['repack', '--image', `${layout}:umoci/x:2`, bundle]);
  const engine = engineIn(context);
  const lines = await loadImages(engine, { input: layout }, () => {});
  assert.deepEqual(lines.sort(), ['Loaded image: umoci/x:2', `Loaded image ID: ${id}`].sort());
  const [, , upper] = layerDirectories(engine, 'umoci/x:2');
  assert.equal(readFileSync(`${upper}/etc/new`, 'utf8'), 'by umoci');
});

test('load: what docker save writes', async (context) => {
  if (!requires(context, 'root', 'command:dockerd', 'command:docker')) return;
  const docker = await startDocker(context);
  const directory = temporary(context);
  await docker('load', '-qi', fileWith(directory, tarOf(dockerFiles([base, top], ['x:1']))));
  await docker('tag', 'x:1', 'registry.example/x:2');
  await docker('save', '-o', join(directory, 'saved.tar'), 'x:1', 'registry.example/x:2');
  const engine = engineIn(context);
  const lines = await loadImages(engine, { input: join(directory, 'saved.tar') }, () => {});
  assert.deepEqual(lines.sort(), ['Loaded image: registry.example/x:2', 'Loaded image: x:1']);
  assert.equal(findImageId(engine.store, 'x:1'), await docker('image', 'inspect', '-f', '{{.Id}}', 'x:1'));
});

test('load: what podman and skopeo write, in each of their forms, from a file, a directory and standard input', async (context) => {
  if (!requires(context, 'root', 'overlay', 'command:podman', 'command:skopeo')) return;
  const box = sandbox(context);
  const at = (name: string) => join(box.directory, name);
  writeFileSync(at('source.tar'), tarOf(dockerFiles([base, top], ['registry.example/x:1'])));
  const podman = ['--root', at('p'), '--runroot', at('pr'), '--storage-driver', 'vfs'];
  await run('podman', [...podman, 'load', '-qi', at('source.tar')]);
  context.after(() => run('podman', [...podman, 'system', 'reset', '-f']).catch(() => {}));
  const save = (format: string, name: string, ...images: string[]) =>
    run('podman', [...podman, 'save', '-q', '--format', format, '-o', at(name), ...images]);
  await run('podman', [...podman, 'tag', 'registry.example/x:1', 'localhost/y:2']);
  await save('docker-archive', 'podman-docker.tar', 'registry.example/x:1');
  await save('oci-archive', 'podman-oci.tar', 'registry.example/x:1');
  await save('oci-dir', 'podman-layout', 'registry.example/x:1');
  await save('docker-dir', 'podman-dir', 'registry.example/x:1');
  await run('podman', [...podman, 'save', '-qm', '-o', at('podman-two.tar'), 'registry.example/x:1', 'localhost/y:2']);
  const copy = (to: string) => run('skopeo', ['copy', '-q', `docker-archive:${at('source.tar')}`, to]);
  await copy(`docker-archive:${at('skopeo-docker.tar')}:foo/bar:3`);
  await copy(`docker-archive:${at('skopeo-nameless.tar')}`);
  await copy(`oci-archive:${at('skopeo-oci.tar')}:registry.example/x:1`);
  await copy(`oci-archive:${at('skopeo-oci-nameless.tar')}`);
  await copy(`oci:${at('skopeo-layout')}:latest`);
  const first = 'Loaded image: registry.example/x:1';
  const cases: [string, RegExp][] = [
    ['podman-docker.tar', new RegExp(`^${first}$`)],
    ['podman-oci.tar', new RegExp(`^${first}$`)],
    ['podman-layout', new RegExp(`^${first}$`)],
    ['podman-two.tar', new RegExp(`^${first}\nLoaded image: localhost/y:2$`)],
    ['skopeo-docker.tar', /^Loaded image: foo\/bar:3$/],
    ['skopeo-nameless.tar', /^Loaded image ID: sha256:[0-9a-f]{64}$/],
    ['skopeo-oci.tar', new RegExp(`^${first}$`)],
    ['skopeo-oci-nameless.tar', /^Loaded image ID: sha256:[0-9a-f]{64}$/],
    [
      'skopeo-layout',
      /^The archive calls it "latest", .* Name it: tsbox tag [0-9a-f]{12} NAME:latest\nLoaded image ID: /,
    ],
  ];
  for (const [name, said] of cases) {
    for (const compress of name.endsWith('.tar') ? ['', 'gzip', 'xz', 'bzip2', 'zstd'] : ['']) {
      const root = join(box.directory, 'd');
      rmSync(root, { recursive: true, force: true });
      if (compress !== '') await run('sh', ['-c', `${compress} -c < "$1" > "$1.z"`, 'sh', at(name)]);
      assert.match(
        await box.quick(['load', '-i', at(name) + (compress === '' ? '' : '.z')]),
        said,
        `${name} ${compress}`,
      );
      assert.equal(new Set((await box.quick(['images', '-q'])).split('\n')).size, 1);
      if (name.endsWith('.tar') && compress !== '') {
        const piped = box.ok(['load', '-q'], { input: readFileSync(`${at(name)}.z`) });
        assert.match(piped, /^Loaded image/, `${name} ${compress}`);
        if (compress === 'gzip') assert.match(box.ok(['load'], { input: readFileSync(at(name)) }), said);
      }
    }
  }
  const { status, stderr } = await box.said(['load', '-i', at('podman-dir')]);
  assert.equal(status, 1);
  assert.match(stderr, /the dir form of skopeo and podman\nhint: /);
});

test('load: -q says the names only', async (context) => {
  if (!requires(context, 'root', 'overlay')) return;
  const box = sandbox(context);
  const layout = join(box.directory, 'layout');
  writeFiles(layout, ociFiles([base], 'latest'));
  const imageId = `sha256:${sha256(configOf([base]))}`;
  assert.equal(await box.quick(['load', '-q', '-i', layout]), `Loaded image ID: ${imageId}`);
  assert.equal(await box.quick(['images', '--no-trunc', '-q']), imageId);
});

test('load: archives from before Docker 1.10 give the images that docker makes of them, to the id', async (context) => {
  if (!requires(context, 'root', 'command:dockerd', 'command:docker')) return;
  const [docker, engine] = [await startDocker(context), engineIn(context)];
  const [lower, upper] = [sha256('1'), sha256('2')];
  const container = (cmd: string[] | null) => ({
    Hostname: 'abc',
    Env: null,
    Cmd: cmd,
    Image: 'x<&>y',
    Labels: { z: '1', a: 'é\u2028' },
  });
  const layer = (id: string, bytes: Buffer, more: object) => ({
    [`${id}/VERSION`]: '1.0',
    [`${id}/json`]: JSON.stringify({
      id,
      created: '2015-10-22T00:58:50.120000Z',
      docker_version: '1.8.3',
      architecture: 'amd64',
      os: 'linux',
      Size: 1113436,
      ...more,
    }),
    [`${id}/layer.tar`]: bytes,
  });
  const archives: Files[] = [
    {
      repositories: JSON.stringify({ 'old/name': { '1': upper, '2': upper }, third: { x: lower } }),
      ...layer(lower, base, { author: 'me', container_config: container(['/bin/sh', '-c', '#(nop) ADD file']) }),
      ...layer(upper, top, {
        parent: lower,
        comment: '<two>',
        container: 'c0ffee',
        container_config: container(null),
        config: container(['sh']),
      }),
    },
    {
      repositories: JSON.stringify({ third: { y: upper } }),
      ...layer(lower, base, { throwaway: true, created: '2015-10-22T02:58:50+02:00' }),
      ...layer(upper, top, { parent: lower, throwaway: true, id: undefined, parent_id: 'x', layer_id: 'y' }),
    },
  ];
  for (const [index, files] of archives.entries()) {
    const input = fileWith(engine.directory, tarOf(files));
    await docker('load', '-qi', input);
    await loadImages(engine, { input }, () => {});
    for (const name of index === 0 ? ['old/name:1', 'old/name:2', 'third:x'] : ['third:y']) {
      assert.equal(findImageId(engine.store, name), await docker('image', 'inspect', '-f', '{{.Id}}', name), name);
    }
  }
});

test('load: from standard input, a pipe and a file', async (context) => {
  if (!requires(context, 'root', 'overlay')) return;
  const box = sandbox(context);
  const tar = tarOf(dockerFiles([base, top], ['x:1']));
  for (const bytes of [tar, gzipSync(tar)]) {
    assert.match(box.ok(['load'], { input: bytes }), /Loaded image: x:1$/);
    const path = fileWith(box.directory, bytes);
    const { status, stdout } = await box.said(['load', '--input', path]);
    assert.deepEqual([status, /Loaded image: x:1\n$/.test(stdout)], [0, true]);
  }
});

test('load: 127 layers', async (context) => {
  if (!requires(context, 'root', 'overlay')) return;
  const box = sandbox(context);
  const image = box.image('many-layers');
  assert.equal(box.ok(['run', '--rm', '--network', 'none', image, 'cat', '/top']), '126');
});

/** A docker-archive whose config promises other layers than it has. */
function promising(promised: readonly Buffer[], given: readonly Buffer[]): Buffer {
  return tarOf(dockerFiles(given, ['x:1'], configOf(promised)));
}

test('load: a wrong or damaged layer leaves the store as it was', async (context) => {
  if (!requires(context, 'root')) return;
  const blob = blobOf(OCI.layer, base);
  const config = blobOf(OCI.config, configOf([base]));
  const manifest = blobOf(OCI.manifest, {
    schemaVersion: 2,
    config: descriptorOf(config),
    layers: [descriptorOf(blob)],
  });
  const swapped = layoutFiles([config, manifest, blob], [descriptorOf(manifest)]);
  const other = Buffer.from(base);
  const content = other.lastIndexOf('ID=test');
  other[content] = other[content]! ^ 1;
  swapped[`blobs/sha256/${blob.digest.slice(7)}`] = other;
  const cases: [string, Buffer, RegExp][] = [
    ['another layer', promising([base], [top]), /unpacked it has the digest/],
    ['another second layer', promising([base, top], [base, base]), /unpacked it has the digest/],
    ['a truncated layer', promising([base], [base.subarray(0, 1000)]), /the archive ends/],
    ['truncated gzip', promising([base], [gzipSync(base).subarray(0, 50)]), /gzip/],
    ['rubbish after gzip', promising([base], [Buffer.concat([gzipSync(base), Buffer.from('rubbish')])]), /gzip/],
    ['no tar', promising([base], [Buffer.alloc(2048, 'x')]), /not a tar archive/],
    ['a blob with another digest', tarOf(swapped), /digest/],
  ];
  for (const [name, bytes, message] of cases) {
    const engine = engineIn(context);
    const input = fileWith(engine.directory, bytes);
    const error = await failing(engine, () => loadImages(engine, { input }, () => {}));
    assert.match(error.message, message, name);
    assert.equal(error.code, 'ERR_TSBOX_DAMAGED', name);
  }
});

test('load: hostile layers do not get out of their directory', async (context) => {
  if (!requires(context, 'root')) return;
  const directory = temporary(context);
  const pack = (...args: string[]) => run('tar', ['-cC', directory, '--format=ustar', ...args]);
  const outside = join(directory, 'outside');
  writeFiles(directory, { x: 'x', 'd/x': 'evil', link: { link: outside }, outside: null });
  const cases: [string, Buffer][] = [
    ['..', await pack('--transform=s,^x,../../../escaped-tsbox,', 'x')],
    ['absolute', await pack('-P', '--transform=s,^x,/tmp/escaped-tsbox,', 'x')],
    ['through a symlink', await pack('--transform=s,^d,link,', 'link', 'd/x')],
    ['whiteout of ..', await pack('--transform=s,^x,.wh...,', 'x')],
    ['whiteout of .', await pack('--transform=s,^x,.wh..,', 'x')],
  ];
  for (const [name, layer] of cases) {
    const engine = engineIn(context);
    const input = fileWith(engine.directory, tarOf(dockerFiles([layer], ['x:1'])));
    // A symlink in the way may also be replaced by a directory: then nothing is wrong, and nothing is outside.
    if (name === 'through a symlink') await loadImages(engine, { input }, () => {}).catch(() => {});
    else await failing(engine, () => loadImages(engine, { input }, () => {}));
    for (const path of [
      '/tmp/escaped-tsbox',
      '/escaped-tsbox',
      join(outside, 'x'),
      join(engine.directory, 'escaped-tsbox'),
    ]) {
      assert.equal(existsSync(path), false, `${name}: ${path}`);
    }
  }
});

test('load: a full disk is told, and leaves nothing', async (context) => {
  if (!requires(context, 'root')) return;
  const directory = temporary(context);
  const layers = [base, tarOf({ big: Buffer.alloc(4_000_000, 'x') })];
  const input = fileWith(directory, tarOf(dockerFiles(layers, ['x:1'])));
  const script = `mount -t tmpfs -o size=3m none ${directory} && "$@"; echo "status $?"; cd ${directory}/d; find overlay2 image/overlay2/layerdb tmp -mindepth 1 2>/dev/null | sort`;
  const archive = `/proc/self/fd/0`;
  const roots = ['--data-root', `${directory}/d`, '--run-root', `${directory}/r`];
  const command = ['sh', '-c', `exec 0< ${input}; ${script}`, 'sh', TSBOX, ...roots, 'load', '-i', archive];
  const { stdout, stderr } = spawnSync('unshare', ['-m', ...command], { encoding: 'utf8' });
  assert.match(stderr, /ENOSPC \(No space left on device\)/);
  assert.match(stdout, /^status 1$/m);
  assert.deepEqual(stdout.trim().split('\n').slice(1), [
    'image/overlay2/layerdb/mounts',
    'image/overlay2/layerdb/sha256',
    'image/overlay2/layerdb/tmp',
    'overlay2/l',
  ]);
});

test('load: Ctrl-C ends it at once, also while standard input says nothing', async (context) => {
  if (!requires(context, 'root')) return;
  const box = sandbox(context);
  for (const verb of [['load'], ['import', '-']]) {
    const running = box.start(verb);
    running.child.stdin?.write(tarOf(dockerFiles([base], ['x:1'])).subarray(0, 2000));
    await new Promise((wake) => setTimeout(wake, 700));
    running.child.kill('SIGINT');
    const { signal } = await running.done;
    assert.equal(signal, 'SIGINT', verb.join(' '));
  }
});

test('load: a root file system is sent to import, in the words of the command', async (context) => {
  if (!requires(context, 'root', 'overlay')) return;
  const box = sandbox(context);
  const path = join(box.directory, 'rootfs.tar');
  writeFileSync(path, base);
  const { status, stderr } = await box.said(['load', '-i', path]);
  assert.equal(status, 1);
  assert.match(stderr, /no manifest\.json, index\.json or repositories/);
  assert.match(stderr, /tsbox import/);
});

test('load: a blob that is missing or shorter than it should be', async (context) => {
  if (!requires(context, 'root')) return;
  for (const bytes of ['', undefined]) {
    const engine = engineIn(context);
    const files = ociFiles([base]);
    if (bytes === undefined) delete files[`blobs/sha256/${sha256(base)}`];
    else files[`blobs/sha256/${sha256(base)}`] = bytes;
    const input = join(engine.directory, 'layout');
    writeFiles(input, files);
    const error = await failing(engine, () => loadImages(engine, { input }, () => {}));
    assert.match(error.message, bytes === '' ? /has 0 bytes, should have/ : /no file "blobs/);
  }
});

test('load: what could not be kept of a layer is told once all layers are there', async (context) => {
  if (!requires(context, 'root')) return;
  const acl = extendedHeader('x', paxRecord('SCHILY.acl.access', 'user::rw-,user:nobodyhere:r--,mask::r--,other::---'));
  const layer = Buffer.concat([acl, archive({ name: 'secret', data: 'kept' })]);
  const engine = engineIn(context);
  const { say, texts } = listener();
  await loadImages(engine, { input: fileWith(engine.directory, tarOf(dockerFiles([layer], ['x:1']))) }, say);
  assert.equal(texts().length, 1);
  assert.match(
    texts()[0]!,
    /^[0-9a-f]{12}: left out of 1 entry: an ACL that names users or groups, or is none of POSIX$/,
  );
  assert.equal(readFileSync(`${layerDirectories(engine, 'x:1')[0]}/secret`, 'utf8'), 'kept');
});
