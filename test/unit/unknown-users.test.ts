/** A container whose record cannot be read may use anything: what could be its own stays, and it is named. */
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { withAutoMaps } from '../../src/engine/userns-auto.ts';
import type { HostConfig } from '../../src/spec/container.ts';
import { containerDirectory, runDirectory, type Store } from '../../src/store/store.ts';
import { lock } from '../../src/sys/lock.ts';
import { inProcess, type Printed } from '../in-process.ts';
import { makeContainer, makeImage, temporaryStore } from './store-fixture.ts';

const DAMAGE: readonly (string | undefined)[] = ['', '{', '{"ID":1}', '{"FormatVersion":9}', undefined];

/** A container of which nobody can tell that it has the volume `vv` and the image `used`. */
async function world(t: TestContext) {
  const store = temporaryStore(t);
  const image = await makeImage(store, [{ a: '1' }], { names: ['used'] });
  const tsbox = (...args: string[]) => inProcess(store, args);
  assert.equal((await tsbox('volume', 'create', 'vv')).status, 0);
  const { ID: id } = makeContainer(store, image, 'other').record;
  const path = join(containerDirectory(store, id), 'config.v2.json');
  const before = readFileSync(path);
  const spoil = (text: string | undefined) => (text === undefined ? rmSync(path) : writeFileSync(path, text));
  return { store, image, tsbox, id, path, spoil, mend: () => writeFileSync(path, before) };
}

function assertNamed({ status, stderr }: Printed, { id, path }: { id: string; path: string }, what: string): void {
  assert.equal(status, 1, what);
  const line = stderr.split('\n').find((one) => one.includes(`container ${id.slice(0, 12)} uses is not known`));
  assert.ok(line?.includes(path), `${what}: ${stderr}`);
  assert.match(stderr, /hint: (Remove that container|A later tsbox)/, what);
}

test('unknown users: volumes and images that may be those of a container that cannot be read stay', async (t) => {
  const { tsbox, spoil, mend, ...other } = await world(t);
  for (const text of DAMAGE) {
    spoil(text);
    for (const words of [
      ['volume', 'rm', 'vv'],
      ['volume', 'prune', '-f'],
      ['rmi', 'used'],
      ['rmi', other.image.id],
      ['image', 'prune', '-af'],
      ['system', 'prune', '-af', '--volumes'],
    ]) {
      assertNamed(await tsbox(...words), other, `${words.join(' ')}, ${text}`);
      assert.equal((await tsbox('volume', 'ls', '-q')).stdout, 'vv\n');
      assert.equal((await tsbox('images', '--format', '{{.Repository}}')).stdout, 'used\n');
    }
    mend();
  }
});

test('unknown users: what nobody could want is no reason to complain, and with the container all goes', async (t) => {
  const { tsbox, spoil, id } = await world(t);
  spoil('{');
  const named = await tsbox('volume', 'ls', '-qf', 'dangling=true');
  assert.match(named.stderr, new RegExp(id));
  assert.equal((await tsbox('volume', 'ls', '-q')).stderr, '');
  assert.deepEqual(await tsbox('rm', id), { status: 0, stdout: `${id}\n`, stderr: '' });
  assert.equal((await tsbox('system', 'prune', '-af', '--volumes')).status, 0);
  assert.equal((await tsbox('volume', 'ls', '-q')).stdout + (await tsbox('images', '-q')).stdout, '');
  const nothing = await world(t);
  nothing.spoil('{');
  for (const words of [
    ['rmi', '-f', 'used'],
    ['volume', 'prune', '-f', '--filter', 'label=x'],
    ['image', 'prune', '-f'],
  ]) {
    assert.deepEqual([(await nothing.tsbox(...words)).stderr], [''], words.join(' '));
  }
});

test('unknown users: rmi -f takes the image of one that has ended, not of one that runs', async (t) => {
  const { store, tsbox, spoil, ...other } = await world(t);
  spoil('{"FormatVersion":9}');
  const running = runs(store, other.id);
  assertNamed(await tsbox('rmi', '-f', 'used'), other, 'by name');
  assertNamed(await tsbox('rmi', '-f', other.image.id), other, 'by id');
  running.release();
  assert.equal((await tsbox('rmi', '-f', 'used')).status, 0);
});

function runs(store: Store, id: string) {
  const path = join(runDirectory(store, id), 'lock');
  mkdirSync(runDirectory(store, id));
  writeFileSync(path, '');
  return lock(path);
}

test('unknown users: ids that may be those of a container that cannot be read are not given to another', async (t) => {
  const { store, id, path } = await world(t);
  const hostConfig = path.replace('config.v2', 'hostconfig');
  for (const text of ['{', '{"FormatVersion":9}']) {
    writeFileSync(hostConfig, text);
    const give = () => withAutoMaps(store, { UsernsMode: 'auto' } as HostConfig, undefined, () => assert.fail());
    assert.throws(
      give,
      (error: Error) => error.message.includes(id.slice(0, 12)) && error.message.includes(hostConfig),
    );
  }
});
