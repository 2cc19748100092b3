/** One data root, two engines: dockerd opens what tsbox has stored and the other way round. */
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  createReadStream,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { anonymousVolumesOf } from '../../src/engine/volume-users.ts';
import { applyLayer } from '../../src/layer/apply.ts';
import { requireContainer } from '../../src/store/containers.ts';
import { createContainer } from '../../src/store/create-container.ts';
import { putImage, tag, verifiedImage } from '../../src/store/image-changes.ts';
import { requireImage } from '../../src/store/images.ts';
import { layerChain } from '../../src/store/layers.ts';
import { newLease, releaseLease } from '../../src/store/leases.ts';
import { openStore } from '../../src/store/open.ts';
import { registerLayer } from '../../src/store/register.ts';
import { rwLayer } from '../../src/store/rw-layers.ts';
import type { Store } from '../../src/store/store.ts';
import { leaseNewVolume, readVolume, volumeNames } from '../../src/store/volumes.ts';
import { requires } from '../requires.ts';
import { HOST_CONFIG, recordOf } from '../unit/store-fixture.ts';

function workspace(t: TestContext): string {
  const root = mkdtempSync(join(tmpdir(), 'tsbox-docker-'));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  return root;
}

/** Two layers as tars: busybox with a few files of note, and changes with a whiteout and an opaque directory. */
function makeTars(root: string): [string, string] {
  const [base, top] = [join(root, 'base'), join(root, 'top')];
  for (const directory of ['bin', 'etc', 'opt/kept', 'opt/hidden', 'dev'])
    mkdirSync(join(base, directory), { recursive: true });
  execFileSync('cp', [
    execFileSync('sh', ['-c', 'command -v busybox'], { encoding: 'utf8' }).trim(),
    join(base, 'bin/busybox'),
  ]);
  execFileSync('ln', ['-s', 'busybox', join(base, 'bin/sh')]);
  execFileSync('chmod', ['700', join(base, 'dev')]);
  execFileSync('chown', ['9:9', join(base, 'etc')]);
  for (const file of ['etc/passwd', 'etc/hosts', 'etc/gone', 'opt/hidden/x', 'opt/kept/x', 'dev/pts']) {
    writeFileSync(join(base, file), `${file}\n`);
  }
  for (const directory of ['etc', 'opt/hidden']) mkdirSync(join(top, directory), { recursive: true });
  for (const file of ['etc/.wh.gone', 'opt/hidden/.wh..wh..opq']) writeFileSync(join(top, file), '');
  writeFileSync(join(top, 'opt/hidden/y'), 'y\n');
  return [base, top].map((directory) => {
    execFileSync('tar', ['-C', directory, '--sort=name', '--mtime=@0', '-cf', `${directory}.tar`, '.']);
    return `${directory}.tar`;
  }) as [string, string];
}

async function storeImage(store: Store, tars: readonly string[], name: string): Promise<string> {
  const lease = newLease();
  const diffIds: string[] = [];
  let parent: string | undefined;
  for (const tar of tars) {
    const layer = await registerLayer(store, lease, parent, ({ dir, tarSplit, lowers }) =>
      applyLayer(createReadStream(tar), dir, { whiteouts: 'overlay', lchown: true, tarSplit, lowers }),
    );
    diffIds.push(layer.diffId);
    parent = layer.chainId;
  }
  const config = {
    architecture: 'amd64',
    os: 'linux',
    created: '2024-01-01T00:00:00Z',
    config: { Cmd: ['/bin/sh', '-c', 'busybox ls /opt/hidden /etc'], Env: ['PATH=/bin'] },
    rootfs: { type: 'layers', diff_ids: diffIds },
    history: tars.map((tar) => ({ created: '2024-01-01T00:00:00Z', created_by: tar })),
  };
  const id = putImage(store, Buffer.from(JSON.stringify(config)));
  tag(store, name, id);
  releaseLease(lease);
  return id;
}

