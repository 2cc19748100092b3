/** A disk that is full in the middle of a layer: an error that says so, no file of tar-split, no descriptor left. */
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { requires } from '../requires.ts';
import { archive, type Made, run, scratch } from '../unit/layer-support.ts';

const PROGRAM = `
  import { createReadStream, readdirSync } from 'node:fs';
  import { setTimeout as sleep } from 'node:timers/promises';
  import { applyLayer } from '${join(import.meta.dirname, '../../src/layer/apply.ts')}';
  const [root] = process.argv.slice(1);
  const options = { whiteouts: 'overlay', lchown: true, tarSplit: root + '/split/tar-split' };
  const apply = () => applyLayer(createReadStream(root + '/layer.tar'), root + '/layer', options).then(
    () => ({}),
    ({ code, errnoName, message }) => ({ code, errnoName, message }),
  );
  await apply();
  const open = () => readdirSync('/proc/self/fd').length;
  await sleep(100);
  const before = open();
  const error = await apply();
  for (let tries = 0; tries < 1500 && open() > before; tries++) await sleep(20);
  console.log(JSON.stringify({ ...error, split: readdirSync(root + '/split'), more: open() - before }));`;

interface Outcome {
  code?: string;
  message?: string;
  split: string[];
  more: number;
}

/** Unpacks twice where \`full\` has the options of a small tmpfs. */
function unpack(t: TestContext, full: 'layer' | 'split', options: string, entries: Made[]): Outcome {
  const root = scratch(t);
  for (const name of ['layer', 'split']) mkdirSync(join(root, name));
  writeFileSync(join(root, 'layer.tar'), archive(...entries));
  const script = `mount -t tmpfs -o ${options} tmpfs ${root}/${full} && exec "$@"`;
  const program = [process.execPath, '--input-type=module', '-e', PROGRAM, root];
  return JSON.parse(run('unshare', ['-m', 'bash', '-c', script, 'full', ...program]).toString()) as Outcome;
}

function noise(length: number): Buffer {
  return Buffer.from(Array.from({ length }, (_, at) => (at * at * 31 + at * 7) >>> (at % 13)));
}

const data = noise(3000);

test('layer: no room for its data', (t) => {
  if (!requires(t, 'root')) return;
  for (const entries of [
    [{ name: 'large', data: Buffer.alloc(2_000_000, 'x') }],
    Array.from({ length: 500 }, (_, at): Made => ({ name: `small/${at}`, data })),
    Array.from(
      { length: 500 },
      (_, at): Made => ({ name: `d${at}/f`, data, xattrs: new Map([['user.x', Buffer.from('y')]]) }),
    ),
  ]) {
    const { code, message, split, more } = unpack(t, 'layer', 'size=1M', entries);
    assert.equal(code, 'ERR_TSBOX_SYSCALL');
    assert.match(message!, /ENOSPC \(No space left on device\)/);
    assert.deepEqual([split, more], [[], 0]);
  }
});

test('layer: no inode for its files', (t) => {
  if (!requires(t, 'root')) return;
  const entries = Array.from({ length: 300 }, (_, at): Made => ({ name: at % 2 === 0 ? `d${at}/` : `d${at - 1}/f` }));
  const { message, split, more } = unpack(t, 'layer', 'nr_inodes=100', entries);
  assert.match(message!, /ENOSPC/);
  assert.deepEqual([split, more], [[], 0]);
});

test('layer: no room for tar-split', (t) => {
  if (!requires(t, 'root')) return;
  const names = Array.from(
    { length: 20_000 },
    (_, at): Made => ({ name: `${noise(40 + (at % 7)).toString('hex')}${at * 7919}` }),
  );
  const replaced = Array.from({ length: 200 }, (): Made => ({ name: 'again', data }));
  for (const entries of [names, replaced]) {
    const { code, message, split, more } = unpack(t, 'split', 'size=100K', entries);
    assert.equal(code, 'ERR_TSBOX_SYSCALL');
    assert.match(message!, /write .*tar-split.*: ENOSPC/);
    assert.deepEqual([split, more], [[], 0]);
  }
});
