/** The union where it is hard: each call on each kind of file, many processes at once, kills, what others have got wrong. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { requires } from '../requires.ts';
import { fuse, passes, UNION } from './union-script.ts';

const chosenSeed = process.env['TSBOX_SEED'] ?? String(1 + (Math.floor(Date.now() / 1000) % 1_000_000));

/** Runs a program of test/union, which says itself what is wrong. */
function runs(t: TestContext, program: string, ...argv: string[]): void {
  runsOn(t, 'tmpfs', program, ...argv);
}

/** @param type file system that the layers lie on */
function runsOn(t: TestContext, type: string, program: string, ...argv: string[]): void {
  t.diagnostic(`FILE_SYSTEM=${type} ${program} ${argv.join(' ')}`);
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [join(import.meta.dirname, '../union', program), ...argv],
    { encoding: 'utf8', env: { ...process.env, FILE_SYSTEM: type } },
  );
  assert.equal(status, 0, stdout + stderr);
  t.diagnostic(stdout.trim());
}

test('union: every call on every kind of file, wherever it lies and whoever asks, does what it does on the kernel’s overlay', {
  timeout: 3_600_000,
}, (t) => {
  if (!requires(t, ...fuse)) return;
  runs(t, 'matrix.ts', process.env['TSBOX_UNION_SHARE'] ?? '400', chosenSeed);
});

test('union: many processes at once get what they get from the kernel’s overlay, and leave no memory and no descriptor behind', {
  timeout: 3_600_000,
}, (t) => {
  if (!requires(t, ...fuse, 'command:gcc')) return;
  const [processes, calls, seconds] = (process.env['TSBOX_UNION_LOAD'] ?? '64 100 0').split(' ') as [
    string,
    string,
    string,
  ];
  runs(t, 'load.ts', processes, calls, chosenSeed, seconds);
});

test('union: whatever is killed, the kernel’s overlay finds every file whole, and what was synced', {
  timeout: 3_600_000,
}, (t) => {
  if (!requires(t, ...fuse, 'command:gcc')) return;
  runs(t, 'kills.ts', process.env['TSBOX_UNION_KILLS'] ?? '6', chosenSeed);
});

for (const type of process.env['TSBOX_UNION_NAMES'] === undefined ? ['ext4'] : ['ext4', 'tmpfs']) {
  test(`union: direct I/O, holes, 10 GB, mappings, fallocate, copies and a large directory on ${type} are the kernel’s overlay’s`, {
    timeout: 3_600_000,
  }, (t) => {
    if (!requires(t, ...fuse, 'fuse-passthrough', 'command:gcc', 'command:mkfs.ext4')) return;
    runsOn(t, type, 'data.ts', process.env['TSBOX_UNION_NAMES'] ?? '2000');
  });
}

test('union: no place in a file is too far', (t) => {
  if (!requires(t, ...fuse, 'fuse-passthrough', 'command:gcc')) return;
  runsOn(t, 'tmpfs', 'data.ts', '10', 'far');
  passes(
    t,
    `truncate -s 9007199254740997 l2/far; echo end >> l2/far; truncate -r l2/far l2/other; mount_union
    [ "$(stat -c %s m/far)" = 9007199254741001 ]; [ "$(tail -c 4 m/far)" = end ]; ! chmod 600 m/far 2> message; grep -q 'File too large' message
    echo new > m/other; [ "$(cat m/other)" = new ]; rm m/far; [ "$(ls m)" = other ]; umount m`,
  );
});

test('union: a file that is opened by its last name is the one that is open by a removed name', (t) => {
  if (!requires(t, ...fuse)) return;
  passes(
    t,
    `echo one > u/a; ln u/a u/b; mount_union
    exec 3<> m/a; rm m/a; [ "$(cat m/b)" = one ]; echo two >&3; [ "$(cat m/b)" = two ]; [ "$(stat -c %i m/b)" = "$(stat -L -c %i /proc/self/fd/3)" ]
    exec 3>&-; umount m`,
  );
});

test('union: a name that is too long is refused, however often the directory was asked for what it has not', (t) => {
  if (!requires(t, ...fuse)) return;
  passes(
    t,
    `mkdir l2/d; mount_union; for i in $(seq 20); do [ ! -e m/d/$i ]; done
    ! cat m/d/$(printf 'n%.0s' $(seq 256)) 2> message; grep -q 'File name too long' message; umount m`,
  );
});

test('union: reading leaves no trace in a lower layer', (t) => {
  if (!requires(t, ...fuse)) return;
  passes(
    t,
    `mkdir l2/d; echo x > l2/d/file; ln -s file l2/d/link; touch -h -d @1000000000 l2/d/* l2/d
    mount_union; cat m/d/link; ls m/d; umount m; [ "$(stat -c %X l2/d l2/d/file l2/d/link | sort -u)" = 1000000000 ]`,
  );
});