interface Daemon {
  docker(args: readonly string[], input?: string): string;
  stop(): Promise<void>;
}

/** A dockerd of its own, without network and firewall. */
async function startDocker(t: TestContext, root: string, dataRoot: string): Promise<Daemon> {
  const socket = `unix://${root}/docker.sock`;
  const flags = ['--bridge=none', '--iptables=false', '--ip6tables=false', '--pidfile', `${root}/docker.pid`];
  const child: ChildProcess = spawn(
    'dockerd',
    ['--data-root', dataRoot, '--exec-root', `${root}/exec`, '-H', socket, ...flags],
    {
      stdio: 'ignore',
    },
  );
  const ended = once(child, 'exit');
  const stop = async () => {
    if (child.exitCode === null) child.kill('SIGTERM');
    await ended;
  };
  t.after(async () => {
    await stop();
    spawnSync('umount', ['-l', `${root}/exec/netns/default`]);
  });
  const run = (args: readonly string[], input?: string) =>
    spawnSync('docker', ['-H', socket, ...args], {
      encoding: 'utf8',
      ...(input === undefined ? {} : { input: readFileSync(input) }),
    });
  for (let tries = 0; run(['version']).status !== 0; tries++) {
    assert.ok(tries < 600 && child.exitCode === null, 'dockerd does not answer');
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return {
    docker(args, input) {
      const result = run(args, input);
      assert.equal(result.status, 0, `docker ${args.join(' ')}: ${result.stderr}`);
      return result.stdout.trim();
    },
    stop,
  };
}

/** Names, types, modes, owners and targets below a directory. */
function listing(root: string): string[] {
  return (readdirSync(root, { recursive: true }) as string[]).sort().map((path) => {
    const stat = lstatSync(join(root, path));
    const what = stat.isSymbolicLink() ? readlinkSync(join(root, path)) : stat.isFile() ? stat.size : '';
    return [path, stat.mode.toString(8), stat.uid, stat.gid, what].join(' ');
  });
}

test('docker: dockerd opens a data root of tsbox, shows its images and runs them', { timeout: 120_000 }, async (t) => {
  if (!requires(t, 'root', 'overlay', 'command:dockerd', 'command:docker', 'command:busybox')) return;
  const root = workspace(t);
  const store = openStore({ dataRoot: `${root}/data`, runRoot: `${root}/run` });
  const id = await storeImage(store, makeTars(root), 'mine:1');
  const options = { type: 'tmpfs', device: 'tmpfs', o: 'size=1m' };
  for (const wanted of [
    { name: 'plain', options: {} },
    { name: 'tm', options },
  ]) {
    leaseNewVolume(store, { ...wanted, labels: { a: 'b' } }).lease.release();
  }
  const { docker, stop } = await startDocker(t, root, store.dataRoot);
  assert.equal(docker(['volume', 'ls', '-q']), 'plain\ntm');
  const format = ['volume', 'inspect', '-f', '{{.Mountpoint}} {{json .Options}}'];
  const mountpoint = (name: string) => `${store.dataRoot}/volumes/${name}/_data`;
  assert.equal(docker([...format, 'plain']), `${mountpoint('plain')} null`);
  docker(['volume', 'rm', 'plain']);
  assert.equal(readVolume(store, 'plain'), undefined);
  assert.equal(docker(['images', '--no-trunc', '--format', '{{.Repository}}:{{.Tag}} {{.ID}}']), `mine:1 ${id}`);
  assert.equal(docker(['history', '--format', '{{.CreatedBy}}', '--no-trunc', 'mine:1']).split('\n').length, 2);
  const shown = [
    'run',
    '--rm',
    '--network',
    'none',
    '-v',
    'tm:/t',
    'mine:1',
    '/bin/busybox',
    'grep',
    ' /t ',
    '/proc/mounts',
  ];
  assert.match(docker(shown), /^tmpfs \/t tmpfs .*size=1024k/);
  const output = docker(['run', '--name', 'theirs', '--network', 'none', 'mine:1']).split('\n');
  assert.deepEqual(output, ['/etc:', 'hostname', 'hosts', 'mtab', 'passwd', 'resolv.conf', '', '/opt/hidden:', 'y']);
  docker(['save', '-o', `${root}/saved.tar`, 'mine:1']);
  mkdirSync(`${root}/saved`);
  execFileSync('tar', ['-C', `${root}/saved`, '-xf', `${root}/saved.tar`]);
  const [manifest] = JSON.parse(readFileSync(`${root}/saved/manifest.json`, 'utf8')) as { Layers: string[] }[];
  for (const [index, layer] of manifest!.Layers.entries()) {
    const original = `${root}/${['base', 'top'][index]}.tar`;
    assert.equal(spawnSync('cmp', [`${root}/saved/${layer}`, original]).status, 0, 'the layer comes out byte for byte');
  }
  // The init layer that dockerd makes is the oracle for ours.
  const theirId = docker(['inspect', '-f', '{{.Id}}', 'theirs']);
  const chainId = requireImage(store, 'mine:1').chainId;
  const ours = createContainer(store, recordOf(id, 'ours'), HOST_CONFIG, chainId).rwLayer;
  const theirs = rwLayer(store, theirId);
  assert.deepEqual(listing(ours.stack[1]!), listing(theirs.stack[1]!));
  assert.deepEqual(ours.stack.slice(2), theirs.stack.slice(2));
  docker(['rm', 'theirs']);
  await stop();
});

test('docker: tsbox opens a data root of dockerd', { timeout: 120_000 }, async (t) => {
  if (!requires(t, 'root', 'overlay', 'command:dockerd', 'command:docker', 'command:busybox')) return;
  const root = workspace(t);
  const [base] = makeTars(root);
  const daemon = await startDocker(t, root, `${root}/data`);
  const baseId = daemon.docker(['import', '-', 'theirs:1'], base);
  daemon.docker(['volume', 'create', '-o', 'type=none', '-o', 'o=bind', '-o', `device=${root}`, 'bound']);
  const flags = ['--name', 'changer', '--network', 'none', '-v', 'named:/n:ro', '-v', '/anonymous'];
  daemon.docker(['run', ...flags, 'theirs:1', '/bin/busybox', 'rm', '/etc/gone']);
  const id = daemon.docker(['commit', 'changer', 'theirs:2']);
  await daemon.stop();
  const store = openStore({ dataRoot: `${root}/data`, runRoot: `${root}/run` });
  const [anonymous, ...named] = volumeNames(store).sort((a, b) => b.length - a.length);
  assert.deepEqual([anonymous!.length, named.sort()], [64, ['bound', 'named']]);
  assert.deepEqual(readVolume(store, 'bound')?.options, { device: root, o: 'bind', type: 'none' });
  const { MountPoints } = requireContainer(store, 'changer');
  const { Name, Mode, RW, Propagation } = MountPoints['/n']!;
  assert.deepEqual([Name, Mode, RW, Propagation], ['named', 'ro', false, '']);
  assert.deepEqual(anonymousVolumesOf({ MountPoints }), [anonymous]);
  assert.equal(requireImage(store, 'theirs:1').id, baseId);
  const image = verifiedImage(store, requireImage(store, 'theirs:2').id);
  assert.equal(image.id, id);
  const chain = layerChain(store, image.chainId!);
  assert.equal(chain.length, 2);
  assert.ok(chain[1]!.size > lstatSync(`${chain[1]!.diffDir}/bin/busybox`).size);
  const { rwLayer: layer } = createContainer(store, recordOf(id, 'ours'), HOST_CONFIG, image.chainId);
  assert.equal(layer.stack.length, 4);
  assert.equal(existsSync(`${store.names}/changer`), true, "dockerd's container keeps its name");
  assert.throws(() => createContainer(store, recordOf(id, 'changer'), HOST_CONFIG, image.chainId), {
    code: 'ERR_TSBOX_CONFLICT',
  });
});
