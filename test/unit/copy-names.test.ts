/** The names of `cp`. What docker itself says is in test/system/containers-cp.test.ts. */
import assert from 'node:assert/strict';
import test from 'node:test';
import {
  absolute,
  copyPlace,
  renamed,
  saysDirectory,
  splitCopyArgument,
  splitEntry,
} from '../../src/engine/copy-names.ts';

test('cp: a colon behind a slash or a dot is of the host', () => {
  assert.deepEqual(splitCopyArgument('one:/a:b'), { container: 'one', path: '/a:b' });
  assert.deepEqual(splitCopyArgument('one:'), { container: 'one', path: '' });
  for (const path of ['/a:b', './a:b', '../a:b', 'a', '-', ':a']) assert.deepEqual(splitCopyArgument(path), { path });
});

test('cp: a slash or a dot at the end of a path is kept', () => {
  assert.equal(absolute('a/../b/', '/x'), '/x/b/');
  assert.equal(absolute('b/.', '/x'), '/x/b/.');
  assert.equal(absolute('.', '/x'), '/x/.');
  assert.equal(absolute('/', '/x'), '/');
  assert.deepEqual(['', '.', 'a/', 'a/.', 'a'].map(saysDirectory), [true, true, true, true, false]);
  assert.deepEqual(splitEntry('/a/b/'), { directory: '/a', name: 'b' });
  assert.deepEqual(splitEntry('/a/b/.'), { directory: '/a/b', name: '.' });
  assert.deepEqual(splitEntry('/'), { directory: '/', name: '/' });
  assert.deepEqual(renamed('/a/link', '/b/file'), { path: '/b/file', rename: 'link' });
  assert.deepEqual(renamed('/a/link/.', '/b/dir'), { path: '/b/dir/.' });
});

test('cp: where something goes, and what it is called there', () => {
  const end = (path: string, kind: 'file' | 'directory' | 'absent') => ({
    path,
    exists: kind !== 'absent',
    isDirectory: kind === 'directory',
  });
  const [file, directory, content] = [end('/a/f', 'file'), end('/a/d', 'directory'), end('/a/d/.', 'directory')];
  assert.deepEqual(copyPlace(file, end('/t', 'directory')), { directory: '/t', name: 'f' });
  assert.deepEqual(copyPlace(content, end('/t', 'directory')), { directory: '/t', name: '.' });
  assert.deepEqual(copyPlace(file, end('/t/g', 'file')), { directory: '/t', name: 'g' });
  assert.deepEqual(copyPlace(directory, end('/t/new/', 'absent')), { directory: '/t', name: 'new' });
  assert.deepEqual(copyPlace(content, end('/t/new', 'absent')), { directory: '/t', name: 'new' });
  assert.deepEqual(copyPlace(file, end('/t/new', 'absent')), { directory: '/t', name: 'new' });
  assert.throws(() => copyPlace(directory, end('/t/g', 'file')), /^TsboxError: cannot copy directory$/);
  assert.throws(() => copyPlace(file, end('/t/new/', 'absent')), /^TsboxError: no such directory$/);
});
