/** The union from user space: as the kernel's overlay in what it shows and leaves, and as a mount helper in how it is called. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import test from 'node:test';
import { requires } from '../requires.ts';
import { fuse, inNamespace, passes, REPOSITORY, UNION } from './union-script.ts';

test('union: random calls return, show and leave on disk what the kernel’s overlay does', {
  timeout: 3_600_000,
}, (t) => {
  if (!requires(t, ...fuse)) return;
  const seeds = process.env['TSBOX_UNION_SEEDS'] ?? '12';
  const first = process.env['TSBOX_SEED'] ?? String(1 + (Math.floor(Date.now() / 1000) % 1_000_000));
  t.diagnostic(`TSBOX_SEED=${first} TSBOX_UNION_SEEDS=${seeds}`);
  fuzz(seeds, first, 'tmpfs');
});

function fuzz(seeds: string, first: string, type: string): void {
  const result = spawnSync(process.execPath, [join(import.meta.dirname, '../union/fuzz.ts'), seeds, first, '150'], {
    encoding: 'utf8',
    env: { ...process.env, FILE_SYSTEM: type },
  });
  assert.equal(result.status, 0, result.stdout + result.stderr);
}

test('union: random calls with all its layers on an overlay, where the kernel’s would refuse them', {
  timeout: 3_600_000,
}, (t) => {
  if (!requires(t, ...fuse)) return;
  const seeds = String(Math.ceil(Number(process.env['TSBOX_UNION_SEEDS'] ?? '12') / 3));
  const first = process.env['TSBOX_SEED'] ?? String(1 + (Math.floor(Date.now() / 1000) % 1_000_000));
  t.diagnostic(`TSBOX_SEED=${first} of ${seeds} seeds`);
  fuzz(seeds, first, 'overlay');
});

test('union: a mount helper: live when it returns, silent about options of others, gone with the mount', (t) => {
  if (!requires(t, ...fuse)) return;
  const out = passes(
    t,
    `echo hello > l2/file
    ${UNION} some-name m -o rw,dev,suid,lowerdir=l1:l2,upperdir=u,workdir=w,context=x,volatile
    cat m/file; findmnt -n -o FSTYPE,SOURCE,OPTIONS m
    umount m; for i in $(seq 300); do pgrep -f "[u]nion.js some-name" > /dev/null || exit 0; sleep 0.1; done; exit 9`,
  );
  assert.match(out, /^hello\nfuse\.tsbox-union\s+some-name\s+rw,/);
});

test('union: what its layers lie on can be unmounted, as under the kernel’s overlay, wherever it was mounted from', (t) => {
  if (!requires(t, ...fuse)) return;
  const script = (
    mountIt: string,
  ): string => `mkdir low up; mount -t tmpfs low low; mount -t tmpfs up up; mkdir up/u up/w
    echo below > low/file; cd up; ${mountIt} ../m -o lowerdir=../low,upperdir=u,workdir=w; cd ..
    umount up; umount low; cat m/file; echo more >> m/file; echo new > m/new; cat m/file m/new; umount m`;
  const expected = 'below\nbelow\nmore\nnew\n';
  assert.equal(passes(t, script('mount -t overlay overlay')), expected);
  assert.equal(passes(t, script(UNION)), expected);
});

test('union: a program that runs is not emptied by an open that is refused', (t) => {
  if (!requires(t, ...fuse)) return;
  passes(
    t,
    `cp /bin/sleep l2/below; mount_union; cp /bin/sleep m/above
    empty() { perl -MFcntl -e 'sysopen(F, $ARGV[0], O_RDONLY | O_TRUNC) or print($!{ETXTBSY} ? "busy" : $!)' $1; }
    for name in below above; do
      m/$name 60 & for i in $(seq 300); do [ /proc/$!/exe -ef m/$name ] && break; sleep 0.1; done; [ "$(empty m/$name)" = busy ]; cmp m/$name /bin/sleep
      kill $!; wait $! || true; [ -z "$(empty m/$name)" ]; [ ! -s m/$name ]
    done; umount m`,
  );
});

test('union: what it cannot do is said before anything is mounted', (t) => {
  if (!requires(t, ...fuse)) return;
  const say = (script: string): string => inNamespace(t, `${script} 2>&1 && exit 77; exit 0`).stdout;
  assert.match(say(`${UNION} m -o upperdir=u,workdir=w`), /lowerdir= is missing/);
  assert.match(say(`${UNION} m -o lowerdir=l1,upperdir=u`), /upperdir= and workdir= go together/);
  assert.match(say(`${UNION} m -o lowerdir=none`), /lowerdir: open none: ENOENT/);
  const inEachOther = `mkdir -p u/work u/w; touch u/work/kept; trap 'ls u/work' EXIT; ${UNION} m -o lowerdir=l1,upperdir=u,workdir=`;
  for (const work of ['u', 'u/w', '.']) assert.match(say(`${inEachOther}${work}`), /one is in the other.*\nkept\n/s);
  const binds = 'mkdir u2 w2; mount --bind u u2; mount --bind w w2';
  assert.match(say(`${binds}; ${UNION} m -o lowerdir=l1,upperdir=u2,workdir=w2`), /are on different mounts/);
  assert.match(say(`${UNION} m -o lowerdir=l1,upperdir=u,workdir=none`), /workdir: open none: ENOENT/);
  assert.match(say(`${UNION}`), /one directory to mount on is wanted/);
});

test('union: a container’s layer goes from the kernel’s mount to the union and back', (t) => {
  if (!requires(t, ...fuse)) return;
  passes(
    t,
    `mkdir -p l2/d/sub l1/d; echo one > l2/d/one; echo two > l2/d/two; echo three > l1/d/three
    mount_kernel; rm m/d/one; echo changed > m/d/two; rm -r m/d/sub; mkdir m/d/sub; umount m
    mount_union; [ "$(ls m/d)" = "$(printf 'sub\\nthree\\ntwo')" ]; [ "$(cat m/d/two)" = changed ]; [ -z "$(ls -A m/d/sub)" ]
    rm -r m/d; mkdir m/d; echo new > m/d/new; umount m
    mount_kernel; [ "$(ls -A m/d)" = new ]; umount m`,
  );
});

/** Goes on with the layers on an overlay. */
const onOverlay = (): string => `mkdir b; mount -t tmpfs none b; mkdir b/u b/w b/m
    mount -t overlay overlay b/m -o lowerdir=.,upperdir=b/u,workdir=b/w; cd b/m`;

