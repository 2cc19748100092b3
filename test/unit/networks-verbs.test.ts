/** `network create|ls|inspect|rm|prune`: what they print. Records only: no link is made. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { openEvents } from '../../src/store/events.ts';
import { openStore } from '../../src/store/open.ts';
import { inProcess } from '../in-process.ts';

function tsbox(t: TestContext) {
  const directory = mkdtempSync(join(tmpdir(), 'tsbox-networks-'));
  t.after(() => rmSync(directory, { recursive: true }));
  const where = { dataRoot: join(directory, 'd'), runRoot: join(directory, 'r') };
  const say = (...args: string[]) => inProcess(where, ['--bridge', 'none', 'network', ...args]);
  const ok = async (...args: string[]) => {
    const { status, stdout, stderr } = await say(...args);
    assert.equal(status, 0, `${args.join(' ')}: ${stderr}`);
    return stdout;
  };
  return { where, say, ok };
}

const isRoot = process.geteuid?.() === 0;

test('networks: made, listed, shown, removed', async (t) => {
  if (!isRoot) return t.skip('networks are of root');
  const { where, say, ok } = tsbox(t);
  const id = (await ok('create', '--label', 'a=b', '--ipv6', '--internal', 'n10')).trim();
  assert.match(id, /^[0-9a-f]{64}$/);
  await ok('create', '--subnet', '10.99.0.0/24', 'n9');
  assert.equal(await ok('ls', '--format', '{{.Name}}'), 'host\nn9\nn10\nnone\n');
  assert.equal(await ok('ls', '-q', '-f', 'name=n10'), `${id.slice(0, 12)}\n`);
  assert.equal(await ok('ls', '-q', '--no-trunc', '-f', 'label=a=b', '-f', 'dangling=true'), `${id}\n`);
  const row = '{{.Name}} {{.Driver}} {{.Scope}} {{.IPv6}} {{.Internal}} {{.Labels}} {{.Label "a"}}';
  assert.equal(await ok('ls', '-f', `id=${id}`, '--format', row), 'n10 bridge local true true a=b b\n');
  assert.equal(await ok('ls', '-f', 'type=builtin', '--format', '{{.Name}}'), 'host\nnone\n');
  const [shown] = JSON.parse(await ok('inspect', 'n10')) as [Record<string, unknown>];
  const { Containers, Options, Labels, EnableIPv6, Internal } = shown;
  assert.deepEqual(
    { Containers, Options, Labels, EnableIPv6, Internal },
    { Containers: {}, Options: {}, Labels: { a: 'b' }, EnableIPv6: true, Internal: true },
  );
  const overlapping = await say('create', '--subnet', '10.99.0.128/25', 'n11');
  assert.deepEqual([overlapping.status, /network n9/.test(overlapping.stderr)], [1, true]);
  const several = await say('rm', 'n9', 'nosuch', 'host', id.slice(0, 12));
  assert.deepEqual([several.status, several.stdout], [1, `n9\n${id.slice(0, 12)}\n`]);
  assert.match(several.stderr, /network nosuch not found\n/);
  assert.match(several.stderr, /host is a pre-defined network and cannot be removed/);
  assert.equal(await ok('rm', '-f', 'nosuch'), '');
  const told = [...openEvents(openStore(where)).next()].map(({ type, action, attributes }) => [
    type,
    action,
    attributes['name'],
    attributes['type'],
  ]);
  assert.deepEqual(told, [
    ['network', 'create', 'n10', 'bridge'],
    ['network', 'create', 'n9', 'bridge'],
    ['network', 'destroy', 'n9', 'bridge'],
    ['network', 'destroy', 'n10', 'bridge'],
  ]);
});

test('networks: one that a container is about to start in is not removed, and a lease of one that is gone counts for nothing', async (t) => {
  if (!isRoot) return t.skip('networks are of root');
  const { where, say, ok } = tsbox(t);
  const id = (await ok('create', 'used')).trim();
  const container = 'c'.repeat(64);
  mkdirSync(join(where.runRoot, 'leases'));
  symlinkSync(`../${container}`, join(where.runRoot, 'leases', `${id},172.17.0.2`));
  mkdirSync(join(where.runRoot, container));
  const refused = await say('rm', 'used');
  assert.equal(refused.status, 1);
  assert.match(refused.stderr, new RegExp(`error while removing network: network used id ${id} has active endpoints`));
  assert.equal(await ok('prune', '-f'), '');
  rmSync(join(where.runRoot, container), { recursive: true });
  assert.equal(await ok('prune', '-f', '--filter', 'label=x'), '');
  assert.equal(await ok('prune', '-f', '--filter', 'until=1h'), '');
  assert.equal(await ok('prune', '-f'), 'Deleted Networks:\nused\n\n');
  assert.equal(await ok('prune', '-f'), '');
});

test('networks: a damaged one is named, and removed by its id', async (t) => {
  if (!isRoot) return t.skip('networks are of root');
  const { where, say, ok } = tsbox(t);
  const id = (await ok('create', 'bad')).trim();
  writeFileSync(join(where.dataRoot, 'networks', `${id}.json`), '{"Name":');
  const listed = await say('ls', '--format', '{{.Name}}');
  assert.deepEqual(
    [listed.status, listed.stdout, listed.stderr.includes(`${id}.json: not JSON`)],
    [0, 'host\nnone\n', true],
  );
  assert.equal((await say('inspect', 'bad')).status, 1);
  assert.equal(await ok('rm', id), `${id}\n`);
  assert.equal((await say('ls')).stderr, '');
});

test('networks: filters that are none are refused, flags that do nothing too', async (t) => {
  const { say } = tsbox(t);
  const refused: [string[], RegExp][] = [
    [['ls', '-f', 'type=foo'], /invalid filter: 'type'='foo'/],
    [['ls', '-f', 'dangling=foo'], /invalid value for filter 'dangling', must be "true" \(or "1"\)/],
    [['ls', '-f', 'foo=x'], /invalid filter 'foo'/],
    [['prune', '-f', '--filter', 'foo=x'], /invalid filter 'foo'/],
    [['create', '--attachable', 'x'], /--attachable: not supported yet/],
    [['create', '--aux-address', 'a=10.0.0.1', 'x'], /--aux-address: not supported yet/],
  ];
  for (const [args, message] of refused) {
    const { status, stderr } = await say(...args);
    assert.notEqual(status, 0);
    assert.match(stderr, message);
  }
});
