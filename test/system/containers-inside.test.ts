/** What a process in a container sees, and what it cannot reach. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { requires } from '../requires.ts';
import { type Sandbox, sandbox } from './harness.ts';

const inside = (box: Sandbox, flags: string[], script: string): string[] =>
  box.ok(['run', '--rm', ...flags, box.image(), 'sh', '-c', script]).split('\n');

interface Mount {
  point: string;
  options: string[];
  type: string;
  source: string;
}

/** @see proc_pid_mountinfo(5) */
function parseMounts(lines: string[]): Mount[] {
  return lines.map((line) => {
    const [front = '', back = ''] = line.split(' - ');
    const [, , , , point = '', options = ''] = front.split(' ');
    const [type = '', source = ''] = back.split(' ');
    return { point, options: options.split(','), type, source };
  });
}

const DEFAULT_CAPABILITIES = '00000000a80425fb';
const NONE = '0000000000000000';

function capabilities(lines: string[]): Record<string, string> {
  return Object.fromEntries(lines.map((line) => line.split(':\t') as [string, string]));
}

test('inside: mounts', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const mounts = parseMounts(inside(box, [], 'cat /proc/self/mountinfo'));
  const at = (point: string) => {
    const found = mounts.filter((mount) => mount.point === point);
    assert.equal(found.length, 1, `one mount at ${point}`);
    return found[0]!;
  };
  const has = (point: string, type: string, ...options: string[]) => {
    const mount = at(point);
    assert.equal(mount.type, type, point);
    for (const option of options) assert.ok(mount.options.includes(option), `${point} is ${option}: ${mount.options}`);
  };
  await t.test('what Docker mounts, with its options', () => {
    has('/', 'overlay', 'rw');
    has('/proc', 'proc', 'rw', 'nosuid', 'nodev', 'noexec');
    has('/dev', 'tmpfs', 'rw', 'nosuid');
    has('/dev/pts', 'devpts', 'rw', 'nosuid', 'noexec');
    has('/dev/mqueue', 'mqueue', 'rw', 'nosuid', 'nodev', 'noexec');
    has('/dev/shm', 'tmpfs', 'rw', 'nosuid', 'nodev', 'noexec');
    has('/sys', 'sysfs', 'ro', 'nosuid', 'nodev', 'noexec');
    has('/sys/fs/cgroup', at('/sys/fs/cgroup').type, 'ro', 'nosuid', 'nodev', 'noexec');
    for (const mount of mounts.filter((one) => one.type.startsWith('cgroup'))) has(mount.point, mount.type, 'ro');
    assert.ok(mounts.some((mount) => mount.type.startsWith('cgroup')));
  });
  await t.test("three files in /etc are the container's own", () => {
    for (const name of ['hosts', 'hostname', 'resolv.conf']) assert.ok(at(`/etc/${name}`).options.includes('rw'));
  });
  await t.test('what tells of the host is covered, what changes the host is read-only', () => {
    const script = `for path in /proc/* /sys/*; do echo $path; done`;
    const there = new Set(inside(box, [], script));
    for (const path of ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger']) {
      if (there.has(path)) has(path, 'proc', 'ro');
    }
    for (const path of ['/proc/acpi', '/proc/scsi', '/sys/firmware', '/proc/asound']) {
      if (there.has(path)) has(path, 'tmpfs', 'ro');
    }
    for (const path of ['/proc/kcore', '/proc/keys', '/proc/timer_list', '/proc/latency_stats']) {
      if (there.has(path)) assert.match(at(path).source, /tmpfs|devtmpfs/);
    }
    const read = inside(box, [], 'ls /sys/firmware | wc -l; cat /proc/keys /proc/timer_list 2>&1 | wc -c');
    assert.deepEqual(read, ['0', '0']);
  });
  await t.test('nothing of the host is among them', () => {
    const own = /^\/($|proc|dev|sys|etc\/(hosts|hostname|resolv\.conf)$)/;
    assert.deepEqual(
      mounts.filter((mount) => !own.test(mount.point)),
      [],
    );
    assert.deepEqual(inside(box, [], 'ls -1 /proc/1/root/'), inside(box, [], 'ls -1 /'));
  });
  await t.test('they cannot be written where they are read-only', () => {
    const script = `for file in /proc/sys/kernel/hostname /sys/kernel/notes /sys/fs/cgroup/*/cgroup.procs; do
      [ -e $file ] && { echo 1 > $file; } 2>&1 | grep -v 'Read-only file system'
    done; true`;
    assert.deepEqual(inside(box, [], script), ['']);
  });
  await t.test('/dev has the devices that programs expect, and no others', () => {
    const nodes = inside(box, [], 'cd /dev; stat -c "%n %F %t,%T %a" *');
    assert.deepEqual(
      nodes.filter((line) => line.includes('character')),
      [
        'full character special file 1,7 666',
        'null character special file 1,3 666',
        'random character special file 1,8 666',
        'tty character special file 5,0 666',
        'urandom character special file 1,9 666',
        'zero character special file 1,5 666',
      ],
    );
    const names = nodes.map((line) => line.split(' ')[0]).filter((name) => name !== 'core');
    const others = ['fd', 'mqueue', 'ptmx', 'pts', 'shm', 'stderr', 'stdin', 'stdout'];
    assert.deepEqual(names, [...others, 'full', 'null', 'random', 'tty', 'urandom', 'zero'].sort());
    const links =
      'cd /dev; for link in fd stdin stdout stderr ptmx; do readlink $link; done; stat -c %a shm mqueue pts/ptmx';
    const expected = ['/proc/self/fd', '/proc/self/fd/0', '/proc/self/fd/1', '/proc/self/fd/2', 'pts/ptmx'];
    assert.deepEqual(inside(box, [], links), [...expected, '1777', '1777', '666']);
  });
  await t.test('with -t there is a console', () => {
    const [line] = inside(box, ['-t'], 'stat -c "%F %a" /dev/console; grep " /dev/console " /proc/self/mountinfo');
    assert.equal(line, 'character special file 620\r');
  });
  await t.test('devices work', () => {
    const script = `head -c 4 /dev/zero | od -An -tx1; head -c 100 /dev/urandom | wc -c; echo x > /dev/null
      { echo x > /dev/full; } 2>&1 | grep -o 'No space left on device'`;
    assert.deepEqual(inside(box, [], script), [' 00 00 00 00', '100', 'No space left on device']);
  });
  await t.test('a device node that was made inside cannot be made to open a disk', () => {
    const flags = ['--cap-drop', 'MKNOD'];
    assert.deepEqual(inside(box, flags, 'mknod /x c 1 3 2>&1 | grep -o "Operation not permitted"'), [
      'Operation not permitted',
    ]);
  });
});

