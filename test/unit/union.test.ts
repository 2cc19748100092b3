/** What of the union needs no kernel: its arguments, its table of nodes. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { S } from '../../src/spec/linux.ts';
import { hashOf, hashOfBytes } from '../../src/union/name-hash.ts';
import { createNodes } from '../../src/union/nodes.ts';
import { parseArguments, splitEscaped } from '../../src/union/options.ts';
import { decodeDevice, encodeDevice, ROOT } from '../../src/union/protocol.ts';
import { generator } from './layer-mutations.ts';

test('union: options as a mount helper gets them, those of others left alone', () => {
  const given = parseArguments([
    'source',
    '/mnt',
    '-o',
    'rw,nosuid,lowerdir=/a:/b\\:c,x-systemd.automount',
    '-oupperdir=/u\\,v,workdir=/w',
  ]);
  assert.deepEqual(
    [given.source, given.target, given.lower, given.upper, given.work, given.flags],
    ['source', '/mnt', ['/a', '/b:c'], '/u,v', '/w', 2],
  );
  assert.throws(() => parseArguments(['/mnt', '-o', 'lowerdir=/a,upperdir=/u']), /workdir= go together/);
  assert.throws(() => parseArguments(['a', 'b', 'c', '-o', 'lowerdir=/a']), /one directory/);
});

test('union: a separator behind a backslash is none', () => {
  assert.deepEqual(splitEscaped('a\\:b:c\\\\:d', ':'), ['a:b', 'c\\', 'd']);
  assert.deepEqual(splitEscaped('a\\,b,c', ','), ['a\\,b', 'c']);
});

test('union: device numbers of the protocol', () => {
  for (const [major, minor] of [
    [0, 0],
    [1, 3],
    [259, 0xfffff],
    [4095, 256],
  ] as const) {
    assert.deepEqual(decodeDevice(encodeDevice(major, minor)), { major, minor });
  }
});

test('union: a table of nodes says what a Map would, whatever is added, renamed and forgotten', () => {
  const nodes = createNodes();
  const known = new Map<string, number>();
  const names = new Map<number, string>();
  const random = generator(7);
  for (let step = 0; step < 20_000; step++) {
    const name = `n${random(5000)}`;
    const found = nodes.find(ROOT, name);
    assert.equal(found, known.get(name) ?? 0);
    if (found === 0) {
      const node = nodes.add(ROOT, name, 0o100000);
      nodes.remember(node);
      known.set(name, node);
      names.set(node, name);
    } else if (random(3) === 0) {
      const other = `m${step}`;
      nodes.rename(found, ROOT, other);
      known.delete(name);
      known.set(other, found);
      names.set(found, other);
    } else {
      assert.equal(nodes.forget(found, 1), true);
      known.delete(names.get(found)!);
      names.delete(found);
    }
  }
  assert.equal(nodes.count(), known.size + 1);
  for (const [name, node] of known) assert.equal(nodes.find(ROOT, name), node);
});

test('union: a node that lost its name is there until the kernel forgets it', () => {
  const nodes = createNodes();
  const node = nodes.add(ROOT, 'name', 0o100000);
  nodes.remember(node);
  nodes.remember(node);
  nodes.unname(node);
  assert.equal(nodes.find(ROOT, 'name'), 0);
  assert.equal(nodes.isNamed(node), false);
  assert.equal(nodes.forget(node, 1), false);
  assert.equal(nodes.forget(node, 1), true);
});

test('union: the hash of a name and that of its bytes are the same, and tell what is sure not to be there', () => {
  const nodes = createNodes();
  const names = ['a', 'file', 'caf\u00e9', '\u00ff'.repeat(255), 'none-1-2', ' '];
  for (const name of names) {
    const bytes = Buffer.from(`xx${name}\0`, 'latin1');
    assert.equal(hashOf(name), hashOfBytes(bytes, 2, bytes.length - 1), name);
    assert.ok(nodes.isUnknown(ROOT, hashOf(name)), name);
    nodes.add(ROOT, name, S.S_IFREG);
    assert.equal(nodes.isUnknown(ROOT, hashOf(name)), false, name);
  }
  assert.equal(new Set(names.map(hashOf)).size, names.length);
});
