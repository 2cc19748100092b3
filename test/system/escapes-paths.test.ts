/** Attacks on paths: the working directory, mount points, masks and files of /proc. CVE-2019-19921, CVE-2021-30465, CVE-2024-21626,
 *  CVE-2025-31133, CVE-2025-52565, CVE-2025-52881 and their like. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { requires } from '../requires.ts';
import { attack, malicious } from './attacks/attack.ts';
import { type Sandbox, sandbox } from './harness.ts';

const needs = ['root', 'overlay', 'command:gcc'] as const;

test('escapes: a working directory that is a descriptor or a process of the host', async (t) => {
  if (!requires(t, ...needs)) return;
  const box = sandbox(t);
  const image = box.image();
  box.ok(['run', '-d', '--name', 'entered', image, 'sleep', '300']);
  const places = [0, 3, 4, 5, 6, 7, 8, 9].map((fd) => `/proc/self/fd/${fd}`);
  places.push('/proc/self/cwd', '/proc/self/root', '/proc/1/cwd', '/proc/1/root/etc', '/proc/thread-self/fd/3/..');
  // Where a process stands in a directory of the container, that directory has a path there: .dockerenv is found by going up.
  const look = 'pwd -P; cd -P ..; while [ "$PWD" != / ]; do cd -P ..; done; ls -d .dockerenv';
  await t.test('of run -w', () => {
    for (const place of places) {
      const { status, stderr } = box.tsbox(['run', '--rm', '-w', place, image, 'sh', '-c', look]);
      assert.equal(status, 125, place);
      assert.match(stderr, /ELOOP|ENOENT|ENOTDIR/, place);
    }
  });
  await t.test('of exec -w', () => {
    for (const place of places) {
      const { status, stderr } = box.tsbox(['exec', '-w', place, 'entered', 'sh', '-c', look]);
      assert.notEqual(status, 0, place);
      assert.match(stderr, /ELOOP|ENOENT|ENOTDIR/, place);
    }
    assert.equal(box.ok(['exec', '-w', '/tmp', 'entered', 'sh', '-c', look]), '/tmp\n.dockerenv', 'others work');
  });
  await t.test("of an image's WORKDIR, also behind a link", () => {
    const own = malicious(box, 'workdir', 'ln -s /proc/self/fd link; ln -s /proc/1/root up', [
      'WORKDIR /proc/self/fd/7',
    ]);
    for (const more of [[], ['-w', '/link/7'], ['-w', '/link/3'], ['-w', '/up'], ['-w', '/up/etc']]) {
      const { status, stdout } = box.tsbox(['run', '--rm', ...more, own, 'sh', '-c', look]);
      assert.deepEqual([status, stdout], [125, ''], more.join(' '));
    }
  });
});

/** Starts the attacker's program on the host side of a shared directory, where it is as fast as it can be. */
function swapping(t: import('node:test').TestContext, program: string, one: string, other: string): void {
  const child = spawn(program, ['swap', one, other], { stdio: 'ignore' });
  t.after(() => child.kill('SIGKILL'));
}

/** A directory that two containers share: `place` is a directory and a link to `target` in turn. */
function trap(box: Sandbox, name: string, target: string): string {
  const shared = join(box.directory, name);
  mkdirSync(join(shared, 'place'), { recursive: true });
  symlinkSync(target, join(shared, 'other'));
  return shared;
}

const TRIES = 8;

/** The files of /etc that other tests change, as they make and remove users. */
const ACCOUNTS = /^(\.pwd\.lock$|passwd|shadow|group|gshadow|subuid|subgid)/;