test('inside: process', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const image = box.image();
  await t.test('the command is process 1, alone, in a session of its own', () => {
    assert.deepEqual(inside(box, [], 'echo $$; ls -d /proc/[0-9]* | wc -l').slice(0, 1), ['1']);
    assert.equal(box.ok(['run', '--rm', image, 'readlink', '/proc/self']), '1');
    const [, , , , pgrp, sid] = box.ok(['run', '--rm', image, 'cat', '/proc/self/stat']).split(' ');
    assert.deepEqual([pgrp, sid], ['1', '1']);
  });
  await t.test('namespaces are its own', () => {
    const kinds = ['cgroup', 'ipc', 'mnt', 'net', 'pid', 'uts', 'user'];
    const own = (flags: string[]) =>
      inside(box, flags, `cd /proc/1/ns; for kind in ${kinds.join(' ')}; do readlink $kind; done`).filter(
        (link, index) => link !== readlinkSync(`/proc/self/ns/${kinds[index]}`),
      );
    assert.deepEqual(
      own([]).map((link) => link.split(':')[0]),
      ['cgroup', 'ipc', 'mnt', 'net', 'pid', 'uts'],
    );
    assert.deepEqual(
      own(['--network', 'host']).map((link) => link.split(':')[0]),
      ['cgroup', 'ipc', 'mnt', 'pid', 'uts'],
    );
  });
  await t.test('its cgroup is its root, in every hierarchy', () => {
    for (const line of inside(box, [], 'cat /proc/self/cgroup')) assert.match(line, /^\d+:[^:]*:\/$/);
  });
  await t.test('with --network none there is a loopback, and it is up', () => {
    const script =
      'tail -n +3 /proc/net/dev | cut -d: -f1; cat /sys/class/net/lo/flags; ping -c 1 -w 2 127.0.0.1 | grep -c "1 packets received"';
    assert.deepEqual(inside(box, [], script), ['    lo', '0x9', '1']);
  });
  await t.test('no descriptor of the caller is open', () => {
    const files = [...Array(8)].map(() => openSync('/etc/passwd', 'r'));
    const stdio = ['ignore', 'pipe', 'pipe', ...files] as const;
    const args = ['run', '--rm', image, 'ls', '/proc/self/fd'];
    const { stdout } = spawnSync(join(import.meta.dirname, '../../bin/tsbox'), args, {
      env: box.env,
      stdio: [...stdio],
    });
    for (const file of files) closeSync(file);
    assert.equal(stdout.toString(), '0\n1\n2\n3\n', 'the last one is what ls has opened itself');
  });
  await t.test('signals have their ordinary effect, whatever the caller had made of them', () => {
    const wanted = ['SigBlk:\t0000000000000000', 'SigIgn:\t0000000000000000', 'SigCgt:\t0000000000000000'];
    const script = `trap '' PIPE HUP INT TERM USR1 RTMIN; exec tsbox run --rm ${image} grep -E 'Sig(Blk|Ign|Cgt)' /proc/self/status`;
    const { stdout } = spawnSync('bash', ['-c', script], { env: box.env });
    assert.deepEqual(stdout.toString().trim().split('\n'), wanted);
    const pipe = inside(box, [], '{ yes; echo "ended with $?" >&2; } 2>&1 >/dev/full | head -1; yes | head -1');
    assert.equal(pipe.at(-1), 'y');
  });
  await t.test("umask is 0022, and limits are the caller's", () => {
    const script = `umask 0077; ulimit -n 512; exec tsbox run --rm ${image} sh -c 'umask; ulimit -n'`;
    const { stdout } = spawnSync('bash', ['-c', script], { env: box.env });
    assert.equal(stdout.toString(), '0022\n512\n');
  });
  await t.test("a container dies with its monitor's order only: it has no parent inside", () => {
    assert.deepEqual(inside(box, [], 'grep PPid /proc/1/status'), ['PPid:\t0']);
  });
  await t.test('orphans become children of process 1', () => {
    const script = '( sh -c "sleep 0.3; grep PPid /proc/self/status" & ); sleep 0.6';
    assert.equal(inside(box, [], `${script}; true`).length, 1);
    const wait = (file: string) => `until [ -s ${file} ]; do usleep 20000; done`;
    const orphan = `(sh -c "${wait('/go')}; cut -d\\  -f4 /proc/\\$\\$/stat > /seen" &)`;
    assert.deepEqual(inside(box, [], `${orphan}; echo > /go; ${wait('/seen')}; cat /seen`), ['1']);
  });
});

