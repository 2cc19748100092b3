import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { readFileInStack, resolveInStack, statInStack } from '../../src/store/lookup.ts';

type Layer = Record<string, string | { to: string }>;

/** Directories with these files, nearest first; `dir/` is a directory, `{to}` a symlink. */
function stackOf(t: TestContext, ...layers: Layer[]): string[] {
  const root = mkdtempSync(join(tmpdir(), 'tsbox-stack-'));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  return layers.map((files, index) => {
    const layer = join(root, String(index));
    mkdirSync(layer);
    for (const [path, content] of Object.entries(files)) {
      const place = join(layer, path);
      mkdirSync(path.endsWith('/') ? place : dirname(place), { recursive: true });
      if (typeof content === 'object') symlinkSync(content.to, place);
      else if (!path.endsWith('/')) writeFileSync(place, content);
    }
    return layer;
  });
}

const read = (stack: string[], path: string) => readFileInStack(stack, path, 1000)?.toString();

test('lookup: the nearest file wins, directories merge', (t) => {
  const stack = stackOf(t, { 'etc/passwd': 'top' }, { 'etc/passwd': 'base', 'etc/group': 'base' }, { 'usr/x': 'deep' });
  assert.equal(read(stack, '/etc/passwd'), 'top');
  assert.equal(read(stack, 'etc/group'), 'base');
  assert.equal(read(stack, '//etc/./../usr//x'), 'deep');
  assert.equal(read(stack, '/etc/shadow'), undefined);
  assert.equal(read(stack, '/etc'), undefined);
  assert.equal(read(stack, '/etc/passwd/x'), undefined);
  assert.equal(statInStack(stack, '/')?.isDirectory(), true);
  assert.equal(statInStack(stack, '/etc/')?.isDirectory(), true);
});

test('lookup: a file hides a directory of the same name, and the other way round', (t) => {
  const stack = stackOf(
    t,
    { 'a/x': 'dir over file', b: 'file over dir' },
    { a: 'file', 'b/x': 'hidden' },
    { 'a/y': 'below the file' },
  );
  assert.equal(read(stack, '/a/x'), 'dir over file');
  assert.equal(read(stack, '/a/y'), undefined);
  assert.equal(read(stack, '/b/x'), undefined);
  assert.equal(read(stack, '/b'), 'file over dir');
});

test('lookup: symlinks are followed within the stack only', (t) => {
  const stack = stackOf(
    t,
    { 'etc/alias': { to: '/usr/lib/passwd' }, out: { to: '../../../../../../etc/passwd' }, abs: { to: '/etc' } },
    { 'usr/lib': { to: '../opt/lib' }, 'opt/lib/passwd': 'found', 'etc/passwd': "the container's", 'etc/hosts': 'h' },
  );
  assert.equal(read(stack, '/etc/alias'), 'found');
  assert.equal(read(stack, '/out'), "the container's");
  assert.equal(read(stack, '/abs/hosts'), 'h');
  assert.equal(resolveInStack(stack, '/etc/alias')?.path, '/opt/lib/passwd');
  assert.equal(resolveInStack(stack, '/etc/alias', false)?.path, '/etc/alias');
  assert.equal(resolveInStack(stack, '/usr/lib/../x'), undefined, '.. goes up from where the symlink led');
  assert.equal(resolveInStack(stack, '/usr/lib/../lib/passwd')?.path, '/opt/lib/passwd');
});

test('lookup: symlinks in a circle are refused', (t) => {
  const stack = stackOf(t, { a: { to: 'b' }, b: { to: '/a' } });
  assert.throws(() => read(stack, '/a'), { code: 'ERR_TSBOX_SYSCALL', errnoName: 'ELOOP' });
});

test('lookup: a file larger than the limit is refused', (t) => {
  const stack = stackOf(t, { big: 'x'.repeat(11) });
  assert.equal(readFileInStack(stack, '/big', 11)?.length, 11);
  assert.throws(() => readFileInStack(stack, '/big', 10), { code: 'ERR_TSBOX_LIMIT' });
});