test('escapes: a mount point in a shared directory that is swapped for a link while the container starts', async (t) => {
  if (!requires(t, ...needs)) return;
  const box = sandbox(t);
  const program = attack(box);
  const image = box.image();
  const secret = join(box.directory, 'secret');
  mkdirSync(secret);
  writeFileSync(join(secret, 'file'), 'of the host');
  for (const target of [
    '/proc/self/root/../../..',
    '/..',
    '/proc/1/root',
    '/proc/self/fd/5',
    '../../../../..',
    '/etc',
    '/proc',
  ]) {
    await t.test(`to ${target}`, (t) => {
      const shared = trap(box, `shared${target.replaceAll('/', '_')}`, target);
      swapping(t, program.path, join(shared, 'place'), join(shared, 'other'));
      const names = (directory: string) => readdirSync(directory).filter((name) => !ACCOUNTS.test(name));
      const hosts = () => ['/', '/etc', '/proc/self'].map((directory) => names(directory).sort());
      const before = hosts();
      const flags = ['--rm', '-v', `${shared}:/data`, '-v', `${secret}:/data/place/in:ro`];
      // The bind is read-only wherever it landed, and all else is the container's.
      const script = `
        grep "/in " /proc/self/mounts | grep -v " ro[, ]"
        for try in 1 2 3 4 5 6 7 8 9; do touch /data/place/in/new; done 2>/dev/null
        [ -e /.dockerenv ] || echo outside
        grep -q "^proc /proc proc" /proc/self/mounts || echo no proc`;
      let started = 0;
      for (let tries = 0; tries < TRIES; tries++) {
        const { status, stdout } = box.tsbox(['run', ...flags, image, 'sh', '-c', script]);
        if (status === 0) started++;
        assert.ok(status === 0 || status === 125, `${status}`);
        assert.equal(stdout, '');
      }
      t.diagnostic(`${started} of ${TRIES} started`);
      assert.deepEqual(hosts(), before);
      assert.deepEqual(readdirSync(secret), ['file']);
    });
  }
});

test('escapes: a mount over /proc or into it', async (t) => {
  if (!requires(t, ...needs)) return;
  const box = sandbox(t);
  const image = box.image();
  const fake = join(box.directory, 'fake');
  mkdirSync(join(fake, 'self/attr'), { recursive: true });
  writeFileSync(join(fake, 'file'), '');
  await t.test('is refused as runc refuses it', () => {
    for (const place of ['/proc', '/proc/self', '/proc/sys', '/proc/1/attr', '/x/../proc']) {
      const { status, stderr } = box.tsbox(['run', '--rm', '-v', `${fake}:${place}`, image, 'true']);
      assert.equal(status, 125, place);
      assert.match(stderr, /"\/proc.*" cannot be mounted because it is (inside \/proc|not of type proc)/, place);
    }
    const linked = malicious(box, 'linked', 'ln -s /proc link');
    const { status, stderr } = box.tsbox(['run', '--rm', '-v', `${fake}:/link/sys`, linked, 'true']);
    assert.equal(status, 125);
    assert.match(stderr, /\/proc/);
  });
  await t.test('but for files that tell of the machine', () => {
    const flags = ['--rm', '-v', `${join(fake, 'file')}:/proc/meminfo`];
    assert.equal(box.ok(['run', ...flags, image, 'wc', '-c', '/proc/meminfo']), '0 /proc/meminfo');
  });
  await t.test('by the image: /proc, /sys and /dev as links get directories in their place', () => {
    const image = malicious(
      box,
      'links',
      'rm -rf proc sys dev; ln -s /tmp proc; ln -s /etc sys; ln -s /proc/self/cwd dev',
    );
    const script =
      'cat /proc/1/comm; ls -d /sys/kernel; stat -c %t:%T /dev/null; ls /tmp; ls -A /etc | grep kernel; true';
    assert.equal(box.ok(['run', '--rm', image, 'sh', '-c', script]), 'sh\n/sys/kernel\n1:3');
  });
});

