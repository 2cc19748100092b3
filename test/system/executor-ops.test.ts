/** Each operation of the executor, seen by what it leaves behind. */
import assert from 'node:assert/strict';
import { chmodSync, existsSync, lstatSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { Step } from '../../src/plan/step.ts';
import { errnoNumber } from '../../src/spec/errno.ts';
import { EXECUTOR, exec, finish, launch, logTo, piped, run, shell, spawning } from '../executor.ts';
import { requires } from '../requires.ts';

const why = 'for a test';
let directory = '';
before(() => {
  directory = mkdtempSync(join(tmpdir(), 'tsbox-ops-'));
});
after(() => rmSync(directory, { recursive: true, force: true }));

/** Runs steps on the host side and wants them to work. */
async function host(...steps: Step[]): Promise<void> {
  const result = await finish(launch({ monitor: steps }));
  assert.deepEqual(result.failed, []);
  assert.equal(result.code, 0);
}

/** What a script prints after these steps, which must work. */
async function inside(steps: Step[], script: string): Promise<string> {
  const result = await finish(run([...steps, shell(script)]));
  assert.deepEqual(result.failed, []);
  assert.equal(result.stderr, '');
  return result.stdout.trimEnd();
}

/** The errno name's number that the last of these steps fails with. */
async function refused(...steps: Step[]): Promise<number | undefined> {
  const { failed } = await finish(launch({ monitor: steps }));
  assert.equal(failed[0]?.index, steps.length - 1);
  return failed[0]?.errno;
}

const needs = [`file:${EXECUTOR}`, 'root'] as const;
const mode = 0o755;
const privateMounts: Step[] = [
  { op: 'unshare', flags: ['CLONE_NEWNS'], why },
  { op: 'mount', source: '', target: '/', type: '', flags: ['MS_REC', 'MS_PRIVATE'], data: '', why },
];

test('executor: mkdir, write, symlink, chmod, chown, rename, unlink and rmdir do what their calls do', async (context) => {
  if (!requires(context, ...needs)) return;
  const at = (name: string) => join(directory, name);
  await host(
    { op: 'umask', mask: 0o027, why },
    { op: 'mkdir', path: at('d'), mode: 0o777, why },
    { op: 'write', path: at('f'), data: 'one\n', flags: ['O_CREAT', 'O_EXCL'], mode: 0o666, why },
    { op: 'write', path: at('f'), data: 'two\n', flags: ['O_APPEND'], mode: 0, why },
    { op: 'symlink', target: 'f', path: at('l'), why },
    { op: 'chmod', path: at('d'), mode: 0o2711, why },
    { op: 'chown', path: at('l'), uid: 12, gid: 34, why },
    { op: 'rename', from: at('f'), to: at('g'), why },
    { op: 'mkdir', path: at('gone'), mode, why },
    { op: 'rmdir', path: at('gone'), why },
    { op: 'unlink', path: at('l'), why },
  );
  assert.equal(lstatSync(at('d')).mode & 0o7777, 0o2711);
  const file = lstatSync(at('g'));
  assert.deepEqual([file.uid, file.gid, file.mode & 0o777], [12, 34, 0o640]);
  assert.equal(readFileSync(at('g'), 'utf8'), 'one\ntwo\n');
  assert.ok(!existsSync(at('l')) && !existsSync(at('gone')));
});

test('executor: write without O_CREAT makes no file, and gives bytes of any kind', async (context) => {
  if (!requires(context, ...needs)) return;
  const path = join(directory, 'bytes');
  const step: Step = { op: 'write', path, data: 'a\0ü\n', flags: ['O_TRUNC'], mode: 0, why };
  assert.equal(await refused(step), errnoNumber('ENOENT'));
  writeFileSync(path, 'something longer than that');
  await host(step);
  assert.equal(readFileSync(path, 'utf8'), 'a\0ü\n');
});

test('executor: nothing is written to what is there already: it is not even opened for that', async (context) => {
  if (!requires(context, ...needs)) return;
  const [made, fifo] = [join(directory, 'made'), join(directory, 'waits')];
  const there = (path: string): Step => ({
    op: 'write',
    path,
    data: '',
    flags: ['O_CREAT', 'O_NONBLOCK'],
    mode: 0o644,
    why,
  });
  await host({ op: 'mknod', path: fifo, mode: 0o010644, major: 0, minor: 0, why }, there(fifo), there(made));
  assert.ok(lstatSync(fifo).isFIFO() && lstatSync(made).isFile());
  // Who opens a program that runs for writing is refused: ETXTBSY.
  await host(there(process.execPath));
});

test('executor: a path with a NUL inside is refused and not cut', async (context) => {
  if (!requires(context, ...needs)) return;
  const cut = join(directory, 'cut');
  assert.equal(await refused({ op: 'mkdir', path: `${cut}\0rest`, mode, why }), errnoNumber('EINVAL'));
  assert.ok(!existsSync(cut));
});

test('executor: mknod makes devices and fifos', async (context) => {
  if (!requires(context, ...needs)) return;
  const [zero, fifo] = [join(directory, 'zero'), join(directory, 'fifo')];
  await host(
    { op: 'mknod', path: zero, mode: 0o020600, major: 1, minor: 5, why },
    { op: 'mknod', path: fifo, mode: 0o010600, major: 0, minor: 0, why },
  );
  assert.ok(lstatSync(zero).isCharacterDevice() && lstatSync(fifo).isFIFO());
  assert.equal(lstatSync(zero).rdev, (1 << 8) | 5);
});

test('executor: mount, remount, mount_setattr and umount', async (context) => {
  if (!requires(context, ...needs)) return;
  const target = join(directory, 'mnt');
  mkdirSync(target);
  const tmpfs: Step = {
    op: 'mount',
    source: 'there',
    target,
    type: 'tmpfs',
    flags: ['MS_NODEV'],
    data: 'size=64k',
    why,
  };
  const show = `grep ' ${target} ' /proc/self/mountinfo | cut -d' ' -f6- || true`;
  const mounted = await inside([...privateMounts, tmpfs], show);
  assert.match(mounted, /^rw,nodev,relatime .*- tmpfs there rw,size=64k/);
  const changed: Step[] = [
    { op: 'mount', source: '', target, type: '', flags: ['MS_REMOUNT', 'MS_BIND', 'MS_RDONLY'], data: '', why },
    { op: 'mount_setattr', target, at: ['AT_RECURSIVE'], set: ['MOUNT_ATTR_NOEXEC'], clear: [], propagation: [], why },
  ];
  assert.match(await inside([...privateMounts, tmpfs, ...changed], show), /^ro,noexec,/);
  const umount: Step = { op: 'umount', target, flags: ['MNT_DETACH'], why };
  assert.equal(await inside([...privateMounts, tmpfs, umount], show), '');
  const shared: Step = { op: 'mount_setattr', target, at: [], set: [], clear: [], propagation: ['MS_SHARED'], why };
  assert.match(await inside([...privateMounts, tmpfs, shared], show), / shared:/);
});

test('executor: mount refuses options that the kernel would cut off', async (context) => {
  if (!requires(context, ...needs)) return;
  const data = `size=64k,${'x'.repeat(5000)}`;
  const step: Step = { op: 'mount', source: 't', target: directory, type: 'tmpfs', flags: [], data, why };
  const { failed } = await finish(run([...privateMounts, step, exec('true')]));
  assert.equal(failed[0]?.errno, errnoNumber('E2BIG'));
});

test('executor: a tree opened before spawn is mounted inside', async (context) => {
  if (!requires(context, ...needs)) return;
  const [source, target] = [join(directory, 'source'), join(directory, 'target')];
  mkdirSync(source);
  mkdirSync(target);
  writeFileSync(join(source, 'here'), '');
  const open: Step = { op: 'open_tree', slot: 7, path: source, flags: ['OPEN_TREE_CLONE', 'AT_RECURSIVE'], why };
  const move: Step = { op: 'move_mount', slot: 7, target, flags: [], why };
  const result = await finish(run([...privateMounts, move, shell(`ls ${target}`)], { before: [open] }));
  assert.deepEqual([result.stdout, result.failed], ['here\n', []]);
  assert.ok(!existsSync(join(target, 'here')));
  const twice = await finish(run([...privateMounts, move, move, exec('true')], { before: [open] }));
  assert.equal(twice.failed[0]?.errno, errnoNumber('EBADF'));
});

test('executor: chdir and umask hold for the program', async (context) => {
  if (!requires(context, ...needs)) return;
  assert.equal(
    await inside(
      [
        { op: 'chdir', path: '/usr', why },
        { op: 'umask', mask: 0o077, why },
      ],
      'pwd; umask',
    ),
    '/usr\n0077',
  );
});

test('executor: names of a new UTS namespace', async (context) => {
  if (!requires(context, ...needs)) return;
  const steps: Step[] = [
    { op: 'unshare', flags: ['CLONE_NEWUTS'], why },
    { op: 'sethostname', name: 'box', why },
    { op: 'setdomainname', name: 'lab', why },
  ];
  assert.equal(await inside(steps, 'hostname; cat /proc/sys/kernel/domainname'), 'box\nlab');
});

test('executor: loopback answers once it is up', async (context) => {
  if (!requires(context, ...needs)) return;
  const net: Step = { op: 'unshare', flags: ['CLONE_NEWNET'], why };
  const routes = 'cat /proc/net/fib_trie';
  assert.doesNotMatch(await inside([net], routes), /127\.0\.0\.1/);
  assert.match(await inside([net, { op: 'link_up', name: 'lo', why }], routes), /127\.0\.0\.1/);
  const { failed } = await finish(run([net, { op: 'link_up', name: 'nosuch0', why }, exec('true')]));
  assert.equal(failed[0]?.errno, errnoNumber('ENODEV'));
});

test('executor: setns enters the namespace of another process', async (context) => {
  if (!requires(context, ...needs)) return;
  const other = run([
    { op: 'unshare', flags: ['CLONE_NEWUTS'], why },
    { op: 'sethostname', name: 'other', why },
    exec('sleep', '30'),
  ]);
  await other.until((client) => client.started !== undefined);
  const path = `/proc/${other.started}/ns/uts`;
  assert.equal(await inside([{ op: 'setns', path, type: ['CLONE_NEWUTS'], why }], 'hostname'), 'other');
  process.kill(other.started!, 'SIGKILL');
  await finish(other);
});

test('executor: fork after unshare makes process 1, and setsid a session', async (context) => {
  if (!requires(context, ...needs)) return;
  const result = await inside(
    [
      { op: 'unshare', flags: ['CLONE_NEWPID'], why },
      { op: 'fork', why },
      { op: 'setsid', why },
    ],
    'echo $$',
  );
  assert.equal(result, '1');
});

test('executor: credentials and limits', async (context) => {
  if (!requires(context, ...needs)) return;
  const steps: Step[] = [
    { op: 'rlimit', resource: ['RLIMIT_NOFILE'], soft: 100, hard: 200, why },
    { op: 'rlimit', resource: ['RLIMIT_CORE'], soft: -1, hard: -1, why },
    { op: 'capbset', keep: 0b1001n, why },
    { op: 'prctl', option: ['PR_SET_KEEPCAPS'], value: 1, why },
    { op: 'setgroups', groups: [7, 4294967294], why },
    { op: 'setgid', gid: 12, why },
    { op: 'setuid', uid: 34, why },
    { op: 'capset', effective: 0b1000n, permitted: 0b1000n, inheritable: 0b1000n, why },
    { op: 'capambient', raise: 0b1000n, why },
    { op: 'prctl', option: ['PR_SET_NO_NEW_PRIVS'], value: 1, why },
  ];
  const status = await inside(steps, 'ulimit -n; ulimit -Hn; ulimit -c; cat /proc/self/status');
  assert.match(status, /^100\n200\nunlimited\n/);
  assert.match(status, /^Uid:\t34\t34\t34\t34$/m);
  assert.match(status, /^Gid:\t12\t12\t12\t12$/m);
  assert.match(status, /^Groups:\t7 4294967294 ?$/m);
  assert.match(status, /^NoNewPrivs:\t1$/m);
  for (const set of ['Inh', 'Prm', 'Eff', 'Amb']) assert.match(status, new RegExp(`^Cap${set}:\t0{15}8$`, 'm'));
  assert.match(status, /^CapBnd:\t0{15}9$/m);
});

test('executor: a seccomp filter holds for the program, and for exec itself', async (context) => {
  if (!requires(context, ...needs)) return;
  const instruction = (code: number, jt: number, jf: number, k: number) => {
    const bytes = Buffer.alloc(8);
    bytes.writeUInt16LE(code, 0);
    bytes.set([jt, jf], 2);
    bytes.writeUInt32LE(k, 4);
    return bytes;
  };
  const UNAME = process.arch === 'arm64' ? 160 : 63;
  const filter = Buffer.concat([
    instruction(0x20, 0, 0, 0), // load the system call's number
    instruction(0x15, 0, 1, UNAME),
    instruction(0x06, 0, 0, 0x00050000 | errnoNumber('EPERM')),
    instruction(0x06, 0, 0, 0x7fff0000),
  ]);
  const { stderr } = await finish(run([{ op: 'seccomp', filter, flags: 0, why }, exec('uname', '-r')]));
  assert.match(stderr, /Operation not permitted/);
  const odd = filter.subarray(0, 7);
  const { failed } = await finish(run([{ op: 'seccomp', filter: odd, flags: 0, why }, exec('true')]));
  assert.equal(failed[0]?.errno, errnoNumber('EINVAL'));
});

test('executor: keyctl_join gives a session keyring', async (context) => {
  if (!requires(context, ...needs)) return;
  const keys = await inside([{ op: 'keyctl_join', name: 'tsbox-test', why }], 'cat /proc/keys');
  assert.match(keys, /keyring +tsbox-test/);
});

test('executor: close_fds leaves only the standard streams open', async (context) => {
  if (!requires(context, ...needs)) return;
  assert.equal(await inside([{ op: 'close_fds', from: 3, why }], 'ls /proc/$$/fd'), '0\n1\n2');
});

test('executor: without close_fds nothing of the monitor is open in the program either', async (context) => {
  if (!requires(context, ...needs)) return;
  const before: Step[] = [
    { op: 'flock', path: join(directory, 'lock'), why },
    { op: 'listen', path: join(directory, 'socket'), why },
    logTo(join(directory, 'log')),
    { op: 'open_tree', slot: 0, path: '/', flags: [], why },
  ];
  const result = await finish(run([shell('ls /proc/$$/fd')], { before }));
  assert.equal(result.stdout, '0\n1\n2\n');
});

test('executor: chown_stdio gives pipes away and leaves /dev/null alone', async (context) => {
  if (!requires(context, ...needs)) return;
  const owners = await inside([{ op: 'chown_stdio', uid: 4321, why }], 'stat -L -c %u /proc/self/fd/0 /proc/self/fd/1');
  assert.equal(owners, '0\n4321');
});

test('executor: flock is held until the monitor ends, and not by the container', async (context) => {
  if (!requires(context, ...needs)) return;
  const lock: Step = { op: 'flock', path: join(directory, 'held'), why };
  const first = run([exec('sleep', '60')], { before: [lock] });
  await first.until((client) => client.started !== undefined);
  assert.equal(await refused(lock), errnoNumber('EAGAIN'));
  first.child.kill('SIGKILL');
  await first.ended;
  await host(lock);
  process.kill(first.started!, 'SIGKILL');
});

test('executor: remove_tree removes whatever lies in it and follows no link', async (context) => {
  if (!requires(context, ...needs)) return;
  const tree = join(directory, 'tree');
  mkdirSync(join(tree, 'a/b/c'), { recursive: true });
  mkdirSync(join(tree, 'empty'));
  for (let index = 0; index < 3000; index++) writeFileSync(join(tree, `a/b/${'file'.repeat(20)}${index}`), '');
  const outside = join(directory, 'outside');
  mkdirSync(outside);
  writeFileSync(join(outside, 'stays'), '');
  await host(
    { op: 'symlink', target: outside, path: join(tree, 'link'), why },
    { op: 'symlink', target: '/nosuch', path: join(tree, 'a/dangling'), why },
    { op: 'mknod', path: join(tree, 'a/fifo'), mode: 0o010600, major: 0, minor: 0, why },
    { op: 'remove_tree', path: `${tree}/`, why },
  );
  assert.ok(!existsSync(tree) && existsSync(join(outside, 'stays')));
  await host({ op: 'symlink', target: outside, path: tree, why }, { op: 'remove_tree', path: tree, why });
  assert.ok(existsSync(join(outside, 'stays')), 'a link as the root is removed itself');
  assert.equal(await refused({ op: 'remove_tree', path: tree, why }), errnoNumber('ENOENT'));
  for (const path of ['.', '..', `${outside}/..`])
    assert.equal(await refused({ op: 'remove_tree', path, why }), errnoNumber('EINVAL'));
  assert.equal(await refused({ op: 'remove_tree', path: '/', why }), errnoNumber('EBUSY'));
});

test('executor: remove_tree does not mind how deep a tree is', async (context) => {
  if (!requires(context, ...needs)) return;
  const deep = join(directory, 'deep');
  mkdirSync(deep);
  const level: Step[] = [
    { op: 'mkdir', path: 'directory', mode, why },
    { op: 'write', path: 'file', data: '', flags: ['O_CREAT'], mode, why },
    { op: 'chdir', path: 'directory', why },
  ];
  await host({ op: 'chdir', path: deep, why }, ...Array.from({ length: 3000 }, () => level).flat());
  await host(
    { op: 'rlimit', resource: ['RLIMIT_NOFILE'], soft: 16, hard: 16, why },
    { op: 'remove_tree', path: deep, why },
  );
  assert.ok(!existsSync(deep));
});

test('executor: remove_tree stops at a mount point and touches nothing in it', async (context) => {
  if (!requires(context, ...needs)) return;
  const tree = join(directory, 'mounted');
  const source = join(directory, 'bound');
  mkdirSync(join(tree, 'mnt'), { recursive: true });
  mkdirSync(source);
  writeFileSync(join(source, 'stays'), '');
  const bind = (target: string): Step[] => [
    ...privateMounts,
    { op: 'mount', source, target, type: '', flags: ['MS_BIND'], data: '', why },
  ];
  const remove: Step = { op: 'remove_tree', path: tree, why };
  for (const target of [join(tree, 'mnt'), tree]) {
    const { failed } = await finish(run([...bind(target), remove, exec('true')]));
    assert.equal(failed[0]?.errno, errnoNumber('EBUSY'));
    assert.ok(existsSync(join(source, 'stays')), target);
  }
  chmodSync(tree, 0o700);
});

test('executor: an operation in a list where it has no place is refused before anything runs', async (context) => {
  if (!requires(context, ...needs)) return;
  const path = join(directory, 'never');
  const { failed, code } = await finish(launch({ monitor: [{ op: 'mkdir', path, mode, why }, exec('true')] }));
  assert.deepEqual([failed[0]?.list, failed[0]?.index, failed[0]?.errno, code], [0, 1, errnoNumber('EBADMSG'), 125]);
  assert.ok(!existsSync(path));
  const nested = await finish(launch({ monitor: [piped(), spawning(piped(), exec('true'))] }));
  assert.deepEqual([nested.failed[0]?.list, nested.failed[0]?.index], [2, 0]);
});