test('inside: capabilities', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const sets = (flags: string[]) => capabilities(inside(box, flags, 'grep Cap /proc/self/status'));
  const bit = (number: number) => 1n << BigInt(number);
  const number = (text: string | undefined) => BigInt(`0x${text}`);
  await t.test("root has Docker's default set, and cannot get more", () => {
    const all = DEFAULT_CAPABILITIES;
    assert.deepEqual(sets([]), { CapInh: NONE, CapPrm: all, CapEff: all, CapBnd: all, CapAmb: NONE });
  });
  await t.test('another user has none, and can get the default set by setuid programs', () => {
    assert.deepEqual(sets(['-u', 'tester']), {
      CapInh: NONE,
      CapPrm: NONE,
      CapEff: NONE,
      CapBnd: DEFAULT_CAPABILITIES,
      CapAmb: NONE,
    });
  });
  await t.test('--cap-add and --cap-drop, with and without CAP_, ALL', () => {
    const base = number(DEFAULT_CAPABILITIES);
    assert.equal(number(sets(['--cap-add', 'SYS_ADMIN'])['CapEff']), base | bit(21));
    assert.equal(
      number(sets(['--cap-add', 'cap_net_admin', '--cap-drop', 'CHOWN'])['CapEff']),
      (base | bit(12)) & ~bit(0),
    );
    assert.equal(sets(['--cap-drop', 'ALL'])['CapBnd'], NONE);
    assert.equal(number(sets(['--cap-drop', 'all', '--cap-add', 'KILL'])['CapEff']), bit(5));
    const host = number(/CapBnd:\s*(\w+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]);
    assert.equal(number(sets(['--cap-add', 'ALL'])['CapEff']), host);
    assert.equal(number(sets(['--cap-add', 'ALL', '--cap-drop', 'SYS_ADMIN'])['CapEff']), host & ~bit(21));
  });
  await t.test('what is dropped cannot be done', () => {
    const chown = 'chown 1 /tmp 2>&1 | grep -o "Operation not permitted"; true';
    assert.deepEqual(inside(box, ['--cap-drop', 'CHOWN'], chown), ['Operation not permitted']);
    assert.deepEqual(inside(box, [], chown), ['']);
    assert.deepEqual(inside(box, [], 'mount -t tmpfs x /tmp 2>&1 | grep -o "denied"'), ['denied']);
    assert.deepEqual(inside(box, [], 'hostname other 2>&1 | grep -c "not permitted"'), ['1']);
  });
});

