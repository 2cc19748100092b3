/** tsbox in a chroot(2), as in the tree that debootstrap makes: the containers know nothing of it. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import test from 'node:test';
import { requires } from '../requires.ts';
import { sandbox } from './harness.ts';

const TSBOX = join(import.meta.dirname, '../../bin/tsbox');

/** A tree with all that the root has, which is a mount itself or is none. */
const tree = (isMount: boolean): string => `
  tree=$1/tree; mkdir "$1"
  mount -t tmpfs none "$1"; mkdir "$tree"
  ${isMount ? 'mount --bind "$tree" "$tree"' : ''}
  for path in /*; do
    if [ -L "$path" ]; then cp -P "$path" "$tree$path"
    elif [ -d "$path" ]; then mkdir "$tree$path"; mount --rbind "$path" "$tree$path"; fi
  done`;

for (const [isMount, driver] of [
  [false, 'overlay2'],
  [true, 'overlay2'],
  [false, 'fuse'],
] as const) {
  const kind = isMount ? 'a mount' : 'a directory of a mount';
  test(`chroot: (${driver}) in one whose root is ${kind}, exec comes into the container, and nobody out of it`, (t) => {
    if (!requires(t, 'root', 'overlay')) return;
    const box = sandbox(t);
    const image = box.image();
    const options = `--data-root ${box.dataRoot} --run-root ${box.runRoot} --storage-driver ${driver}`;
    // Who is root in a chroot can leave it, to where the mount namespace begins: exec comes there.
    const script = `${tree(isMount)}
      tsbox() { chroot "$tree" ${TSBOX} ${options} "$@"; }
      tsbox run -d --name one --network none ${image} sh -c 'touch /mine; exec sleep 1000' > /dev/null
      for try in $(seq 100); do tsbox diff one | grep -q mine && break; sleep 0.1; done
      tsbox exec one ls -d /mine
      tsbox exec one sh -c 'grep -c " / / " /proc/self/mountinfo; grep -c /tree /proc/self/mountinfo || true'
      tsbox exec -e A=b one sh -c 'ls -d /mine; echo $A'
      tsbox cp /etc/hostname one:/copied; tsbox exec one ls /copied; tsbox cp one:/copied - | tar -t
      tsbox rm -f one`;
    const { stdout, stderr, status } = spawnSync(
      'unshare',
      ['--mount', '--propagation', 'private', 'sh', '-euc', script, 'sh', join(box.directory, 'chroot')],
      { encoding: 'utf8' },
    );
    assert.equal(status, 0, stderr);
    assert.equal(stdout, '/mine\n1\n0\n/mine\nb\n/copied\ncopied\none\n', stderr);
  });
}