test('union: on an overlay whiteouts are files, which the kernel understands in a layer below', (t) => {
  if (!requires(t, ...fuse)) return;
  passes(
    t,
    `mkdir -p l2/d/sub l2/e l2/gone/deep; for f in l2/top l2/d/one l2/d/two l2/d/sub/x l2/e/f l2/gone/g; do echo low > $f; done
    ${onOverlay()}
    ! mknod w/whiteout c 0 0 2> /dev/null; ! mount_kernel 2> /dev/null
    mount_union
    rm m/top; rm -r m/gone; mv m/d/one m/d/new; mv m/e/f m/d/two; rm -r m/d/sub; mkdir m/d/sub
    look() { find $1 -mindepth 1 ! -type d -printf '%P %s\\n' -o -printf '%P\\n' | sort; find $1 -type f -exec cat {} +; }
    look m > ../seen; umount m; mount_union; look m | diff ../seen -; umount m
    [ "$(stat -c '%F %a' u/top)" = 'regular empty file 600' ]; [ "$(getfattr --only-values -n trusted.overlay.opaque u)" = x ]
    [ "$(getfattr --only-values -n trusted.overlay.opaque u/d/sub)" = y ]
    cd ..; mkdir k; cp -a m/u m/l2 k; mkdir k/m; cd k; mount -t overlay overlay m -o lowerdir=u:l2; look m | diff ../seen -; umount m`,
  );
});