test('inside: no way out', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const directory = join(box.directory, 'shared');
  mkdirSync(directory);
  writeFileSync(join(directory, 'mark'), 'of the host');
  await t.test('what is mounted inside does not show on the host, not even below a bind', () => {
    const before = readFileSync('/proc/self/mountinfo', 'utf8');
    const script = 'mkdir /s/m && mount -t tmpfs x /s/m && touch /s/m/inside && ls /s/m';
    assert.deepEqual(inside(box, ['--cap-add', 'SYS_ADMIN', '-v', `${directory}:/s`], script), ['inside']);
    assert.equal(readFileSync('/proc/self/mountinfo', 'utf8').includes(`${directory}/m`), false);
    assert.equal(before.includes(directory), false);
  });
  await t.test('a process outside of chroot(2) finds the container, not the host', () => {
    const image = box.image('debian');
    const program =
      'mkdir "/x"; chroot "/x"; chdir ".." for 1..64; chroot "."; print join(" ", -e "/.dockerenv" ? "container" : "host", -e $ARGV[0] ? "reached" : "not reached");';
    const output = box.ok(['run', '--rm', image, 'perl', '-e', program, join(directory, 'mark')]);
    assert.equal(output, 'container not reached');
    const proc = box.ok([
      'run',
      '--rm',
      image,
      'perl',
      '-e',
      'print -e "/proc/1/root/.dockerenv" ? 1 : 0, -e "/proc/1/cwd/../../../../.dockerenv" ? 1 : 0',
    ]);
    assert.equal(proc, '11');
  });
  await t.test('symlinks of the image do not lead mounts out of it', async () => {
    box.ok([
      'run',
      '--name',
      'trap',
      box.image(),
      'sh',
      '-c',
      `rm -rf /var /mnt; ln -s ${directory} /mnt; ln -s ../../../../../../../.. /var`,
    ]);
    await box.quick(['commit', 'trap', 'trap:1']);
    await box.quick(['rm', 'trap']);
    const source = join(box.directory, 'source');
    mkdirSync(source);
    const flags = ['--rm', '-v', `${source}:/mnt/new`, '-v', `${source}:/var/made`];
    assert.equal(
      box.ok(['run', ...flags, 'trap:1', 'sh', '-c', `ls -d ${directory}/new /made`]),
      `${directory}/new\n/made`.split('\n').sort().join('\n'),
    );
    assert.equal(spawnSync('ls', [directory]).stdout.toString(), 'm\nmark\n');
    assert.equal(box.ok(['run', '--rm', '-w', '/mnt/work', 'trap:1', 'pwd', '-P']), `${directory}/work`);
    await box.quick(['rmi', 'trap:1']);
  });
  await t.test('an image whose /etc, /dev or /proc are links or missing', async () => {
    const scripts: [string, string][] = [
      [
        'a dangling /etc/resolv.conf',
        'rm /etc/resolv.conf; ln -s /run/systemd/resolve/stub-resolv.conf /etc/resolv.conf',
      ],
      ['no /etc, /proc, /sys, /dev', 'rm -rf /etc'],
      ['/etc as a link', 'mv /etc /old; ln -s /old /etc'],
      ['/var/run as a dangling link', 'mkdir -p /var; ln -s /run /var/run'],
    ];
    for (const [name, script] of scripts) {
      const tree = join(box.directory, 'tree');
      assert.equal(spawnSync('mkdir', ['-p', tree]).status, 0);
      const archive = join(import.meta.dirname, '../../rootfs-fixtures/build/busybox.tar');
      assert.equal(spawnSync('tar', ['xf', archive, '-C', tree]).status, 0);
      const changed = spawnSync('chroot', [tree, '/bin/sh', '-c', script]);
      assert.equal(changed.status, 0, changed.stderr.toString());
      spawnSync('tar', ['cf', `${tree}.tar`, '-C', tree, '.']);
      spawnSync('rm', ['-rf', tree]);
      await box.quick(['import', `${tree}.tar`, 'odd']);
      const look =
        'cat /etc/hostname; grep -c . /etc/resolv.conf; ls /proc/self/stat /sys/kernel; [ -e /dev/null ] && grep -c localhost /etc/hosts';
      const flags = ['--rm', '-h', 'odd', '-v', `${box.directory}:/var/run/x`];
      const lines = box.ok(['run', ...flags, 'odd', 'sh', '-c', look]).split('\n');
      assert.equal(lines[0], 'odd', name);
      assert.ok(Number(lines[1]) >= 1 && Number(lines.at(-1)) >= 1, name);
    }
  });
});
