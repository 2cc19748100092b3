/** How paths of a layer reach the kernel: by openat2(2) from the layer's root, or as one component in a directory that is open. */
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { requires } from '../requires.ts';
import { archive, run, scratch } from '../unit/layer-support.ts';

const PROGRAM = `
  import { createReadStream } from 'node:fs';
  import { applyLayer } from '${join(import.meta.dirname, '../../src/layer/apply.ts')}';
  import { reassembleLayer } from '${join(import.meta.dirname, '../../src/layer/tar-split-read.ts')}';
  const [root] = process.argv.slice(1);
  const options = { whiteouts: 'overlay', lchown: true, tarSplit: root + '/split', lowers: [root + '/lower'] };
  await applyLayer(createReadStream(root + '/layer.tar'), root + '/layer', options);
  for await (const _ of reassembleLayer(root + '/layer', root + '/split'));`;

test('layer: no name of a layer is resolved by string', (t) => {
  if (!requires(t, 'root', 'command:strace')) return;
  const root = scratch(t);
  for (const name of ['layer', 'lower/zz-deep']) mkdirSync(join(root, name), { recursive: true });
  writeFileSync(join(root, 'lower/zz-deep/zz-below'), 'below');
  const xattrs = new Map([['user.x', Buffer.from('y')]]);
  writeFileSync(
    join(root, 'layer.tar'),
    archive(
      { name: 'zz-a/zz-b/', mode: 0o500, xattrs },
      { name: 'zz-a/zz-b/zz-file', data: 'data', xattrs },
      { name: 'zz-a/zz-b/zz-plain', data: 'data' },
      { name: 'zz-a/zz-b/zz-link', type: 'link', linkname: 'zz-a/zz-b/zz-file' },
      {
        name: 'zz-a/zz-c/zz-symlink',
        type: 'symlink',
        linkname: '/etc',
        xattrs: new Map([['trusted.x', Buffer.from('y')]]),
      },
      { name: 'zz-a/zz-c/zz-null', type: 'char', deviceMajor: 1, deviceMinor: 3 },
      { name: 'zz-a/zz-c/zz-fifo', type: 'fifo' },
      { name: 'zz-d/.wh.zz-gone' },
      { name: 'zz-d/.wh..wh..opq' },
      { name: 'zz-e/zz-copied', type: 'link', linkname: 'zz-deep/zz-below' },
      { name: 'zz-a/zz-b', data: 'a file now' },
    ),
  );
  const program = [process.execPath, '--input-type=module', '-e', PROGRAM, root];
  run('strace', ['-f', '-o', join(root, 'trace'), '-e', 'trace=%file', ...program]);
  const calls = readFileSync(join(root, 'trace'), 'utf8').split('\n');
  const ofLayer = calls.filter((line) => line.includes('"') && line.includes('zz-'));
  const byOpenat2 = ofLayer.filter((line) => line.includes('openat2('));
  assert.ok(byOpenat2.length > 5 && ofLayer.length > 40, `${byOpenat2.length} of ${ofLayer.length}`);
  for (const line of byOpenat2) assert.match(line, /openat2\(\d+, .*RESOLVE_NO_MAGICLINKS.*RESOLVE_IN_ROOT/);
  for (const line of ofLayer) {
    if (line.includes('openat2(')) continue;
    const [, first, second] = /"([^"]*)"(?:[^"]*"([^"]*)")?/.exec(line)!;
    const isTarget = line.includes('symlinkat(');
    for (const path of isTarget ? [second!] : [first!, second ?? '']) {
      assert.match(path, /^(\/proc\/self\/fd\/\d+\/)?[^/]*$/, line);
    }
    if (!first!.startsWith('/proc/self/fd/')) assert.doesNotMatch(line, /AT_FDCWD/, line);
  }
});