test('union: the inode number of a copy is the original’s, by each of its names and after another mount; of a broken hard link its own', (t) => {
  if (!requires(t, ...fuse)) return;
  passes(
    t,
    `echo x > l2/one; echo y > l2/a; ln l2/a l2/b; number() { stat -c %i m/$1; }
    mount_union; one=$(number one); a=$(number a); chmod 600 m/one; ln m/one m/other; chmod 600 m/a
    check() { [ "$(number one) $(number other) $(number b)" = "$one $one $a" ]; [ "$(number a)" != $a ]; }
    check; broken=$(number a); umount m
    mount_union; check; [ "$(number a)" = $broken ]; umount m; mount_kernel; check; umount m`,
  );
});

test('union: with layers on several file systems a copy’s inode number stays the original’s after another mount, too', (t) => {
  if (!requires(t, ...fuse)) return;
  passes(
    t,
    `for layer in l1 l2; do mount -t tmpfs none $layer; done; mkdir l1/d l2/d; echo 1 > l1/d/1; echo 2 > l2/d/2; ln -s x l2/d/3
    numbers() { stat -c %i m/d/1 m/d/2 m/d/3 m/two m/three | xargs; }
    mount_union; set -- $(stat -c %i m/d/*); chmod 600 m/d/1 m/d/2; chown -h 1:1 m/d/3; ln m/d/2 m/two; ln m/d/3 m/three
    [ "$(numbers)" = "$1 $2 $3 $2 $3" ]; umount m; mount_union; [ "$(numbers)" = "$1 $2 $3 $2 $3" ]; umount m; umount l1 l2`,
  );
});

for (const type of ['xfs', 'btrfs']) {
  test(`union: on ${type} a copy’s inode number stays the original’s, also when the kernel has forgotten it and after another mount`, (t) => {
    if (!requires(t, ...fuse, `command:mkfs.${type}`, `filesystem:${type}`)) return;
    passes(
      t,
      `for disk in one other; do truncate -s 320M $disk.img; mkfs.${type} -q $disk.img 2> /dev/null; mkdir $disk; mount -o loop $disk.img $disk; done
      trap 'umount --lazy m 2> /dev/null || true; umount one other' EXIT
      rmdir l1 l2 u w; for layer in one/l1 one/u one/w other/l2; do mkdir $layer; ln -s $layer .; done
      mkdir l1/d l2/d; echo 1 > l1/d/1; echo 2 > l2/d/2; ln -s x l2/d/3
      mount_union; set -- $(stat -c %i m/d/*); chmod 600 m/d/1 m/d/2; chown -h 1:1 m/d/3
      check() { [ "$(stat -c %i m/d/* | xargs)" = "$*" ]; }
      check $*; mount -i -o remount m; check $*; umount m; mount_union; check $*; umount m`,
    );
  });
}

test('union: of an origin’s handle the inode number is taken where its form is known, and not where others have other numbers there', (t) => {
  if (!requires(t, ...fuse, 'command:setfattr')) return;
  passes(
    t,
    `mkdir u/d; touch u/d/btrfs u/d/xfs; setfattr -n trusted.overlay.impure -v y u/d; zeros=00000000000000000000000000000000
    setfattr -n trusted.overlay.origin -v 0x00fb29004d\${zeros}4544332211000000050000000000000001000000 u/d/btrfs
    setfattr -n trusted.overlay.origin -v 0x00fb210081\${zeros}454433221100000001000000 u/d/xfs
    own=$(stat -c %i u/d/xfs); mount_union; [ "$(stat -c %i m/d/btrfs m/d/xfs | xargs)" = "$((0x1122334445)) $own" ]; umount m`,
  );
});

test('union: in each directory that a copy comes into, or goes to, its inode number stays the original’s', (t) => {
  if (!requires(t, ...fuse)) return;
  passes(
    t,
    `mkdir -p l2/here u/linked u/moved u/swapped u/none; for i in 1 2 3 4; do echo $i > l2/here/$i; done; echo own | tee u/swapped/own > u/none/own
    mount_union
    ls -l m/* > /dev/null; set -- $(stat -c %i m/here/1 m/here/2 m/here/3 m/here/4)
    chmod 600 m/here/*; ln m/here/2 m/linked/2; mv m/here/3 m/moved/3; mv m/here/4 m/swapped/own
    check() { [ "$(stat -c %i m/here/1 m/linked/2 m/moved/3 m/swapped/own | xargs)" = "$*" ]; ls -i m/linked m/moved | grep -q "$2 2"; }
    check $*; umount m; mount_union; check $*; umount m; mount_kernel; check $*; umount m
    for directory in here linked moved swapped; do getfattr -n trusted.overlay.impure u/$directory > /dev/null; done
    ! getfattr -n trusted.overlay.impure u/none 2> /dev/null`,
  );
});

