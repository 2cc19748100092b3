/** `commit` and `export`: out of a container, with the container's own changes and nothing else. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { whileFrozen } from '../../src/engine/freeze.ts';
import { openEngine } from '../../src/engine/open.ts';
import { requireContainer } from '../../src/store/containers.ts';
import { requireImage } from '../../src/store/images.ts';
import { layerChain } from '../../src/store/layers.ts';
import { containerState } from '../../src/store/state.ts';
import { hostFacts } from '../../src/sys/probe.ts';
import { requires } from '../requires.ts';
import { type Sandbox, sandbox, until } from './harness.ts';
import { startDocker } from './images-setup.ts';

/** Runs a script in a container that stays. */
function changed(box: Sandbox, name: string, script: string, ...flags: string[]): void {
  box.ok(['run', '--name', name, '--network', 'none', ...flags, box.image('busybox'), 'sh', '-c', script]);
}

const storeOf = ({ dataRoot, runRoot }: Sandbox) => openEngine({ dataRoot, runRoot }).store;

/** Names in an image's top layer, as they stand in its tar. */
function topEntries(box: Sandbox, image: string): string[] {
  const [top] = layerChain(storeOf(box), requireImage(storeOf(box), image).chainId ?? '');
  const lines = execFileSync('zcat', [top!.tarSplit]).toString().trim().split('\n');
  return lines
    .map((line) => JSON.parse(line))
    .filter(({ type }) => type === 1)
    .map(({ name }) => name);
}

function needs(context: TestContext): boolean {
  return requires(context, 'root', 'overlay');
}

test('commit: only what the container changed, in OCI form, and it runs again', async (context) => {
  if (!needs(context)) return;
  const box = sandbox(context);
  const script = `echo 1 >> /etc/hosts; echo 1 > /etc/hostname; echo 1 >> /etc/resolv.conf; echo kept > /kept
    rm /etc/os-release; rm -r /var/www; mkdir /var/www; echo new > /var/www/new; ln /kept /linked; mkfifo /pipe; ln -s kept /link`;
  changed(box, 'maker', script);
  const id = await box.quick([
    'commit',
    '-m',
    'what I did',
    '-a',
    'Me <me@example.org>',
    '-c',
    'ENV A=1',
    '-c',
    'CMD ["cat", "/kept"]',
    'maker',
    'made:1',
  ]);
  assert.equal(
    await box.quick(['image', 'inspect', '-f', '{{.Author}}: {{.Comment}}', 'made:1']),
    'Me <me@example.org>: what I did',
  );
  assert.deepEqual(topEntries(box, 'made:1').sort(), [
    'etc/',
    'etc/.wh.os-release',
    'kept',
    'link',
    'linked',
    'pipe',
    'var/',
    'var/www/',
    'var/www/.wh..wh..opq',
    'var/www/new',
  ]);
  assert.equal(box.ok(['run', '--rm', '--network', 'none', 'made:1']), 'kept');
  assert.equal(
    box
      .ok(['run', '--rm', '--network', 'none', 'made:1', 'sh', '-c', 'ls /etc/os-release /var/www; echo $A'])
      .includes('new'),
    true,
  );
  const { config } = requireImage(storeOf(box), id);
  const container = requireContainer(storeOf(box), 'maker');
  assert.deepEqual(Object.keys(config).sort(), [
    'architecture',
    'author',
    'config',
    'container',
    'container_config',
    'created',
    'docker_version',
    'history',
    'os',
    'rootfs',
  ]);
  assert.equal(config.container, container.ID);
  const last = config.history?.at(-1);
  assert.deepEqual(
    [last?.author, last?.comment, last?.created_by],
    ['Me <me@example.org>', 'what I did', `sh -c ${script}`],
  );
  assert.equal(
    config.rootfs.diff_ids.length,
    requireImage(storeOf(box), 'busybox:offline').config.rootfs.diff_ids.length + 1,
  );
});

