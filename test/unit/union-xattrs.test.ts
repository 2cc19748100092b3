import assert from 'node:assert/strict';
import { mkdtempSync, openSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { errnoNumber } from '../../src/spec/errno.ts';
import { quickly } from '../../src/sys/quick.ts';
import { buffer } from '../../src/union/memory.ts';
import { raw } from '../../src/union/raw-xattrs.ts';

const NAME = 'user.tsbox';

test('union: attributes are read the same with getxattrat(2), without it, and where a filter refuses it', (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'tsbox-xattrs-'));
  t.after(() => rmSync(directory, { recursive: true }));
  writeFileSync(join(directory, 'file'), '');
  symlinkSync('file', join(directory, 'link'));
  const fd = openSync(directory, 'r');
  buffer.bytes.write('value');
  assert.equal(raw.set(fd, 'file', NAME, buffer.address, 5), 0, 'the directory for temporary files keeps attributes');

  const all = (): unknown[] => {
    buffer.bytes.fill(0, 0, 16);
    return [
      raw.get(fd, 'file', NAME, buffer.address, 16),
      buffer.bytes.toString('latin1', 0, 6),
      raw.get(fd, 'file', NAME, buffer.address, 0),
      raw.get(fd, 'file', NAME, buffer.address, 2),
      raw.get(fd, 'file', 'user.none', buffer.address, 16),
      raw.get(fd, 'link', NAME, buffer.address, 16), // a link is not followed
      raw.get(fd, 'none', NAME, buffer.address, 16),
      raw.get(fd, '', NAME, buffer.address, 16), // the directory itself
      raw.get(fd, '.', NAME, buffer.address, 16),
    ];
  };
  const no = (name: string): number => -errnoNumber(name);
  const wanted = [
    5,
    'value\0',
    5,
    no('ERANGE'),
    no('ENODATA'),
    no('ENODATA'),
    no('ENOENT'),
    no('ENODATA'),
    no('ENODATA'),
  ];
  assert.deepEqual(all(), wanted);
  const asked = t.mock.method(quickly, 'getxattrat', () => no('EPERM'));
  assert.deepEqual(all(), wanted);
  assert.ok(asked.mock.callCount() <= 1, 'it is tried once');
});