test('union: what a copy-up changes of a directory is seen at once', (t) => {
  if (!requires(t, ...fuse)) return;
  passes(
    t,
    `mkdir -p l2/d/sub; echo x > l2/d/file; mount_union; before=$(stat -c '%h %z' m/d m/d/file); sleep 0.01; chmod 600 m/d/file
    [ "$(stat -c %h m/d)" = 1 ]; for file in d d/file; do case $before in *"$(stat -c %z m/$file)"*) exit 9;; esac; done; umount m`,
  );
});

test('union: a tree of 6,000 directories one in the other is read, copied up and removed', (t) => {
  if (!requires(t, ...fuse, 'command:perl')) return;
  passes(
    t,
    `cat > deep.pl <<'END'
use strict; use Fcntl;
sub down { chdir shift or die "chdir: $!"; for (1 .. 6000) { mkdir 'a' if $_[0]; chdir 'a' or die "chdir: $!" } }
opendir my $here, '.' or die;
down('l2', 1); open my $file, '>', 'file' or die; print $file "bottom\\n"; close $file;
chdir $here; system('bash', 'mount.sh') == 0 or die;
opendir my $top, 'm' or die; down('m/', 0); opendir my $deep, '.' or die;
chdir $top; for (1 .. 1500) { mkdir "w$_" or die; open my $f, '>', "w$_/f" or die }
chdir $deep; open $file, '<', 'file' or die "open: $!"; <$file> eq "bottom\\n" or die; close $file;
chdir $top; opendir my $d, "w$_" or die for 1 .. 1500;
chdir $deep; open $file, '>>', 'file' or die "copy up: $!"; close $file; rename 'file', 'moved' or die; mkdir 'new' or die;
-e 'moved' && -d 'new' && !-e 'file' or die; -e "$_" and die for 'w1', 'w1500';
END
    declare -f mount_union > mount.sh; echo mount_union >> mount.sh
    perl deep.pl; umount m`,
  );
});

test('union: set-group-ID of a file that nobody may run as its group goes when somebody from outside of the group writes', (t) => {
  if (!requires(t, ...fuse)) return;
  passes(
    t,
    `for name in a b; do echo x > l2/$name; chown 1000:3000 l2/$name; chmod 2666 l2/$name; done; mount_union
    setpriv --reuid 2000 --regid 2000 --groups 3000 sh -c 'echo more >> m/a'; [ "$(stat -c %a m/a)" = 2666 ]
    setpriv --reuid 2000 --regid 2000 --clear-groups sh -c 'echo more >> m/b'; [ "$(stat -c %a m/b)" = 666 ]; umount m`,
  );
});

test('union: to remove an access list that is only the permissions is no error, and ends set-group-ID of a foreign group', (t) => {
  if (!requires(t, ...fuse, 'command:setfattr')) return;
  const script = (mounted: string) => `
    for d in l2/below u/above; do mkdir $d; chown 1234:0 $d; chmod 2750 $d; done
    ${mounted}
    for d in below above; do setpriv --reuid 1234 --regid 1234 --clear-groups setfattr -x system.posix_acl_access m/$d; done
    stat -c '%A' m/below m/above u/below u/above
    umount m`;
  const ofKernel = passes(t, script('mount_kernel'));
  assert.equal(passes(t, script('mount_union')), ofKernel);
  assert.equal(ofKernel, 'drwxr-x---\n'.repeat(4));
});

test('union: 100,000 files that the kernel knows take 60 MB of memory at most', (t) => {
  if (!requires(t, ...fuse)) return;
  const out = passes(
    t,
    `for d in $(seq 100); do mkdir l2/$d; (cd l2/$d; seq -f 'a file %g' 1000 | xargs -d '\\n' touch); done
    mount_union; pid=$(union_pid)
    [ "$(find m -type f -size 0 | wc -l)" = 100000 ]
    grep VmRSS: /proc/$pid/status; umount m`,
  );
  const [, kilobytes] = /^VmRSS:\s+(\d+) kB$/m.exec(out) ?? [];
  t.diagnostic(`${kilobytes} kB`);
  assert.ok(Number(kilobytes) <= 60_000, out);
});

