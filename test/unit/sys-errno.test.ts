/** Between a native call and the question for its errno Node may make system calls of its own, as its garbage collector does. */
import assert from 'node:assert/strict';
import { statSync } from 'node:fs';
import { test } from 'node:test';
import { bind, bindSlow, lastErrno } from '../../src/sys/ffi.ts';

const ENOENT = 2;

test('errno: it is that of the native call, whatever Node does before it is asked for', () => {
  const open = bind('int', 'open', ['const void *', 'int']);
  assert.equal(open(Buffer.from('/no/such/file\0'), 0), -1);
  assert.throws(() => statSync('/proc/self/exe/x'), { code: 'ENOTDIR' });
  assert.equal(lastErrno(), ENOENT);
});

test('errno: calls on other threads have their own', async () => {
  const open = bind('int', 'open', ['const void *', 'int']);
  const slowly = bindSlow('int', 'open', ['const void *', 'int']);
  open(Buffer.from('/no/such/file\0'), 0);
  await assert.rejects(slowly('open it', Buffer.from('/proc/self/exe/x\0'), 0), /open it: ENOTDIR/);
  assert.equal(lastErrno(), ENOENT);
});

test('errno: a function that is not there is named', () => {
  assert.throws(() => bind('int', 'no_such_function', [])(), /no_such_function/);
});
