/** tsbox-union for who is not root: mounted by fusermount3, or in a user namespace of his. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { type Requirement, requires } from '../requires.ts';
import { REPOSITORY } from '../system/harness.ts';
import { type User, user } from './user.ts';

const UNION = join(REPOSITORY, 'bin/tsbox-union');
const NEEDS = ['root', 'file:/dev/fuse', 'command:useradd', 'command:newuidmap', 'command:fusermount3'] as const;
const needs = (t: TestContext, ...more: Requirement[]) => requires(t, ...NEEDS, ...more);

/** Lower directories, an upper one, and what the scripts use. */
const PRELUDE = `set -eu; cd; mkdir l1 l2 u w m
  mount_union() { ${UNION} m -o lowerdir=l1:l2,upperdir=u,workdir=w; }
  wait_for() { for i in $(seq 200); do if "$@"; then return; fi; sleep 0.05; done; echo "waited for $*" >&2; exit 9; }`;

/** Runs a script as the user in a mount namespace where /dev/fuse is everybody's, as udev has it. */
function run(he: User, script: string, { before = '', how = '' } = {}): { status: number | null; said: string } {
  const device = `${he.directory}/fuse`;
  const asRoot = `mknod ${device} c 10 229; chmod 666 ${device}; mount --bind ${device} /dev/fuse\n${before}`;
  const become = `exec setpriv --reuid ${he.uid} --regid ${he.gid} --clear-groups ${how} bash -c "$0"`;
  const { status, stdout, stderr } = spawnSync(
    'unshare',
    ['-m', 'sh', '-c', `set -e; ${asRoot}\n${become}`, `${PRELUDE}\n${script}`],
    {
      env: he.env,
      cwd: '/',
      encoding: 'utf8',
      timeout: 60_000,
    },
  );
  return { status, said: stdout + stderr };
}

function passes(...args: Parameters<typeof run>): void {
  const { status, said } = run(...args);
  assert.equal(status, 0, said);
}

test('union: an ordinary user mounts by fusermount3, and told to end it unmounts', (t) => {
  if (!needs(t)) return;
  passes(
    user(t),
    `
    mkdir l2/d; for f in f d/x d/y; do echo low > l2/$f; done; ln -s f l2/link; mount_union
    [ "$(findmnt -n -o FSTYPE,SOURCE m)" = 'fuse.tsbox-union tsbox-union' ]
    rm m/d/x m/link; echo more >> m/f; mv m/d/y m/d/z; [ "$(ls m/d)" = z ]; rm -r m/d; mkdir m/d; [ -z "$(ls m/d)" ]
    ! chown 0 m/f 2> message; grep -q 'Operation not permitted' message; chown $(id -u):$(id -g) m/f
    [ "$(stat -c '%F %t:%T' u/link)" = 'character special file 0:0' ]; [ "$(getfattr --only-values -n user.overlay.opaque u/d)" = y ]
    fusermount3 -u m; wait_for sh -c '! pgrep -u $(id -u) -f "[u]nion.js m -o" > /dev/null'
    mount_union; [ "$(ls m | tr '\\n' ' ')" = 'd f ' ]; pid=$(pgrep -u $(id -u) -f "[u]nion.js m -o")
    exec 3< m/f; kill -TERM $pid; wait_for sh -c '! mountpoint -q m'; [ "$(cat <&3 | tr '\\n' ' ')" = 'low more ' ]; exec 3<&-
    wait_for sh -c "! kill -0 $pid 2> /dev/null"; [ -z "$(ls m)" ]`,
  );
});

test('union: the flags of an ordinary user’s mount', (t) => {
  if (!needs(t)) return;
  passes(
    user(t),
    `
    echo low > l1/f; ${UNION} a,b m -o lowerdir=l1:l2,ro,noexec,noatime
    findmnt -n -o SOURCE,OPTIONS m | grep -q '^a,b *ro,nosuid,nodev,noexec,noatime,'; ! touch m/new 2> message; grep -q 'Read-only' message; fusermount3 -u m`,
  );
});

test('union: an ordinary user without fusermount3 is told of it', (t) => {
  if (!needs(t)) return;
  const before = 'mount --bind /dev/null /usr/bin/fusermount3';
  const { status, said } = run(user(t), `PATH=/usr/bin:/bin ${UNION} m -o lowerdir=l1:l2`, { before });
  assert.equal(status, 1, said);
  assert.match(said, /^tsbox-union: mount fuse.tsbox-union on .*m: EPERM .*\nhint: .*fusermount3/);
});

test('union: an ordinary user writes to a file that he may not read', (t) => {
  if (!needs(t)) return;
  passes(
    user(t),
    `
    echo low > l2/f; chmod 200 l2/f u; chmod 700 u; echo upper > u/g; chmod 200 u/g; mount_union
    echo more >> m/g; ! cat m/g 2> /dev/null; chmod 600 m/g; [ "$(cat m/g | tr '\\n' ' ')" = 'upper more ' ]
    (umask 577; echo new > m/new); chmod 600 m/new; [ "$(cat m/new)" = new ]; fusermount3 -u m`,
  );
});

test('union: root of a user namespace mounts by himself, gives files to others, and leaves what the kernel reads', (t) => {
  if (!needs(t, 'userns', 'overlay')) return;
  passes(
    user(t),
    `
    chmod 711 .; mkdir l2/d; echo low > l2/d/f; echo low > l2/d/g; chown 33:44 l2/d/f; chmod 2750 l2/d; chown 33:44 l2/d
    mount_union; findmnt -n -o FSTYPE m | grep -q fuse
    echo more >> m/d/f; chown 55 m/d/g; mkdir m/new; ln -s x m/new/link; chown -h 66 m/new/link
    setpriv --reuid 33 --regid 44 --clear-groups sh -c 'echo mine > m/d/mine'
    look() { find m -mindepth 1 -printf '%P %y %m %U:%G %l\\n' | sort; }; look > seen
    [ "$(stat -c %u:%g m/d/f m/d/g m/d/mine | tr '\\n' ' ')" = '33:44 55:0 33:44 ' ]
    rm m/d/mine; look > seen; umount m
    mount -t overlay overlay m -o lowerdir=l1:l2,upperdir=u,workdir=w,userxattr; look | diff seen -; rm -r m/d; mkdir m/d; umount m
    mount_union; [ -z "$(ls m/d)" ]; umount m; [ "$(getfattr --only-values -n user.overlay.opaque u/d)" = y ]`,
    { how: 'unshare --user --mount --map-root-user --map-auto' },
  );
});
