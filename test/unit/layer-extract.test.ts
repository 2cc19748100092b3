/** A tar into a directory that is in use. */
import assert from 'node:assert/strict';
import {
  closeSync,
  existsSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { extractArchive } from '../../src/layer/extract.ts';
import { archive, type Made, pieces, scratch } from './layer-support.ts';

async function extract(directory: string, entries: readonly Made[], root?: string): Promise<string[]> {
  const dirfd = openSync(directory, 'r');
  const rootFd = root === undefined ? undefined : openSync(root, 'r');
  try {
    const within = rootFd === undefined ? {} : { within: { root: rootFd, path: directory.slice(root!.length) } };
    return await extractArchive(pieces(archive(...entries)), dirfd, { shown: '/shown', ...within });
  } finally {
    closeSync(dirfd);
    if (rootFd !== undefined) closeSync(rootFd);
  }
}

function places(t: TestContext): { root: string; inside: string } {
  const root = join(scratch(t), 'root');
  const inside = join(root, 'inside');
  mkdirSync(inside, { recursive: true });
  return { root, inside };
}

test('extract: what is there stays, a file of the same name is replaced and not written to', async (t) => {
  const { inside, root } = places(t);
  writeFileSync(join(root, 'other'), 'other');
  symlinkSync('../other', join(inside, 'file'));
  writeFileSync(join(inside, 'stays'), 'stays');
  await extract(inside, [{ name: 'new/deep', data: 'deep' }, { name: 'file', data: 'mine' }, { name: '.wh.stays' }]);
  assert.equal(readFileSync(join(inside, 'file'), 'utf8'), 'mine');
  assert.equal(lstatSync(join(inside, 'file')).isFile(), true);
  assert.equal(readFileSync(join(root, 'other'), 'utf8'), 'other');
  assert.equal(readFileSync(join(inside, 'new/deep'), 'utf8'), 'deep');
  assert.deepEqual([existsSync(join(inside, 'stays')), existsSync(join(inside, '.wh.stays'))], [true, true]);
});

test('extract: a directory does not replace a file, nor a file a directory', async (t) => {
  const { inside } = places(t);
  mkdirSync(join(inside, 'd'));
  writeFileSync(join(inside, 'f'), '');
  symlinkSync('d', join(inside, 'l'));
  const refused = (entries: Made[], words: RegExp) => assert.rejects(extract(inside, entries), words);
  await refused([{ name: 'd', data: 'x' }], /cannot overwrite directory "\/shown\/d" with non-directory "\/shown"/);
  await refused([{ name: 'f/' }], /cannot overwrite non-directory "\/shown\/f" with directory "\/shown"/);
  await refused([{ name: 'l/' }], /cannot overwrite non-directory "\/shown\/l" with directory/);
  await refused([{ name: '.', data: 'x' }], /cannot overwrite directory "\/shown" with/);
});

test('extract: no name leads out', async (t) => {
  const { root, inside } = places(t);
  await assert.rejects(extract(inside, [{ name: '../out', data: 'x' }]), /"..\/out" is outside of "\/shown"/);
  await assert.rejects(extract(inside, [{ name: 'a/../../out', data: 'x' }]), /is outside of/);
  await assert.rejects(extract(inside, [{ name: 'l', type: 'link', linkname: '../out' }]), /is outside of/);
  symlinkSync('..', join(inside, 'up'));
  await assert.rejects(extract(inside, [{ name: 'up/out', data: 'x' }]), /ELOOP/);
  await assert.rejects(
    extract(inside, [
      { name: 'new', type: 'symlink', linkname: '..' },
      { name: 'new/out', data: 'x' },
    ]),
    /ELOOP/,
  );
  await extract(inside, [{ name: '/absolute', data: 'x' }]);
  assert.deepEqual([existsSync(join(inside, 'absolute')), existsSync(join(root, 'out'))], [true, false]);
});

test('extract: with a root, symlinks on the way are followed as far as it reaches', async (t) => {
  const { root, inside } = places(t);
  mkdirSync(join(root, 'etc'));
  symlinkSync('/etc', join(inside, 'absolute'));
  symlinkSync('../../../../etc', join(inside, 'up'));
  await extract(
    inside,
    [
      { name: 'absolute/a', data: 'x' },
      { name: 'up/b', data: 'x' },
    ],
    root,
  );
  assert.deepEqual([existsSync(join(root, 'etc/a')), existsSync(join(root, 'etc/b'))], [true, true]);
});

test('extract: after an error the directories that were made look as they should', async (t) => {
  const { inside } = places(t);
  await assert.rejects(
    extract(inside, [
      { name: 'd/', mode: 0o750 },
      { name: '../x', data: '' },
    ]),
    /is outside/,
  );
  assert.equal(lstatSync(join(inside, 'd')).mode & 0o777, 0o750);
});
