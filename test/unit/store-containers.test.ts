import assert from 'node:assert/strict';
import {
  existsSync,
  lstatSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { test } from 'node:test';
import { renameContainer, saveContainer } from '../../src/store/change-container.ts';
import {
  findContainer,
  listContainers,
  readContainer,
  readHostConfig,
  requireContainer,
} from '../../src/store/containers.ts';
import { createContainer, newContainerId } from '../../src/store/create-container.ts';
import { readFileInStack } from '../../src/store/lookup.ts';
import { ADJECTIVES, SURNAMES } from '../../src/store/name-words.ts';
import { openStore } from '../../src/store/open.ts';
import { plannedRwLayer, rwLayer } from '../../src/store/rw-layers.ts';
import { containerDirectory, mountEntry, type Store } from '../../src/store/store.ts';
import { removeContainerFiles } from '../remove-container.ts';
import { HOST_CONFIG, makeContainer, makeImage, recordOf, sha256, temporaryStore } from './store-fixture.ts';

const mode = (path: string) => (lstatSync(path).mode & 0o7777).toString(8);

/** Everything below the data root, so that leftovers show. */
function tree(store: Store): string[] {
  return (readdirSync(store.dataRoot, { recursive: true }) as string[])
    .filter((path) => !path.endsWith('/init.json'))
    .sort();
}

test("containers: layers and files are on disk as Docker's", async (t) => {
  const store = temporaryStore(t);
  const image = await makeImage(store, [{ a: '1' }, { b: '2' }]);
  const umask = process.umask(0o077);
  t.after(() => process.umask(umask));
  const { record, rwLayer: layer } = makeContainer(store, image, 'web');
  const id = record.ID;
  const entry = mountEntry(store, id);
  const text = (path: string) => readFileSync(path, 'utf8');
  assert.equal(text(`${entry}/mount-id`), layer.mountId);
  assert.equal(text(`${entry}/init-id`), `${layer.mountId}-init`);
  assert.equal(text(`${entry}/parent`), image.chainIds[1]);
  const directory = `${store.overlay}/${layer.mountId}`;
  assert.deepEqual(readdirSync(directory).sort(), ['diff', 'link', 'lower', 'work']);
  assert.deepEqual(readdirSync(`${directory}-init`).sort(), ['committed', 'diff', 'link', 'lower', 'work']);
  assert.equal(text(`${directory}/lower`), `l/${layer.initLink}:${text(`${directory}-init/lower`)}`);
  assert.equal(readlinkSync(`${store.overlay}/l/${layer.initLink}`), `../${layer.mountId}-init/diff`);
  assert.equal(readlinkSync(`${store.overlay}/l/${layer.link}`), `../${layer.mountId}/diff`);
  const paths = [
    directory,
    `${directory}/diff`,
    `${directory}/work`,
    `${directory}-init/committed`,
    containerDirectory(store, id),
  ];
  assert.deepEqual(paths.map(mode), ['710', '755', '700', '600', '710']);
  assert.equal(mode(`${containerDirectory(store, id)}/config.v2.json`), '600');
  assert.equal(mode(`${containerDirectory(store, id)}/hostconfig.json`), '644');
  assert.equal(readlinkSync(`${store.names}/web`), `../containers/${id}`);
  assert.deepEqual(readContainer(store, id), record);
  assert.deepEqual(readHostConfig(store, id), HOST_CONFIG);
  assert.deepEqual(rwLayer(store, id), layer);
  assert.equal(readFileInStack(layer.stack, '/b', 10)?.toString(), '2');
});

test('layers of a container that is being removed: there is no such container; of one that is there they are missing', async (t) => {
  const store = temporaryStore(t);
  const image = await makeImage(store, [{ a: '1' }]);
  const [gone, broken] = [makeContainer(store, image), makeContainer(store, image)];
  const missing = [/No such container/, /read-write layer/];
  rmSync(containerDirectory(store, gone.record.ID), { recursive: true });
  for (const directory of ['overlay', 'entry'] as const) {
    for (const [at, { record, rwLayer: layer }] of [gone, broken].entries()) {
      const path = directory === 'overlay' ? `${store.overlay}/${layer.mountId}` : mountEntry(store, record.ID);
      rmSync(path, { recursive: true });
      assert.throws(() => rwLayer(store, record.ID), missing[at]!);
    }
  }
});

test('init layer: what is missing is made, what is no directory is replaced', async (t) => {
  const store = temporaryStore(t);
  const image = await makeImage(store, [{ 'etc/hosts': 'own', 'proc/': '', 'dev/pts': 'a file', '.dockerenv/': '' }]);
  const { rwLayer: layer } = makeContainer(store, image);
  const init = layer.stack[1]!;
  const entries = (readdirSync(init, { recursive: true }) as string[]).sort();
  assert.deepEqual(entries, [
    'dev',
    'dev/console',
    'dev/pts',
    'dev/shm',
    'etc',
    'etc/hostname',
    'etc/hosts',
    'etc/mtab',
    'etc/resolv.conf',
    'sys',
  ]);
  for (const path of ['etc/hosts', 'etc/hostname', 'etc/resolv.conf', 'dev/console', 'dev/pts', 'dev/shm', 'sys']) {
    assert.equal(mode(`${init}/${path}`), '755', path);
  }
  assert.equal(lstatSync(`${init}/etc/hosts`).size, 0);
  assert.equal(lstatSync(`${init}/dev/pts`).isDirectory(), true);
  assert.equal(readlinkSync(`${init}/etc/mtab`), '/proc/mounts');
});

test('init layer: on nothing everything is made', async (t) => {
  const store = temporaryStore(t);
  const image = await makeImage(store, []);
  const { rwLayer: layer } = makeContainer(store, image);
  assert.equal(existsSync(`${mountEntry(store, readdirSync(store.containers)[0]!)}/parent`), false);
  assert.deepEqual(readdirSync(layer.stack[1]!).sort(), ['.dockerenv', 'dev', 'etc', 'proc', 'sys']);
  assert.equal(layer.stack.length, 2);
});

test('containers: found by id, name and the beginning of an id', async (t) => {
  const store = temporaryStore(t);
  const image = await makeImage(store, []);
  const id = `abc${newContainerId().slice(3)}`;
  createContainer(store, recordOf(image.id, 'web', id), HOST_CONFIG, undefined);
  createContainer(store, recordOf(image.id, 'abc', `abd${newContainerId().slice(3)}`), HOST_CONFIG, undefined);
  for (const name of [id, 'web', '/web', id.slice(0, 12)]) assert.equal(requireContainer(store, name).ID, id, name);
  assert.notEqual(requireContainer(store, 'abc').ID, id, 'a name goes before the beginning of an id');
  assert.throws(() => requireContainer(store, 'ab'), {
    code: 'ERR_TSBOX_USAGE',
    message: 'Multiple IDs found with provided prefix: ab',
  });
  for (const name of ['nobody', '../containers', '.', '', '/', 'f'.repeat(64)]) {
    assert.throws(() => requireContainer(store, name), {
      code: 'ERR_TSBOX_NOT_FOUND',
      message: `No such container: ${name}`,
    });
    assert.equal(findContainer(store, name), undefined);
  }
});

test("containers: a name in use is refused in Docker's words, and nothing is left of the attempt", async (t) => {
  const store = temporaryStore(t);
  const image = await makeImage(store, [{ a: '1' }]);
  const { record } = makeContainer(store, image, 'web');
  const before = tree(store);
  assert.throws(() => makeContainer(store, image, 'web'), {
    code: 'ERR_TSBOX_CONFLICT',
    message:
      `Conflict. The container name "/web" is already in use by container "${record.ID}". ` +
      'You have to remove (or rename) that container to be able to reuse that name.',
  });
  assert.deepEqual(tree(store), before);
});

test('containers: bad names and lost images are refused, and nothing is left of the attempt', async (t) => {
  const store = temporaryStore(t);
  const image = await makeImage(store, [{ a: '1' }]);
  const before = tree(store);
  for (const name of ['a', '-x', 'a/b', '../x', 'a b', 'ä'.repeat(3), 'x'.repeat(256)]) {
    assert.throws(
      () => makeContainer(store, image, name),
      { code: 'ERR_TSBOX_USAGE', message: /^Invalid container name \(/ },
      name,
    );
  }
  const lost = { id: sha256('x'), chainIds: image.chainIds };
  assert.throws(() => makeContainer(store, lost), {
    code: 'ERR_TSBOX_NOT_FOUND',
    message: `No such image: ${lost.id}`,
  });
  const lostLayer = { id: image.id, chainIds: [sha256('x')] };
  assert.throws(() => makeContainer(store, lostLayer, 'web'), { code: 'ERR_TSBOX_NOT_FOUND' });
  assert.deepEqual(tree(store), before);
});

test('containers: a name that a killed process reserved is taken over', async (t) => {
  const store = temporaryStore(t);
  const image = await makeImage(store, []);
  symlinkSync(`../containers/${newContainerId()}`, `${store.names}/web`);
  const { record } = makeContainer(store, image, 'web');
  assert.equal(requireContainer(store, 'web').ID, record.ID);
});

test('containers: generated names are two words and do not repeat', async (t) => {
  const store = temporaryStore(t);
  const image = await makeImage(store, []);
  const names = Array.from({ length: 20 }, () => makeContainer(store, image).record.Name);
  assert.equal(new Set(names).size, names.length);
  for (const name of names) assert.match(name, /^\/[a-z]+_[a-z]+$/);
  for (const words of [ADJECTIVES, SURNAMES]) {
    assert.ok(words.length >= 60);
    assert.equal(new Set(words).size, words.length);
  }
});

test('containers: ids have 64 digits and no host name that is a number', () => {
  for (let count = 0; count < 200; count++) assert.match(newContainerId(), /^(?!\d{12})[0-9a-f]{64}$/);
});

test('containers: renamed, the old name is free and the new one taken', async (t) => {
  const store = temporaryStore(t);
  const image = await makeImage(store, []);
  const { record } = makeContainer(store, image, 'old');
  makeContainer(store, image, 'other');
  assert.throws(() => renameContainer(store, record.ID, 'other'), { code: 'ERR_TSBOX_CONFLICT' });
  assert.equal(renameContainer(store, record.ID, '/new').Name, '/new');
  assert.equal(requireContainer(store, 'new').ID, record.ID);
  assert.equal(findContainer(store, 'old'), undefined);
  makeContainer(store, image, 'old');
  assert.deepEqual(readdirSync(store.names).sort(), ['new', 'old', 'other']);
});

test('containers: a rename that was killed half-way has not happened', async (t) => {
  const store = temporaryStore(t);
  const image = await makeImage(store, []);
  const { record } = makeContainer(store, image, 'old');
  symlinkSync(`../containers/${record.ID}`, `${store.names}/new`);
  assert.equal(findContainer(store, 'new'), undefined);
  assert.equal(findContainer(store, 'old')?.ID, record.ID);
  makeContainer(store, image, 'new');
});

test('containers: removed, nothing of one is left; removing it again does no harm', async (t) => {
  const store = temporaryStore(t);
  const image = await makeImage(store, [{ a: '1' }]);
  const before = tree(store);
  const { record } = makeContainer(store, image, 'web');
  removeContainerFiles(store, record.ID);
  assert.deepEqual(tree(store), before);
  removeContainerFiles(store, record.ID);
});

test('containers: one with damaged files is named, listed by no one else, and can be removed', async (t) => {
  const store = temporaryStore(t);
  const image = await makeImage(store, []);
  const [bad, good] = [makeContainer(store, image, 'bad').record, makeContainer(store, image, 'good').record];
  const path = `${containerDirectory(store, bad.ID)}/config.v2.json`;
  const damages = [
    '',
    '{"ID"',
    '[]',
    '{}',
    JSON.stringify({ ...bad, Config: null }),
    JSON.stringify({ ...bad, ID: good.ID }),
    JSON.stringify({ ...bad, Args: [1] }),
  ];
  for (const text of damages) {
    writeFileSync(path, text);
    const named: string[] = [];
    assert.deepEqual(
      listContainers(store, (id, error) => named.push(id, error.code)).map((one) => one.ID),
      [good.ID],
    );
    assert.deepEqual(named, [bad.ID, 'ERR_TSBOX_DAMAGED'], text);
    assert.throws(
      () => requireContainer(store, bad.ID),
      { code: 'ERR_TSBOX_DAMAGED', message: new RegExp(path) },
      text,
    );
  }
  removeContainerFiles(store, bad.ID);
  assert.deepEqual(readdirSync(store.names), ['good']);
});

test("containers: dockerd's record with its nulls is read", async (t) => {
  const store = temporaryStore(t);
  const image = await makeImage(store, []);
  const { record } = makeContainer(store, image, 'theirs');
  const { Status: _, ...state } = record.State;
  saveContainer(store, {
    ...record,
    State: { ...state, StartedAt: '2024-01-01T00:00:00Z' },
    Config: { ...record.Config, Env: null, Labels: null },
    MountPoints: null,
  } as never);
  const read = readContainer(store, record.ID);
  assert.deepEqual([read.Config.Env, read.Config.Labels, read.MountPoints, read.State.Status], [[], {}, {}, 'exited']);
});

test('containers: a planned layer is only a plan', async (t) => {
  const store = temporaryStore(t);
  const image = await makeImage(store, [{ 'etc/passwd': 'p' }]);
  const before = tree(store);
  const layer = plannedRwLayer(store, image.chainIds[0]);
  assert.equal(readFileInStack(layer.stack, '/etc/passwd', 10)?.toString(), 'p');
  assert.deepEqual(tree(store), before);
});

test('open: the names of containers that dockerd made are known', async (t) => {
  const store = temporaryStore(t);
  const image = await makeImage(store, []);
  const { record } = makeContainer(store, image, 'theirs');
  rmSync(store.names, { recursive: true });
  assert.equal(requireContainer(openStore(store), 'theirs').ID, record.ID);
});