test('union: on an overlay a directory that was made over another one can be renamed, and hides both names', (t) => {
  if (!requires(t, ...fuse)) return;
  passes(
    t,
    `mkdir -p l2/d l2/e; echo low > l2/d/f; echo low > l2/e/f; ${onOverlay()}
    mount_union; rm -r m/d m/e; mkdir m/d; echo new > m/d/new; mv m/d m/other; [ ! -e m/d ]; [ "$(ls m m/other | tr '\\n' ' ')" = 'm: other  m/other: new ' ]
    mkdir m/d m/e; mv -T m/other m/e; mv -T m/e m/d; [ "$(find m | sort | tr '\\n' ' ')" = 'm m/d m/d/new ' ]; umount m
    mount_union; [ "$(find m | sort | tr '\\n' ' ')" = 'm m/d m/d/new ' ]; umount m; [ -z "$(ls -A w/work)" ]`,
  );
});

test('union: a directory with whiteouts that comes among merged ones shows none of them', (t) => {
  if (!requires(t, ...fuse)) return;
  passes(
    t,
    `mkdir -p l2/p u/alone; echo low > l2/p/f; : > u/alone/hidden; setfattr -n trusted.overlay.whiteout -v y u/alone/hidden
    setfattr -n trusted.overlay.opaque -v x u/alone
    mount_union; [ -z "$(ls -A m/alone)" ]; mv m/alone m/p/alone; [ -z "$(ls -A m/p/alone)" ]; umount m; mount_union; [ -z "$(ls -A m/p/alone)" ]
    rmdir m/p/alone; umount m`,
  );
});

test('union: a file is a whiteout in every layer by its attribute alone, as the kernel looks names up', (t) => {
  if (!requires(t, ...fuse)) return;
  passes(
    t,
    `for f in a b c d e; do echo low > l2/$f; done
    for f in l1/a u/b l1/d; do : > $f; setfattr -n trusted.overlay.whiteout -v '' $f; done
    : > l1/c; echo full > u/d; setfattr -n trusted.overlay.whiteout -v y u/d; : > u/e; setfattr -n trusted.overlay.overlay.whiteout -v y u/e
    names() { for f in a b c d e; do [ -e m/$f ] && echo $f; done | tr -d '\\n'; }
    mount_kernel; [ "$(names)" = cde ]; umount m; mount_union; [ "$(names)" = cde ]; : > m/b; [ -e m/b ]; [ "$(cat m/d)" = full ]; umount m`,
  );
});

test('union: a redirect of another mount is followed', (t) => {
  if (!requires(t, ...fuse)) return;
  passes(
    t,
    `mkdir -p l2/old/deep; echo low > l2/old/deep/file
    mount -t overlay overlay m -o lowerdir=l1:l2,upperdir=u,workdir=w,redirect_dir=on
    mv m/old m/new; mkdir m/other; mv m/new/deep m/other/moved; umount m
    mount_union; [ "$(cat m/other/moved/file)" = low ]; [ -z "$(ls -A m/new)" ]; [ ! -e m/old ]
    echo more >> m/other/moved/file; [ "$(wc -l < m/other/moved/file)" = 2 ]; umount m`,
  );
});

test('union: paths longer than PATH_MAX, names of 255 bytes, 10,000 names in a directory, 127 lower layers', (t) => {
  if (!requires(t, ...fuse)) return;
  passes(
    t,
    `name=$(printf 'n%.0s' $(seq 255))
    mount_union
    (cd m; for i in $(seq 20); do mkdir $name; cd -P ./$name 2> /dev/null || cd ./$name; done; echo deep > file; [ "$(cat file)" = deep ])
    mkdir m/many; (cd m/many; seq 10000 | xargs touch; [ "$(ls | wc -l)" = 10000 ]; ls -U | head -n 5000 | xargs rm; [ "$(ls | wc -l)" = 5000 ])
    umount m
    lower=; for i in $(seq 127); do mkdir -p n/$i/d; echo $i > n/$i/d/f$i; lower=$lower:n/$i; done
    ${UNION} m -o lowerdir=\${lower#:},upperdir=u,workdir=w; [ "$(ls m/d | wc -l)" = 127 ]; [ "$(cat m/d/f127)" = 127 ]; umount m`,
  );
});