test('commit: a container that changed nothing adds no layer', async (context) => {
  if (!needs(context)) return;
  const box = sandbox(context);
  mkdirSync(join(box.directory, 'volume'));
  // Not even by the places that its mounts stand on.
  changed(
    box,
    'maker',
    'true',
    '-v',
    `${box.directory}/volume:/new/deep/place`,
    '-v',
    `${box.directory}/volume:/etc/below`,
  );
  await box.quick(['commit', 'maker', 'same:1']);
  const { config, chainId } = requireImage(storeOf(box), 'same:1');
  assert.equal(chainId, requireImage(storeOf(box), 'busybox:offline').chainId);
  assert.equal(config.history?.at(-1)?.empty_layer, true);
  assert.equal(box.ok(['run', '--rm', '--network', 'none', 'same:1', 'echo', 'runs']), 'runs');
});

test('commit: mount points that tsbox made are left out, those that the container filled are not', async (context) => {
  if (!needs(context)) return;
  const box = sandbox(context);
  const volume = join(box.directory, 'volume');
  mkdirSync(volume);
  writeFileSync(join(volume, 'secret'), 'secret');
  const flags = ['/a/b/c', '/x/y', '/home', '/opt/one'].flatMap((place) => ['-v', `${volume}:${place}`]);
  changed(box, 'maker', 'echo 1 > /x/beside; chmod 700 /opt', ...flags, '-v', `${volume}/secret:/etc/one-file`);
  await box.quick(['commit', 'maker', 'made:1']);
  assert.deepEqual(topEntries(box, 'made:1').sort(), ['opt/', 'x/', 'x/beside']);
});

test('commit: of a running container, which stands still meanwhile and goes on afterwards', async (context) => {
  if (!needs(context)) return;
  const box = sandbox(context);
  const image = box.image('busybox');
  box.ok([
    'run',
    '-d',
    '--name',
    'maker',
    '--network',
    'none',
    image,
    'sh',
    '-c',
    'while :; do echo x >> /count; done',
  ]);
  const record = requireContainer(storeOf(box), 'maker');
  const count = join(mountOf(box, record.ID), 'count');
  const size = () => readFileSync(count).length;
  await until('the first word', () => existsSync(count));
  await whileFrozen(storeOf(box), record.ID, async () => {
    const before = size();
    await new Promise((wake) => setTimeout(wake, 100));
    assert.equal(size(), before);
  });
  const after = size();
  await until('more', () => size() > after);
  await assert.rejects(
    whileFrozen(storeOf(box), record.ID, () => Promise.reject(new Error('on purpose'))),
    { message: 'on purpose' },
  );
  const rejected = size();
  await until('more', () => size() > rejected);
  await box.quick(['commit', 'maker', 'running:1']);
  await box.quick(['commit', '--pause=false', 'maker', 'running:2']);
  assert.match(box.ok(['run', '--rm', '--network', 'none', 'running:1', 'head', '-n1', '/count']), /^x$/);
});

test('commit: interrupted, the container goes on and nothing stays', async (context) => {
  if (!needs(context)) return;
  const box = sandbox(context);
  const fill = 'i=0; while [ $i -lt 200 ]; do cp /bin/busybox /big$i; i=$((i+1)); done; echo done; exec sleep 1000';
  box.ok(['run', '-d', '--name', 'maker', '--network', 'none', box.image('busybox'), 'sh', '-c', fill]);
  const record = requireContainer(storeOf(box), 'maker');
  const init = containerState(storeOf(box), record).Pid;
  await until('the files', () => box.ok(['logs', 'maker']) === 'done', 60_000);
  const before = readdirSync(`${box.dataRoot}/overlay2`);
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    const running = box.start(['commit', 'maker', 'never:1']);
    await until('the container to stand still', () => isFrozen(init));
    running.child.kill(signal);
    const { signal: end } = await running.done;
    assert.equal(end, signal);
    await until('the container to go on', () => !isFrozen(init)); // the kernel says so when it is awake
    assert.deepEqual(readdirSync(`${box.dataRoot}/overlay2`), before);
    assert.deepEqual(readdirSync(`${box.dataRoot}/image/overlay2/layerdb/tmp`), []);
  }
  assert.equal(await box.quick(['images', '-q', 'never']), '');
});

/** Is a process in a frozen cgroup, of either version? */
function isFrozen(pid: number): boolean {
  return readFileSync(`/proc/${pid}/cgroup`, 'utf8')
    .trim()
    .split('\n')
    .map((line) => line.split(':'))
    .some(([, controllers = '', path = '']) => {
      const { mount, version } = hierarchies.find((one) => one.controllers.join(',') === controllers) ?? {};
      if (mount === undefined) return false;
      const file = `${mount}${path}/${version === 2 ? 'cgroup.events' : 'freezer.state'}`;
      return existsSync(file) && /^frozen 1$|^FROZEN$/m.test(readFileSync(file, 'utf8'));
    });
}

