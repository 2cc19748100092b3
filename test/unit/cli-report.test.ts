import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { UsageError } from '../../src/cli/args.ts';
import { hintFor } from '../../src/cli/hints.ts';
import { reportText } from '../../src/cli/report.ts';
import { SyscallError, TsboxError, wrapError } from '../../src/errors.ts';
import { errnoNumber, errnoOf } from '../../src/spec/errno.ts';

const refused = (syscall: string, errno: string, what = `${syscall} something`) =>
  new SyscallError(syscall, what, errnoOf(errnoNumber(errno)));

const HINTS: [string, string, string, number, RegExp | undefined][] = [
  ['mount', 'EPERM', 'mount proc', 1000, /run tsbox as root/],
  ['mount', 'EPERM', 'mount proc', 0, /CAP_SYS_ADMIN/],
  ['mount', 'ENODEV', 'mount overlay /x', 0, /modprobe overlay/],
  ['mount', 'ENODEV', 'mount foofs /x', 0, /\/proc\/filesystems/],
  ['mount', 'EINVAL', 'mount overlay /x', 0, /dmesg/],
  ['unshare', 'EPERM', 'unshare', 1000, /user_namespaces/],
  ['unshare', 'ENOSPC', 'unshare', 0, /max_\*_namespaces/],
  ['unshare', 'EINVAL', 'unshare', 0, /built without/],
  ['exec', 'ENOEXEC', 'exec "x"', 0, /another architecture/],
  ['execve', 'EACCES', 'exec "x"', 0, /not executable/],
  ['write', 'ENOSPC', 'write /x', 0, /disk of the data root is full/],
  ['open', 'EMFILE', 'open /x', 0, /ulimit -n/],
  ['open', 'EACCES', 'open /var/lib/tsbox', 1000, /needs root/],
  ['open', 'EACCES', 'open /x', 0, undefined],
  ['open', 'ENOENT', 'open /x', 0, undefined],
  ['prctl', 'EINVAL', 'prctl', 0, /seccomp/],
  ['fork', 'EAGAIN', 'spawn', 0, /pids\.max/],
  ['run', 'EPERM', 'run x: start y: EAGAIN (Resource temporarily unavailable)', 1000, /pids\.max/],
  ['run', 'EPERM', 'run x: it has failed', 1000, undefined],
];

for (const [call, errno, what, uid, expected] of HINTS) {
  test(`hints: ${what}: ${errno} for ${uid === 0 ? 'root' : 'a user'}`, () => {
    const hint = hintFor(refused(call, errno, what), uid);
    if (expected === undefined) assert.equal(hint, undefined);
    else assert.match(hint ?? '', expected);
  });
}

test('hints: the refusal is found under the errors that wrap it', () => {
  const wrapped = wrapError('start the container', wrapError('set up', refused('mount', 'ENODEV', 'mount overlay /x')));
  assert.match(hintFor(wrapped, 0) ?? '', /modprobe overlay/);
});

test('report: message, then hint; the hint of the error itself goes first', () => {
  assert.equal(
    reportText(new TsboxError('ERR_TSBOX_NOT_FOUND', 'no such image: x', { hint: 'Pull it.' }), 0),
    'tsbox: no such image: x\nhint: Pull it.\n',
  );
  assert.equal(reportText(new TsboxError('ERR_TSBOX_CONFLICT', 'name in use'), 0), 'tsbox: name in use\n');
  const own = new SyscallError('mount', 'mount x', errnoOf(1), { hint: 'Mine.' });
  assert.equal(reportText(own, 1000), 'tsbox: mount x: EPERM (Operation not permitted)\nhint: Mine.\n');
});

test('report: a usage error says whose help to read', () => {
  const error = new UsageError('unknown flag: --foo', 125);
  error.command = 'tsbox run';
  assert.equal(reportText(error, 0), "tsbox: unknown flag: --foo\nSee 'tsbox run --help'.\n");
});

test("report: Node's own refusals are told like all others", () => {
  try {
    readFileSync('/nonexistent/file');
    assert.fail();
  } catch (error) {
    assert.equal(reportText(error, 0), 'tsbox: open /nonexistent/file: ENOENT (No such file or directory)\n');
  }
});

test('report: a bug is called one and shows where it is', () => {
  const text = reportText(new RangeError('oops'), 0);
  assert.match(text, /^tsbox: internal error: RangeError: oops\n {4}at /);
  assert.match(text, /\nhint: This is a bug/);
});