test('union: copy-up keeps holes, times, owners, attributes and the inode number; a removed file that is open stays', (t) => {
  if (!requires(t, ...fuse)) return;
  passes(
    t,
    `truncate -s 10G l2/sparse; echo end >> l2/sparse; chown 12:34 l2/sparse; chmod 2751 l2/sparse
    setfattr -n user.key -v value l2/sparse; touch -d @1000000000 l2/sparse
    mount_union; before=$(stat -c '%i' m/sparse); chmod o-x m/sparse
    [ "$(stat -c '%i %u:%g %a %Y %s' m/sparse)" = "$before 12:34 2750 1000000000 10737418244" ]
    [ "$(stat -c %b u/sparse)" -lt 100 ]; [ "$(getfattr --only-values -n user.key m/sparse)" = value ]
    [ "$(ls -i m | awk '{ print $1 }')" = "$before" ]
    exec 3<> m/sparse; rm m/sparse; echo x >&3; [ "$(stat -L -c '%h' /proc/self/fd/3)" = 0 ]; exec 3>&-
    [ "$(stat -c '%F %t:%T' u/sparse)" = 'character special file 0:0' ]; umount m
    mount_union; [ ! -e m/sparse ]; umount m`,
  );
});

test('union: a removed file of a lower layer that is open can be changed, and leaves nothing', (t) => {
  if (!requires(t, ...fuse)) return;
  passes(
    t,
    `echo low > l2/file; mkfifo l2/fifo; mount_union
    exec 3< m/file 4<> m/fifo; rm m/file m/fifo; chmod 600 /proc/self/fd/3 /proc/self/fd/4; chown 5:6 /proc/self/fd/3
    [ "$(stat -L -c '%a %u:%g %h' /proc/self/fd/3)" = '600 5:6 0' ]; [ "$(stat -L -c '%a %h' /proc/self/fd/4)" = '600 0' ]
    echo new > /proc/self/fd/3; [ "$(cat <&3)" = new ]; [ "$(cat l2/file)" = low ]
    [ -z "$(ls -A m)" ]; [ -z "$(ls -A w/work)" ]; exec 3<&- 4<&-; umount m; mount_union; [ -z "$(ls -A m)" ]; umount m`,
  );
});

test('union: names that come into a directory whose names are known are there', (t) => {
  if (!requires(t, ...fuse)) return;
  passes(
    t,
    `mkdir l2/d u/d; echo low > l2/d/low; echo other > l2/other; mount_union; cd m/d
    for i in $(seq 20); do [ ! -e none$i ]; done
    LC_ALL=C stat $(printf 'n%.0s' $(seq 256)) 2>&1 | grep -q 'File name too long'
    rm low; [ ! -e low ]; echo new > low; [ "$(cat low)" = new ]; mv ../other none1; ln none1 none2; mkdir none3; echo 4 > none3/4
    cd ../..; umount m; mount_union; [ "$(ls m/d)" = "$(printf 'low\nnone1\nnone2\nnone3')" ]; [ "$(cat m/d/none1 m/d/none2 m/d/none3/4 | tr -d '\n')" = otherother4 ]
    umount m`,
  );
});

