/** The union where the kernel keeps what is written, and brings it later: without passthrough, or with `-o writeback`. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { requires } from '../requires.ts';
import { fuse, passes, UNION } from './union-script.ts';

const chosenSeed = process.env['TSBOX_SEED'] ?? String(1 + (Math.floor(Date.now() / 1000) % 1_000_000));

/** Runs a program of test/union, which says itself what is wrong. */
function runs(t: TestContext, program: string, ...argv: string[]): void {
  t.diagnostic(`UNION_OPTIONS=writeback ${program} ${argv.join(' ')}`);
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [join(import.meta.dirname, '../union', program), ...argv],
    { encoding: 'utf8', env: { ...process.env, UNION_OPTIONS: 'writeback' } },
  );
  assert.equal(status, 0, stdout + stderr);
}

test('union writeback: random calls return, show and leave on disk what the kernel’s overlay does', {
  timeout: 3_600_000,
}, (t) => {
  if (!requires(t, ...fuse)) return;
  runs(t, 'fuzz.ts', process.env['TSBOX_UNION_SEEDS'] ?? '12', chosenSeed, '150');
});

test('union writeback: every call on every kind of file, many processes at once, kills', {
  timeout: 3_600_000,
}, (t) => {
  if (!requires(t, ...fuse, 'command:gcc')) return;
  runs(t, 'matrix.ts', process.env['TSBOX_UNION_SHARE'] ?? '400', chosenSeed);
  runs(t, 'load.ts', '64', '100', chosenSeed, '0');
  runs(t, 'kills.ts', process.env['TSBOX_UNION_KILLS'] ?? '6', chosenSeed);
});

/** Mounts it with `-o writeback`. */
const MOUNT = `mount_union() { ${UNION} m -o lowerdir=l1:l2,upperdir=u,workdir=w,writeback; }; mount_union`;

test('union writeback: who writes does not wait for the union; what was written is there when the file is closed', (t) => {
  if (!requires(t, ...fuse, 'command:python3')) return;
  passes(
    t,
    `${MOUNT}; pid=$(union_pid); cat > write.py <<'END'
import os, signal, sys
fd = os.open("m/file", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
os.write(fd, b"first\\n")
union = int(sys.argv[1])
waker = os.fork()
if waker == 0:
  signal.signal(signal.SIGALRM, lambda *_: (os.kill(union, signal.SIGCONT), os._exit(9)))
  signal.alarm(30)
  signal.pause()
os.kill(union, signal.SIGSTOP)
for i in range(1000): os.write(fd, b"more\\n")
os.kill(union, signal.SIGCONT)
os.kill(waker, signal.SIGKILL)
assert os.waitpid(waker, 0)[1] == signal.SIGKILL, "it has waited"
os.close(fd)
assert os.path.getsize("u/file") == 5006
END
    python3 write.py $pid; [ "$(stat -c %y m/file)" = "$(stat -c %y u/file)" ]; umount m`,
  );
});

test('union writeback: after syncfs(2), and fsync(2) of its root, the layer has what was written to open files', (t) => {
  if (!requires(t, ...fuse)) return;
  passes(
    t,
    `${MOUNT}; for i in $(seq 40); do head -c 300000 /dev/urandom > m/$i; done
    exec 3<> m/large 4>> m/1; head -c 30000000 /dev/urandom >&3; echo end >&4; sync -f m; sync m
    for i in large 1; do cmp u/$i m/$i; done; exec 3>&- 4>&-; umount m`,
  );
});

test('union writeback: a file capability that was given while data was kept stays; one that was there before does not', (t) => {
  if (!requires(t, ...fuse)) return;
  passes(
    t,
    `${MOUNT}; give() { setfattr -n security.capability -v 0x0100000201000000000000000000000000000000 m/$1; }
    has() { getfattr -n security.capability $1 > /dev/null 2>&1; }
    exec 3> m/late; echo data >&3; give late; exec 3>&-; has m/late; has u/late
    echo data > m/early; give early; echo more >> m/early; ! has m/early; ! has u/early; umount m`,
  );
});

test('union writeback: holes are told of a file that nobody writes to, and of another one that they are not known', (t) => {
  if (!requires(t, ...fuse, 'command:python3')) return;
  passes(
    t,
    `${MOUNT}; truncate -s 1M m/file; echo end >> m/file; cat > seek.py <<'END'
import errno, os
fd = os.open("m/file", os.O_RDONLY)
assert os.lseek(fd, 0, os.SEEK_DATA) == 1 << 20
writer = os.open("m/file", os.O_WRONLY)
os.pwrite(writer, b"data", 0)
try:
  os.lseek(fd, 0, os.SEEK_DATA)
  raise SystemExit("answered")
except OSError as error:
  assert error.errno == errno.EINVAL
os.close(writer)
assert os.lseek(fd, 0, os.SEEK_DATA) == 0 and os.lseek(fd, 0, os.SEEK_HOLE) == 4096
END
    python3 seek.py; echo more >> m/file; cp --sparse=auto m/file m/copy; cmp m/file m/copy; [ "$(stat -c %b u/copy)" -lt 100 ]; umount m`,
  );
});

test('union writeback: a full disk is told when the file is synced or closed', (t) => {
  if (!requires(t, ...fuse)) return;
  passes(
    t,
    `mkdir small; mount -t tmpfs -o size=1m none small; mkdir small/u small/w
    ${UNION} m -o lowerdir=l1:l2,upperdir=small/u,workdir=small/w,writeback
    ! dd if=/dev/zero of=m/file bs=1M count=8 conv=fsync 2> message; grep -q 'No space left' message; umount m; umount --lazy small`,
  );
});

test('union writeback: a removed file of a lower layer has the links that it had, by whatever name', (t) => {
  if (!requires(t, ...fuse)) return;
  const script = `echo x > l2/a; ln l2/a l2/b; echo y > l2/c; echo z > l2/d
    look() { exec 3< m/a 4< m/c 5< m/d; rm m/a m/c; echo n > m/n; mv m/n m/d; stat -L -c %h /proc/self/fd/[345] m/b; rm m/b; stat -L -c %h /proc/self/fd/3; exec 3<&- 4<&- 5<&-; umount m; }`;
  passes(
    t,
    `${script}\n mount_kernel; look > expected; rm -rf u w; mkdir u w; mount_union; look > got; diff expected got
    rm -rf u w; mkdir u w; ${MOUNT}; look > got; diff expected got; rm expected got`,
  );
});

test('union writeback: a removed file of a lower layer that gets an attribute is a copy, without links', (t) => {
  if (!requires(t, ...fuse)) return;
  const look =
    'exec 3< m/a; rm m/a; setfattr -n user.x -v y /proc/self/fd/3; stat -L -c %h /proc/self/fd/3; exec 3<&-; umount m';
  assert.equal(passes(t, `echo x > l2/a; ${MOUNT}; ${look}`), '0\n');
});

test('writeback: a file that is made and written to at once has one mtime, for who looks through the mount and in the layer', (t) => {
  if (!requires(t, ...fuse)) return;
  passes(
    t,
    `${UNION} m -o lowerdir=l1:l2,upperdir=u,workdir=w,writeback
    for i in $(seq 50); do echo x > m/$i; done
    seen=$(cd m; stat -c '%n %y' *); [ "$(cd u; stat -c '%n %y' *)" = "$seen" ]; umount m; [ "$(cd u; stat -c '%n %y' *)" = "$seen" ]`,
  );
});