const { hierarchies } = hostFacts();

/** Where a container's tree is mounted. */
function mountOf(box: Sandbox, id: string): string {
  const mountId = readFileSync(`${box.dataRoot}/image/overlay2/layerdb/mounts/${id}/mount-id`, 'utf8');
  return `${box.dataRoot}/overlay2/${mountId}/merged`;
}

test('commit: a wrong change or name is told before anything is done', async (context) => {
  if (!needs(context)) return;
  const box = sandbox(context);
  changed(box, 'maker', 'echo 1 > /x');
  const before = await box.quick(['images', '-aq']);
  for (const [args, message] of [
    [['-c', 'RUN x', 'maker'], /run is not a valid change command/],
    [['-c', '', 'maker'], /file with no instructions/],
    [['maker', 'UPPER'], /must be lowercase/],
    [['maker', 'sha256'], /refusing to create an ambiguous tag/],
    [['maker', `a@sha256:${'1'.repeat(64)}`], /refusing to create a tag with a digest reference/],
    [['nobody'], /No such container: nobody/],
  ] as const) {
    const { status, stderr } = await box.said(['commit', ...args]);
    assert.equal(status, 1);
    assert.match(stderr, message);
  }
  assert.equal(await box.quick(['images', '-aq']), before);
});

test('commit: docker loads and runs what was committed', async (context) => {
  if (!needs(context) || !requires(context, 'command:dockerd', 'command:docker')) return;
  const docker = await startDocker(context);
  const box = sandbox(context);
  changed(box, 'maker', 'echo kept > /kept; rm -r /var/www; mkdir /var/www');
  const id = await box.quick(['commit', 'maker', 'made:1']);
  box.ok(['save', '-o', join(box.directory, 'a.tar'), 'made:1']);
  await docker('load', '-qi', join(box.directory, 'a.tar'));
  assert.equal(await docker('image', 'inspect', '-f', '{{.Id}}', 'made:1'), id);
  assert.equal(await docker('run', '--rm', '--network', 'none', 'made:1', 'cat', '/kept'), 'kept');
});

test('export: the merged tree, the same of a running and of a stopped container', async (context) => {
  if (!needs(context)) return;
  const box = sandbox(context);
  const volume = join(box.directory, 'volume');
  mkdirSync(volume);
  writeFileSync(join(volume, 'secret'), 'secret');
  const image = box.image('busybox');
  const script = 'echo new > /new; rm /etc/os-release; chown 7:8 /new; chmod 4755 /new; exec sleep 1000';
  box.ok(['run', '-d', '--name', 'maker', '--network', 'none', '-v', `${volume}:/volume`, image, 'sh', '-c', script]);
  const list = (name: string) => {
    const archive = join(box.directory, `${name}.tar`);
    box.ok(['export', '-o', archive, 'maker']);
    assert.equal(statSync(archive).mode & 0o777, 0o600, 'nobody else may read it');
    return execFileSync('tar', ['--numeric-owner', '-tvf', archive]).toString().split('\n');
  };
  box.ok(['exec', 'maker', 'sh', '-c', 'until [ -u /new ]; do sleep 0.05; done']);
  const running = list('running');
  await box.quick(['stop', '-t', '0', 'maker']);
  assert.deepEqual(list('stopped'), running);
  const names = running.map((line) => line.replace(/.*\d\d:\d\d /, '').replace(/ (link to|->) .*/, ''));
  assert.ok(names.includes('bin/busybox') && names.includes('volume/') && names.includes('.dockerenv'));
  for (const absent of ['etc/os-release', 'volume/secret', 'proc/self', 'dev/null'])
    assert.equal(names.includes(absent), false);
  assert.match(running.find((line) => line.endsWith(' new')) ?? '', /^-rwsr-xr-x 7\/8 /);
  assert.deepEqual(readdirSync(join(box.dataRoot, 'tmp')), []);
  const id = await box.quick(['import', join(box.directory, 'stopped.tar'), 'again:1']);
  assert.equal(box.ok(['run', '--rm', '--network', 'none', id, 'cat', '/new']), 'new');
});
