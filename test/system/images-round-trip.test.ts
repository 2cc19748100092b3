/** Images go from tsbox through a registry to docker, podman and skopeo and back, and stay what they are. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { loadImages } from '../../src/engine/load.ts';
import { pullImage } from '../../src/engine/pull.ts';
import { pushImage } from '../../src/engine/push.ts';
import { tag } from '../../src/store/image-changes.ts';
import { imageNames, requireImage } from '../../src/store/images.ts';
import { requires } from '../requires.ts';
import { configOf, dockerFiles, sha256, tarOf, temporary } from '../unit/engine-archives.ts';
import { fixtureDifferences } from './fixture-tree.ts';
import { REPOSITORY, sandbox, until } from './harness.ts';
import { engineIn, run, startDocker } from './images-setup.ts';
import { startRegistry } from './registry-daemon.ts';

const FIXTURE = join(REPOSITORY, 'rootfs-fixtures/build/layers.tar');
const TYPES = [
  'application/vnd.docker.distribution.manifest.v2+json',
  'application/vnd.oci.image.manifest.v1+json',
].join(', ');

const member = (name: string) => execFileSync('tar', ['xOf', FIXTURE, name], { maxBuffer: 1 << 30 });

/** The fixture's layers, the base first: PAX; GNU; PAX with a global header and sparse files. */
function fixtureLayers(): Buffer[] {
  return (JSON.parse(member('manifest.json').toString())[0].Layers as string[]).map(member);
}

interface Trip {
  host: string;
  engine: ReturnType<typeof engineIn>;
  id: string;
  /** Of the manifest that tsbox has pushed as `from:1`. */
  digest: string;
}

/** A registry with the fixture in it, pushed by tsbox as `from:1`. @param count how many of its layers */
async function departed(context: TestContext, count: number): Promise<Trip> {
  const { host } = await startRegistry(context);
  const engine = engineIn(context);
  const layers = fixtureLayers().slice(0, count);
  const input = join(engine.directory, 'image.tar');
  const config = configOf(layers, { config: { Cmd: ['sh'], Env: ['PATH=/bin'], Labels: { a: 'ä' } } });
  writeFileSync(input, tarOf(dockerFiles(layers, [`${host}/from:1`], config)));
  await loadImages(engine, { input }, () => {});
  const [pushed] = await pushImage(engine, `${host}/from:1`, {}, () => {});
  return { host, engine, id: `sha256:${sha256(config)}`, digest: pushed!.digest };
}

async function manifestOf(host: string, repository: string): Promise<{ digest: string; blobs: string[] }> {
  const response = await fetch(`http://${host}/v2/${repository}/manifests/1`, { headers: { accept: TYPES } });
  const bytes = Buffer.from(await response.arrayBuffer());
  assert.equal(response.status, 200, bytes.toString());
  const { config, layers } = JSON.parse(bytes.toString());
  return {
    digest: `sha256:${sha256(bytes)}`,
    blobs: [config, ...layers].map((each: { digest: string }) => each.digest),
  };
}

/** What somebody has pushed as `REPOSITORY:1` is, blob by blob, what tsbox had pushed, and tsbox pulls it as the same image. */
async function assertReturned(
  context: TestContext,
  trip: Trip,
  repository: string,
  sameManifest: boolean,
): Promise<void> {
  const { host, id, engine } = trip;
  const [sent, returned] = [await manifestOf(host, 'from'), await manifestOf(host, repository)];
  assert.equal(sent.digest, trip.digest);
  assert.deepEqual(returned.blobs, sent.blobs);
  if (sameManifest) assert.equal(returned.digest, sent.digest);
  const home = engineIn(context);
  const pulled = await pullImage(home, `${host}/${repository}:1`, {}, () => {});
  assert.deepEqual([pulled.id, pulled.digest], [id, returned.digest]);
  const diffIds = (from: typeof engine) => requireImage(from.store, id).config.rootfs.diff_ids;
  assert.deepEqual(diffIds(home), diffIds(engine));
  assert.deepEqual(imageNames(home.store, id).digests, [`${host}/${repository}@${returned.digest}`]);
}