test('union: as root the kernel reads and writes a file of the upper layer by itself', (t) => {
  if (!requires(t, ...fuse, 'fuse-passthrough')) return;
  passes(
    t,
    `head -c 300000 /dev/urandom > u/file; echo low > l2/low; mount_union; pid=$(union_pid)
    (sleep 30; kill -CONT $pid) > /dev/null 2>&1 & waker=$!
    exec 3< m/file 4< m/low; cat m/low > /dev/null # the first close asks whether to ask for it
    kill -STOP $pid; sum=$(timeout 20 cat <&3 | cksum); kill -CONT $pid; kill $waker; [ "$sum" = "$(cksum < u/file)" ]
    echo more >> m/low; [ "$(cat <&4)" = "$(printf 'low\nmore')" ]; exec 3<&- 4<&-; echo yet >> m/low; [ "$(wc -l < m/low)" = 3 ]; umount m`,
  );
});

test('union: told to end, it takes its mount away, when nobody has anything open', (t) => {
  if (!requires(t, ...fuse)) return;
  passes(
    t,
    `echo x > l1/file; mount_union; pid=$(union_pid)
    exec 3< m/file; kill -TERM $pid; for i in $(seq 300); do [ -z "$(ls m)" ] && break; sleep 0.1; done; [ -z "$(ls m)" ]; [ "$(cat <&3)" = x ]; exec 3<&-
    for i in $(seq 300); do kill -0 $pid 2> /dev/null || exit 0; sleep 0.1; done; exit 9`,
  );
});

test('union: read-only without an upper directory', (t) => {
  if (!requires(t, ...fuse)) return;
  passes(
    t,
    `echo a > l1/a; echo b > l2/b; ${UNION} m -o lowerdir=l1:l2
    [ "$(cat m/a m/b | tr -d '\\n')" = ab ]; ! touch m/c 2> message; grep -q 'Read-only file system' message; ! rm m/a 2> /dev/null; umount m`,
  );
});

test('union: another user makes files of its own, and does no more than the directory allows', (t) => {
  if (!requires(t, ...fuse)) return;
  passes(
    t,
    `mkdir -m 1777 l2/tmp; mkdir -m 755 l2/root; mkdir -m 2775 l2/shared; chown 0:1000 l2/shared; echo x > l2/tmp/roots
    setfacl -d -m u:1001:rwx l2/tmp 2> /dev/null || true
    mount_union
    as() { setpriv --reuid 1000 --regid 1000 --clear-groups "$@"; }
    as sh -c 'umask 027; echo mine > m/tmp/mine; mkdir m/shared/dir; ln -s x m/tmp/link'
    [ "$(stat -c '%u:%g' m/tmp/mine m/tmp/link | sort -u)" = 1000:1000 ]; [ "$(stat -c '%u:%g %A' m/shared/dir)" = '1000:1000 drwxr-s---' ]
    ! as touch m/root/file 2> /dev/null; ! as rm -f m/tmp/roots 2> /dev/null; ! as chmod 777 m/tmp/roots 2> /dev/null
    echo '#!/bin/true' > m/tmp/suid; chown 1000 m/tmp/suid; chmod 6755 m/tmp/suid; as sh -c 'echo more >> m/tmp/suid'; [ "$(stat -c %a m/tmp/suid)" = 755 ]
    umount m`,
  );
});

test('union: git, tar and a shell script at work', { timeout: 120_000 }, (t) => {
  if (!requires(t, ...fuse, 'command:git')) return;
  passes(
    t,
    `cp -r ${REPOSITORY}/src l2/src
    mount_union; cd m; export HOME=$PWD
    git init -q src; cd src; git config user.email a@b; git config user.name n; git add -A; git commit -qm one
    for f in *.ts; do echo "// more" >> $f; done; git commit -qam two; git checkout -q HEAD~1; git status --porcelain | wc -l | grep -qx 0
    cd ..; git clone -q src copy; diff -r --exclude=.git src copy; tar -cf - src | tar -xf - -C copy; diff -r src copy/src; rm -rf src copy; [ "$(ls -A)" = '' ]
    cd ..; umount m`,
  );
});