test('escapes: files that the kernel is told by, and what tells of the host', async (t) => {
  if (!requires(t, ...needs)) return;
  const box = sandbox(t);
  const image = box.image();
  const files = [
    '/proc/sysrq-trigger',
    '/proc/sys/kernel/core_pattern',
    '/proc/sys/kernel/modprobe',
    '/proc/sys/vm/panic_on_oom',
    '/proc/irq/default_smp_affinity',
    '/sys/kernel/uevent_helper',
    '/sys/kernel/mm/transparent_hugepage/enabled',
    '/sys/fs/cgroup/cgroup.procs',
  ].filter(existsSync);
  await t.test('are not written: sysrq-trigger, core_pattern, uevent_helper and others', () => {
    // One cannot be read; the other lists processes, which come and go.
    const contents = () => files.map((file) => (/sysrq|procs$/.test(file) ? '' : readFileSync(file, 'utf8')));
    const before = contents();
    const script = files.map((file) => `{ echo "|/x" > ${file}; } 2>&1 | grep -o "[^:]*$"`).join('; ');
    const said = box.ok(['run', '--rm', image, 'sh', '-c', `${script}; true`]).split('\n');
    assert.deepEqual(new Set(said.map((line) => line.trim())), new Set(['Read-only file system']));
    assert.equal(said.length, files.length);
    assert.deepEqual(contents(), before);
  });
  await t.test('are not mounted anew, nor made writable', () => {
    const script = `mkdir /p; mount -t proc x /p; mount -o remount,rw /proc/sys; mount -o bind,remount,rw /proc/sys; umount /proc/sys;
      mount -t sysfs x /p; mount -o remount,rw /sys; umount /proc/keys; mount --move /proc/sys /p`;
    const { stderr } = box.tsbox(['run', '--rm', image, 'sh', '-c', script]);
    const refused = stderr.match(/denied|not permitted|Operation not|must be superuser/g) ?? [];
    assert.equal(refused.length, 8, stderr);
  });
  await t.test(
    "release_agent of version 1: the container's cgroup is no root of a hierarchy, even for who may mount",
    () => {
      const script = `for one in cpu memory devices pids freezer blkio rdma misc; do
        mkdir -p /c/$one; mount -t cgroup -o $one x /c/$one 2>/dev/null; done
      find /c /sys/fs/cgroup -name release_agent; echo done
      mount -t cgroup -o none,name=own,release_agent=/x x /c 2>&1 | grep -c mount`;
      assert.equal(box.ok(['run', '--rm', '--cap-add', 'SYS_ADMIN', image, 'sh', '-c', script]), 'done\n1');
    },
  );
});

test('escapes: /dev/null or /dev/console swapped for a link before it is bound', async (t) => {
  if (!requires(t, ...needs)) return;
  const box = sandbox(t);
  const image = box.image();
  const shared = join(box.directory, 'dev');
  for (const [name, target] of [
    ['null', '/proc/sys/kernel/core_pattern'],
    ['console', '/proc/sysrq-trigger'],
    ['ptmx', '/proc/self/fd/3'],
  ] as const) {
    await t.test(`in a directory of the host that is the container's /dev: ${name} -> ${target}`, () => {
      mkdirSync(`${shared}-${name}/pts`, { recursive: true });
      symlinkSync(target, `${shared}-${name}/${name}`);
      const script =
        'grep -E " /(proc/(keys|timer_list|kcore)|dev/console) " /proc/self/mountinfo; cat /proc/keys | wc -c';
      const run = ['run', '--rm', '-t', '-v', `${shared}-${name}:/dev`, image, 'sh', '-c', script];
      const { status, stdout, stderr } = box.tsbox(run);
      if (status !== 0) assert.match(stderr, /ENODEV|ENOENT|ENXIO|EROFS|ELOOP/);
      else assert.doesNotMatch(stdout, /core_pattern|sysrq/);
    });
  }
  await t.test('nowhere else can they be: /dev is new for each container', () => {
    const image = malicious(
      box,
      'devices',
      'mkdir -p dev; rm -f dev/null dev/console; ln -s /proc/sysrq-trigger dev/null; ln -s /etc/passwd dev/console',
    );
    const script =
      'stat -c "%n %F %t:%T" /dev/null; readlink /dev/console; stat -c %t /dev/console; cat /proc/keys | wc -c';
    const shown = box.ok(['run', '--rm', '-t', image, 'sh', '-c', script]).replaceAll('\r', '');
    assert.equal(shown, '/dev/null character special file 1:3\n88\n0');
  });
});

test("escapes: a run directory that names a cgroup does not make the host's root kill what is in it", (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const id = box.ok(['create', box.image(), 'true']);
  const victim = spawn('sleep', ['300'], { stdio: 'ignore' });
  t.after(() => victim.kill('SIGKILL'));
  const cgroup = join(box.directory, 'place', `tsbox-${id}`);
  mkdirSync(cgroup, { recursive: true });
  mkdirSync(join(box.runRoot, id), { recursive: true });
  writeFileSync(join(cgroup, 'cgroup.procs'), `${victim.pid}\n`);
  writeFileSync(join(box.runRoot, id, 'cgroup'), join(box.directory, 'place'));
  box.ok(['rm', id]);
  assert.match(readFileSync(`/proc/${victim.pid}/status`, 'utf8'), /^State:\s+S/m);
  assert.ok(existsSync(cgroup));
});