test('round trip: docker pulls it, runs it, pushes it with the same digests', async (context) => {
  if (!requires(context, 'root', 'command:dockerd', 'command:docker', 'command:docker-registry', `file:${FIXTURE}`))
    return;
  const docker = await startDocker(context);
  // Docker 20.10 cannot give back the third layer's sparse files, not even those of an image that it has loaded itself.
  const trip = await departed(context, 2);
  const { host, id, digest } = trip;
  assert.match(await docker('pull', `${host}/from:1`), new RegExp(`^Digest: ${digest}$`, 'm'));
  assert.equal(await docker('image', 'inspect', '-f', '{{.Id}}', `${host}/from:1`), id);
  const script = 'ls -d /fixture';
  assert.equal(await docker('run', '--rm', '--network', 'none', `${host}/from:1`, 'sh', '-c', script), '/fixture');
  await docker('tag', `${host}/from:1`, `${host}/docker:1`);
  const told = await docker('push', `${host}/docker:1`);
  assert.match(told, new RegExp(`^1: digest: ${digest} size: \\d+$`, 'm'));
  await assertReturned(context, trip, 'docker', true);
  // And the same words for the same thing.
  const { engine } = trip;
  tag(engine.store, `${host}/tsbox:1`, id);
  const lines: string[] = [];
  await pushImage(engine, `${host}/tsbox:1`, {}, (event) => {
    lines.push(event.kind === 'text' ? event.text : `${event.layer}: ${event.status}`);
  });
  assert.deepEqual(lines.sort(), told.replaceAll('/docker]', '/tsbox]').split('\n').sort());
});

test('round trip: docker pulls every layer of the fixture', async (context) => {
  if (!requires(context, 'root', 'command:dockerd', 'command:docker', 'command:docker-registry', `file:${FIXTURE}`))
    return;
  const docker = await startDocker(context);
  const { host, id } = await departed(context, 3);
  await docker('pull', '-q', `${host}/from:1`);
  assert.equal(await docker('image', 'inspect', '-f', '{{.Id}}', `${host}/from:1`), id);
});

test('round trip: podman pulls it and pushes it with the same digests', async (context) => {
  if (!requires(context, 'root', 'command:podman', 'command:docker-registry', `file:${FIXTURE}`)) return;
  const trip = await departed(context, 3);
  const { host, id, engine } = trip;
  const at = (name: string) => join(engine.directory, name);
  const roots = ['--root', at('p'), '--runroot', at('pr'), '--tmpdir', at('pt'), '--storage-driver', 'vfs'];
  const podman = async (...args: string[]) => (await run('podman', [...roots, ...args])).toString().trim();
  assert.equal(`sha256:${await podman('pull', '-q', '--tls-verify=false', `${host}/from:1`)}`, id);
  await podman('tag', `${host}/from:1`, `${host}/podman:1`);
  await podman('push', '-q', '--tls-verify=false', `${host}/podman:1`);
  // Its manifest is the same in other words.
  await assertReturned(context, trip, 'podman', false);
});

test('round trip: skopeo copies it, straight and by way of a directory, with the same digests', async (context) => {
  if (!requires(context, 'root', 'command:skopeo', 'command:docker-registry', `file:${FIXTURE}`)) return;
  const trip = await departed(context, 3);
  const { host } = trip;
  const skopeo = (...args: string[]) => run('skopeo', args);
  const copy = ['copy', '-q', '--preserve-digests'];
  const loose = ['--src-tls-verify=false', '--dest-tls-verify=false'];
  await skopeo(...copy, ...loose, `docker://${host}/from:1`, `docker://${host}/straight:1`);
  await assertReturned(context, trip, 'straight', true);
  const directory = temporary(context);
  await skopeo(...copy, '--src-tls-verify=false', `docker://${host}/from:1`, `dir:${directory}`);
  await skopeo(...copy, '--dest-tls-verify=false', `dir:${directory}`, `docker://${host}/roundabout:1`);
  await assertReturned(context, trip, 'roundabout', true);
  const seen = JSON.parse((await skopeo('inspect', '--tls-verify=false', `docker://${host}/from:1`)).toString());
  assert.equal(seen.Digest, trip.digest);
  assert.deepEqual(seen.Layers, (await manifestOf(host, 'from')).blobs.slice(1));
});