test('union: large parts of a file are read without a copy, wherever they begin, to the end of the file and not behind it', (t) => {
  if (!requires(t, ...fuse, 'command:python3')) return;
  passes(
    t,
    `head -c 5000123 /dev/urandom > l1/lower; head -c 5000123 /dev/urandom > u/upper
    ${UNION} m -o lowerdir=l1:l2,upperdir=u,workdir=w,writeback; pid=$(union_pid)
    pipes() { ls -l /proc/$pid/fd | grep -c pipe: ; }; before=$(pipes); cat > read.py <<'END'
import mmap, os, random, sys
room = mmap.mmap(-1, 2 << 20)
for layer, name in ("l1", "lower"), ("u", "upper"):
  below = os.open(layer + "/" + name, os.O_RDONLY)
  cached = os.open("m/" + name, os.O_RDONLY)
  direct = os.open("m/" + name, os.O_RDONLY | os.O_DIRECT)
  for turn in range(300):
    at = random.choice([0, 1, 4095, 65536, 4999999, 5000122, 5000123, 6000000, 1 << 40, random.randrange(5000123)])
    size = random.choice([1, 4096, 65535, 65536, 65537, 131072, 1040384, 1040385, 1 << 20, 2 << 20])
    shift = random.choice([0, 0, 1, 4095])
    for fd in direct, cached:
      got = os.preadv(fd, [memoryview(room)[shift:min(shift + size, len(room))]], at)
      assert room[shift:shift + got] == os.pread(below, got, at), (name, at, size, shift)
      assert got == max(0, min(size, len(room) - shift, 5000123 - at)), (name, at, size, shift, got)
END
    python3 read.py; after=$(pipes); umount m; [ $((after - before)) = 2 ]`,
  );
});

test('union: what the kernel keeps of a listing goes when an entry has another inode number', (t) => {
  if (!requires(t, ...fuse, 'command:python3')) return;
  passes(
    t,
    `mkdir l1/d u/top u/other u/top/inner; echo x > l1/d/a; ln l1/d/a l1/d/b; echo y > l1/d/c; mount_union; cat > listed.py <<'END'
import ctypes, os
class Dirent(ctypes.Structure):
  _fields_ = [("ino", ctypes.c_uint64), ("off", ctypes.c_int64), ("length", ctypes.c_uint16), ("type", ctypes.c_ubyte), ("name", ctypes.c_char * 256)]
libc = ctypes.CDLL(None)
libc.opendir.restype = ctypes.c_void_p
libc.readdir.argtypes = libc.closedir.argtypes = [ctypes.c_void_p]
libc.readdir.restype = ctypes.POINTER(Dirent)
def listed(path):
  directory, numbers = libc.opendir(path.encode()), {}
  while entry := libc.readdir(directory): numbers[entry.contents.name.decode()] = entry.contents.ino
  libc.closedir(directory)
  return numbers
def check(path):
  shown = {name: os.lstat(path + "/" + name).st_ino for name in listed(path)}
  assert listed(path) == shown, (path, listed(path), shown)
for _ in range(2): [check(path) for path in ("m/d", "m/top/inner", "m/other")]
before = listed("m/d")
for name in "ac": open("m/d/" + name, "a").write("more")
check("m/d")
assert listed("m/d")["a"] != before["a"] and listed("m/d")["c"] == before["c"]
os.rename("m/top/inner", "m/other/inner")
[check(path) for path in ("m/other/inner", "m/top", "m/other")]
os.unlink("m/d/b"); open("m/d/new", "w").close()
check("m/d")
assert sorted(listed("m/d")) == [".", "..", "a", "c", "new"]
END
    python3 listed.py; umount m`,
  );
});

test('union: ten who read a large directory, each a part at a time, get every name that stays once; then the kernel knows it', (t) => {
  if (!requires(t, ...fuse, 'command:python3')) return;
  passes(
    t,
    `mkdir l1/d u/d; touch $(seq -f l1/d/lower%g 3000) $(seq -f u/d/upper%g 3000); mount_union
    pid=$(union_pid); cat > read.py <<'END'
import os, signal, sys
readers = [os.scandir("m/d") for _ in range(10)]
seen = [[] for _ in readers]
turn = 0
while readers[0]:
  for index, reader in enumerate(readers):
    for _ in range(700):
      entry = next(reader, None)
      if entry is None: break
      seen[index].append(entry.name)
  if entry is None: break
  for name in ("lower", "upper"): os.unlink("m/d/%s%d" % (name, turn + 1))
  open("m/d/new%d" % turn, "w").close()
  turn += 1
for names in seen:
  assert len(names) == len(set(names)), "twice"
  for name in ("lower", "upper"): assert {"%s%d" % (name, number) for number in range(turn + 1, 3001)} <= set(names), "missing"
now = [sorted(os.listdir("m/d")) for _ in range(2)][1]
os.kill(int(sys.argv[1]), signal.SIGSTOP)
try:
  signal.alarm(20)
  assert sorted(os.listdir("m/d")) == now
finally: os.kill(int(sys.argv[1]), signal.SIGCONT)
END
    python3 read.py $pid; umount m`,
  );
});
