/** Networks on disk: names, subnets, what is found, what a killed process may leave. */
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { formatSubnet, parseSubnet, type Subnet } from '../../src/spec/ip.ts';
import { bridgeOptions } from '../../src/spec/network-options.ts';
import { freeSubnet, uniqueLocalSubnet } from '../../src/spec/subnets.ts';
import {
  addNetwork,
  defaultNetwork,
  deleteNetwork,
  instanceDigits,
  ipamConfig,
  networks,
  newNetworkRecord,
  readNetwork,
} from '../../src/store/networks.ts';
import { openStore } from '../../src/store/open.ts';

function roots(t: TestContext) {
  const directory = mkdtempSync(join(tmpdir(), 'tsbox-networks-'));
  t.after(() => rmSync(directory, { recursive: true }));
  return { dataRoot: join(directory, 'd'), runRoot: join(directory, 'r') };
}

const subnet = (text: string): Subnet => parseSubnet(text)!;
const user = (name: string, ID?: string) =>
  newNetworkRecord({
    Name: name,
    Driver: 'bridge',
    ...(ID !== undefined && { ID }),
    IPAM: { Driver: 'default', Options: {}, Config: [ipamConfig(subnet('10.9.0.0/24'))] },
  });
const isRoot = process.geteuid?.() === 0;

test("networks: the first of Docker's subnets that nobody has", () => {
  const chosen = (...taken: string[]) => {
    const free = freeSubnet(taken.map(subnet));
    return free === undefined ? undefined : formatSubnet(free);
  };
  assert.equal(chosen(), '172.17.0.0/16');
  assert.equal(chosen('172.17.5.0/24', 'fd00::/8'), '172.18.0.0/16');
  assert.equal(chosen('172.16.0.0/12'), '192.168.0.0/20');
  assert.equal(chosen('172.16.0.0/12', '192.168.1.1/32'), '192.168.16.0/20');
  assert.equal(chosen('172.16.0.0/12', '192.168.0.0/16'), undefined);
});

test('networks: a unique local subnet has the forty bits that it is given', () => {
  assert.equal(formatSubnet(uniqueLocalSubnet(Buffer.from('0102030405', 'hex'))), 'fd01:203:405::/64');
});

test('networks: bridge, host and none are there from the first look on, and keep their ids', (t) => {
  const where = roots(t);
  const store = openStore(where);
  const first = networks(store);
  assert.deepEqual(
    first.map(({ Name }) => Name),
    isRoot ? ['bridge', 'host', 'none'] : ['host', 'none'],
  );
  assert.deepEqual(networks(openStore(where)), first);
  const without = openStore({ ...where, bridge: 'none' });
  assert.equal(defaultNetwork(without), undefined);
  assert.throws(() => readNetwork(without, 'bridge'), { message: 'network bridge not found' });
});

test('networks: the default one has an interface of its own for each run root, or the one that is asked for', (t) => {
  if (!isRoot) return t.skip('without root there is no default network');
  const where = roots(t);
  const store = openStore(where);
  const digits = instanceDigits(store);
  assert.match(digits, /^[0-9a-f]{8}$/);
  assert.equal(instanceDigits({ ...store, runRoot: '/run/tsbox' }), '');
  assert.equal(bridgeOptions(defaultNetwork(store)!).name, `ts-${digits}`);
  const other = openStore({ ...roots(t), bridge: 'br7' });
  const { name, icc, masquerade, hostBinding, mtu } = bridgeOptions(defaultNetwork(other)!);
  assert.deepEqual([name, icc, masquerade, hostBinding, mtu], ['br7', true, true, '0.0.0.0', 0]);
});

test('networks: found by id, by name, by the begin of an id, in that order', (t) => {
  const store = openStore(roots(t));
  const begin = '0123456789abcdef'; // long enough for no other network's id to begin so
  const ids = ['a1', 'a2', 'b3'].map((text) => `${begin}${text}`.padEnd(64, '0'));
  for (const [index, id] of ids.entries()) addNetwork(store, () => user(`n${index}`, id));
  addNetwork(store, () => user(ids[0]!));
  addNetwork(store, () => user(`${begin}b`, 'd'.repeat(64)));
  assert.equal(readNetwork(store, ids[0]!).Name, 'n0');
  assert.equal(readNetwork(store, `${begin}b`).ID, 'd'.repeat(64));
  assert.equal(readNetwork(store, `${begin}b3`).Name, 'n2');
  assert.throws(() => readNetwork(store, `${begin}a`), { message: /is ambiguous \(2 matches/ });
  for (const text of ['', 'n', 'nosuch', '..', `../${ids[0]}`]) {
    assert.throws(() => readNetwork(store, text), { code: 'ERR_TSBOX_NOT_FOUND' }, text);
  }
});

test('networks: a name is given once, also to two who ask at the same time', (t) => {
  const store = openStore(roots(t));
  addNetwork(store, () => user('one'));
  for (const name of ['one', 'host', 'none']) {
    assert.throws(() => addNetwork(store, () => user(name)), { message: `network with name ${name} already exists` });
  }
  const seen = addNetwork(store, (others) => {
    assert.ok(others.some(({ Name }) => Name === 'one'));
    return user('two');
  });
  assert.equal(deleteNetwork(store, seen), true);
  assert.equal(deleteNetwork(store, seen), false);
  assert.equal(addNetwork(store, () => user('two')).Name, 'two');
});

test('networks: one that is damaged is named, the others are there all the same', (t) => {
  const store = openStore(roots(t));
  const home = join(store.dataRoot, 'networks');
  const kept = addNetwork(store, () => user('kept'));
  const bad = addNetwork(store, () => user('bad'));
  const path = join(home, `${bad.ID}.json`);
  const text = readFileSync(path, 'utf8');
  for (const damage of ['{', '[]', '{}', text.replace('10.9.0.0/24', '10.9.0.0'), text.replace(bad.ID, kept.ID)]) {
    writeFileSync(path, damage);
    const told: string[] = [];
    const names = networks(store, (id, error) => told.push(`${id} ${error.code}`)).map(({ Name }) => Name);
    assert.deepEqual([names.includes('kept'), names.includes('bad')], [true, false]);
    assert.deepEqual(told, [`${bad.ID} ERR_TSBOX_DAMAGED`], damage);
    assert.throws(() => readNetwork(store, bad.ID), { code: 'ERR_TSBOX_DAMAGED', message: new RegExp(bad.ID) });
  }
  writeFileSync(path, text.replace('"FormatVersion":1', '"FormatVersion":9'));
  assert.throws(() => readNetwork(store, bad.ID), { code: 'ERR_TSBOX_UNSUPPORTED', message: /version 9/ });
  assert.equal(deleteNetwork(store, bad), true);
});

test('networks: what a killed process has left is gone with the next change', (t) => {
  const store = openStore(roots(t));
  networks(store);
  const home = join(store.dataRoot, 'networks');
  writeFileSync(join(home, '.tmp-x.json-123456'), '{');
  writeFileSync(join(home, 'x.json'), '{');
  addNetwork(store, () => user('one'));
  assert.deepEqual(
    readdirSync(home).filter((name) => !/^[0-9a-f]{64}\.json$/.test(name)),
    ['x.json'],
  );
});