/** Every path of a tree with type, mode, owner, length, target and time in whole seconds. Directories have lengths of their own. */
function listing(root: string): string[] {
  const format = '%P %y %m %U %G %l %Ts\\0';
  const directories = [root, '-mindepth', '1', '-type', 'd', '-printf', '%P %y %m %U %G\\0'];
  const others = [root, '-mindepth', '1', '!', '-type', 'd', '-printf', format.replace('%l', '%s %l')];
  const find = (args: string[]) =>
    execFileSync('find', args, { maxBuffer: 1 << 28 })
      .toString('latin1')
      .split('\0');
  return [...find(directories), ...find(others)].sort();
}

test('round trip: umoci unpacks what tsbox has pushed as tsbox itself shows it', async (context) => {
  if (!requires(context, 'root', 'command:skopeo', 'command:umoci', 'command:docker-registry', `file:${FIXTURE}`))
    return;
  const { host } = await startRegistry(context);
  const box = sandbox(context);
  const at = (name: string) => join(box.directory, name);
  // umoci refuses the third layer's global header.
  writeFileSync(at('image.tar'), tarOf(dockerFiles(fixtureLayers().slice(0, 2), [`${host}/from:1`])));
  await box.quick(['load', '-q', '-i', at('image.tar')]);
  box.ok(['push', '-q', `${host}/from:1`]);
  await run('skopeo', ['copy', '-q', '--src-tls-verify=false', `docker://${host}/from:1`, `oci:${at('layout')}:x`]);
  await run('umoci', ['unpack', '--image', `${at('layout')}:x`, at('bundle')]);
  const container = await box.quick(['create', `${host}/from:1`, 'sh']);
  box.ok(['export', '-o', at('export.tar'), container]);
  mkdirSync(at('out'));
  await run('tar', ['-xpf', at('export.tar'), '-C', at('out'), '--numeric-owner', '--same-owner']);
  const [theirs, ours] = [listing(at('bundle/rootfs')), listing(at('out'))];
  assert.ok(theirs.length > 100, `${theirs.length} paths`);
  // What tsbox adds to every container.
  const added = /^(\.dockerenv|dev|proc|sys|etc\/(hosts|hostname|resolv\.conf|mtab))( |\/)/;
  assert.deepEqual(
    ours.filter((line) => !added.test(line)),
    theirs.filter((line) => !added.test(line)),
  );
});

test('round trip: the fixture comes back from the registry as it must be seen', async (context) => {
  if (!requires(context, 'root', 'overlay', 'command:docker-registry', 'command:getfattr', `file:${FIXTURE}`)) return;
  const { host } = await startRegistry(context);
  const [box, home] = [sandbox(context), sandbox(context)];
  await box.quick(['tag', box.image('layers'), `${host}/from:1`]);
  box.ok(['push', '-q', `${host}/from:1`]);
  home.ok(['pull', '-q', `${host}/from:1`]);
  const id = home.ok(['run', '--detach', '--network', 'none', `${host}/from:1`, 'sleep', '600']);
  const merged = home.ok(['inspect', '--format', '{{.GraphDriver.Data.MergedDir}}', id]);
  await until('the merged directory', () => existsSync(join(merged, 'bin')));
  assert.deepEqual(fixtureDifferences(merged), []);
});
