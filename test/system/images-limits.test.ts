/** Layers that unpack to more than they may: pull, load and import stop, and say which option raises the limit. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { requires } from '../requires.ts';
import { dockerFiles, fingerprint, tarOf } from '../unit/engine-archives.ts';
import { serve } from '../unit/registry-fixture.ts';
import { sandbox } from './harness.ts';
import { image, registry } from './image-server.ts';

/** 3 MB and 40 entries. */
const layer = tarOf({
  big: Buffer.alloc(3_000_000, 'x'),
  ...Object.fromEntries(Array.from({ length: 39 }, (_, index) => [`file-${index}`, ''])),
});

test('limits: pull, load and import stop at them and leave the store as it was; options and the environment raise them', async (context) => {
  if (!requires(context, 'root', 'overlay')) return;
  const box = sandbox(context);
  const server = await serve(context, registry(image([layer], [gzipSync(layer)])));
  const at = (name: string) => join(box.directory, name);
  writeFileSync(at('image.tar'), tarOf(dockerFiles([layer], ['x:1'])));
  writeFileSync(at('image.tar.gz'), gzipSync(tarOf(dockerFiles([layer], ['x:1']))));
  writeFileSync(at('rootfs.tar.gz'), gzipSync(layer));
  const verbs = [
    ['pull', `${server.host}/x:1`],
    ['load', '-i', at('image.tar')],
    ['load', '-i', at('image.tar.gz')],
    ['import', at('rootfs.tar.gz'), 'y:1'],
  ];
  const limits: [string, string, string, string][] = [
    ['--max-layer-size', '1m', '100m', 'TSBOX_MAX_LAYER_SIZE'],
    ['--max-layer-entries', '10', '100', 'TSBOX_MAX_LAYER_ENTRIES'],
  ];
  await box.quick(['images']);
  const before = fingerprint(box.dataRoot).filter((line) => !line.startsWith('tmp '));
  for (const [option, small, large, variable] of limits) {
    for (const verb of verbs) {
      for (const [args, env] of [
        [[option, small, ...verb], {}],
        [[`${option}=${small}`, ...verb], { [variable]: large }],
        [verb, { [variable]: small }],
      ] as const) {
        const { status, stderr } = await box.start(args, { env }).done;
        assert.equal(status, 1, `${args.join(' ')}: ${stderr}`);
        assert.match(stderr, /unpacks to more than 1048576 bytes|more than 10 entries/);
        assert.match(stderr, new RegExp(`^hint: .*raise the limit: tsbox ${option} `, 'm'));
        assert.deepEqual(
          fingerprint(box.dataRoot).filter((line) => !line.startsWith('tmp ')),
          before,
        );
      }
    }
  }
  for (const [option, , large, variable] of limits) {
    for (const verb of verbs) {
      assert.equal((await box.start([option, large, ...verb]).done).status, 0);
      assert.equal((await box.start(verb, { env: { [variable]: large } }).done).status, 0);
    }
  }
});

test('limits: a gigabyte that was a few kilobytes is a bomb, unless the ratio is raised', async (context) => {
  if (!requires(context, 'root', 'overlay')) return;
  const box = sandbox(context);
  // What follows a tar's end is part of the layer and goes to no disk.
  const zeros = Buffer.alloc(64 * 2 ** 20);
  const parts = [zstdCompressSync(tarOf({ a: 'a' })), ...Array.from({ length: 17 }, () => zstdCompressSync(zeros))];
  const path = join(box.directory, 'bomb.tar.zst');
  writeFileSync(path, Buffer.concat(parts));
  const { status, stderr } = await box.said(['import', path, 'x:1']);
  assert.equal(status, 1);
  assert.match(stderr, /the archive unpacks to more than 500 times its size\nhint: .*tsbox --max-layer-ratio /);
  box.ok(['--max-layer-ratio', '1000000', 'import', path, 'x:1']);
});

test('limits: a value that is none is refused by the name of its option', (context) => {
  if (!requires(context, 'root')) return;
  const box = sandbox(context);
  for (const [option, value] of [
    ['--max-layer-size', '0'],
    ['--max-layer-size', '-1'],
    ['--max-layer-size', '1x'],
    ['--max-layer-size', '9999999999g'],
    ['--max-layer-size', ''],
    ['--max-layer-entries', '1.5'],
    ['--max-layer-entries', '10k'],
    ['--max-layer-ratio', 'many'],
  ] as const) {
    const { status, stderr } = box.tsbox([`${option}=${value}`, 'images']);
    assert.equal(status, 125, `${option} ${value}`);
    assert.match(stderr, new RegExp(`invalid argument "${value}" for "${option}" flag: not a`));
  }
  box.ok(['--max-layer-size', '1.5T', '--max-layer-ratio', '2', '--max-layer-entries', '1', 'images']);
});
