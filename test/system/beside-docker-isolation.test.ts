/**
 * What a process finds in a container of docker and in one of tsbox, for the same flags: /proc/self/status, the mounts, /proc/self/uid_map,
 * `ulimit -a`, /proc/self/cgroup and /dev. What differs on purpose is in DIFFERENCES, and in the table of docs/isolation.md; anything else
 * that differs fails.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { requires } from '../requires.ts';
import { REPOSITORY, type Sandbox, sandbox } from './harness.ts';
import { type Docker, startDocker } from './images-setup.ts';

const IMAGE = 'busybox:offline';

/** Both get the cgroup namespace by name: docker's default depends on the host, tsbox's does not. */
const PRIVATE = ['--cgroupns', 'private'];

const FLAGS: string[][] = [
  [],
  ['-t'],
  ['-u', 'tester'],
  ['-u', '4711:50', '--cap-add', 'NET_ADMIN'],
  ['--cap-add', 'net_admin', '--cap-add', 'CAP_SYS_PTRACE', '--cap-drop', 'CHOWN'],
  ['--cap-drop', 'ALL'],
  ['--cap-drop', 'ALL', '--cap-add', 'KILL'],
  ['--cap-add', 'ALL', '--cap-drop', 'SYS_RESOURCE'],
  ['--cap-add', 'CHOWN', '--cap-drop', 'CHOWN'],
  ['--security-opt', 'no-new-privileges'],
  ['--security-opt', 'no-new-privileges', '-u', 'tester'],
  ['--security-opt', 'seccomp=unconfined'],
  ['--security-opt', 'seccomp=PROFILE'],
  ['--security-opt', 'systempaths=unconfined'],
  ['--read-only'],
  ['--ipc', 'none'],
  ['--ipc', 'shareable'],
  ['--ipc', 'host'],
  ['--pid', 'host'],
  ['--uts', 'host'],
  ['--cgroupns', 'host'],
  ['--network', 'host'],
  ['--shm-size', '3m'],
  ['--ulimit', 'nofile=100:200', '--ulimit', 'core=0', '--ulimit', 'nproc=77'],
  ['--group-add', '77', '--group-add', 'staff'],
  ['--sysctl', 'net.ipv4.ip_forward=1', '--sysctl', 'kernel.msgmax=1000'],
  ['--device', 'DEVICES/zero:/dev/z:r', '--device', 'DEVICES/zero:/elsewhere/z'],
  ['--device', 'DEVICES:/dev/all'],
  ['-v', 'DEVICES:/m:ro'],
];

const SCRIPT = `
  echo '# status'; grep -E '^(Umask|Uid|Gid|Groups|Sig(Blk|Cgt)|Cap|NoNewPrivs|Seccomp|Speculation|NSpgid|NSsid)' /proc/self/status
  echo '# mount'; cut -d' ' -f5- /proc/self/mountinfo
  echo '# uid_map'; cat /proc/self/uid_map /proc/self/gid_map
  echo '# ulimit'; ulimit -a
  echo '# cgroup'; cat /proc/self/cgroup
  echo '# dev'; ls -laR /dev /elsewhere 2>/dev/null
  echo '# sysctl'; cd /proc/sys; head -99 net/ipv4/ip_unprivileged_port_start net/ipv4/ping_group_range net/ipv4/ip_forward kernel/msgmax`;

/** Lines that differ on purpose, made alike, or left out. Each has its row in docs/isolation.md. */
const DIFFERENCES: [reason: string, alike: (line: string) => string | undefined][] = [
  ['the container’s directories have other names', (line) => line.replace(/\/(docker\/|tsbox-)[0-9a-f]{64}/g, '/ID')],
  [
    'tsbox mounts the overlay of a --rm container volatile',
    (line) => line.replace(/( overlay overlay r[wo]),lowerdir=.*/, '$1'),
  ],
  [
    'tsbox shows the version 2 hierarchy of a hybrid host too',
    (line) => (/^\/sys\/fs\/cgroup\/unified|^0::/.test(line) ? undefined : line),
  ],
  [
    'docker leaves the tmpfs that holds version 1 hierarchies writable',
    (line) => line.replace(/^(\/sys\/fs\/cgroup) (ro|rw)/, '$1'),
  ],
  [
    'docker 20.10 does not know the capabilities of Linux 5.8 and 5.9',
    (line) => line.replace(/(?<=^Cap\w+:\s+)000001ff/, '0000003f'),
  ],
  ['tsbox covers powercap, as docker does since version 24', (line) => (/powercap/.test(line) ? undefined : line)],
];

/** Without what differs from run to run: times, sizes of directories, peer groups, numbers of devices of file systems. */
function stable(line: string): string {
  return line
    .replace(/\s+\d*\s+\w{3}\s+\d+\s+(\d\d:\d\d|\d{4})\s/, ' ')
    .replace(/^total.*/, '')
    .replace(/ (shared|master|propagate_from):\d+/g, '')
    .replace(/(ext4|tmpfs) (\S+) rw,.*/, '$1 $2')
    .replace(/\s+/g, ' ')
    .replace(/^(NSpgid|NSsid): ([2-9]|\d{2,})$/, '$1: number');
}

/** Sections by their names; mounts in the order of their places. */
function sections(text: string): Record<string, string[]> {
  const found: Record<string, string[]> = {};
  let lines: string[] = [];
  for (const raw of text.replaceAll('\r', '').split('\n')) {
    if (raw.startsWith('# ')) {
      lines = [];
      found[raw.slice(2)] = lines;
      continue;
    }
    let line: string | undefined = raw;
    for (const [, alike] of DIFFERENCES) line = line === undefined ? undefined : alike(line);
    if (line !== undefined) lines.push(stable(line));
  }
  found['mount']?.sort();
  return found;
}

interface Engines {
  box: Sandbox;
  docker: Docker;
  /** Puts the test's paths in. */
  flags(words: readonly string[]): string[];
}

async function engines(t: TestContext): Promise<Engines> {
  const box = sandbox(t);
  const docker = await startDocker(t);
  box.image();
  await docker('import', '--change', 'CMD ["sh"]', join(REPOSITORY, 'rootfs-fixtures/build/busybox.tar'), IMAGE);
  const directory = mkdtempSync(join(tmpdir(), 'tsb-beside-'));
  t.after(() => rmSync(directory, { recursive: true }));
  const devices = spawnSync(
    'sh',
    ['-c', 'mkdir d; mknod -m 640 d/zero c 1 5; chown 5:6 d/zero; mknod -m 644 d/full c 1 7'],
    {
      cwd: directory,
    },
  );
  assert.equal(devices.status, 0);
  const rule = { names: ['mkdir'], action: 'SCMP_ACT_ERRNO', errnoRet: 122 };
  writeFileSync(join(directory, 'profile'), JSON.stringify({ defaultAction: 'SCMP_ACT_ALLOW', syscalls: [rule] }));
  const flags = (words: readonly string[]) =>
    words.map((word) => word.replace('PROFILE', `${directory}/profile`).replace('DEVICES', `${directory}/d`));
  return { box, docker, flags };
}

function runArguments({ flags }: Engines, words: readonly string[]): string[] {
  const cgroup = words.includes('--cgroupns') ? [] : PRIVATE;
  const network = words.includes('--network') ? [] : ['--network', 'none'];
  return ['run', '--rm', ...network, ...cgroup, ...flags(words)];
}

test('beside docker: the same flags give a process the same', async (t) => {
  if (!requires(t, 'root', 'overlay', 'command:dockerd', 'command:docker')) return;
  const both = await engines(t);
  const { box, docker } = both;
  for (const words of FLAGS) {
    await t.test(words.join(' ') || 'no flags', async () => {
      const args = [...runArguments(both, words), IMAGE, 'sh', '-c', SCRIPT];
      const [theirs, ours] = [sections(await docker(...args)), sections(box.ok(args))];
      for (const name of Object.keys(theirs)) assert.deepEqual(ours[name], theirs[name], name);
    });
  }
  await t.test('exec', async () => {
    const start = ['run', '-d', '--network', 'none', ...PRIVATE, '--name', 'one', '--ulimit', 'nofile=99'];
    const rest = ['--group-add', '77', '--security-opt', 'no-new-privileges', IMAGE, 'sleep', '1000'];
    await docker(...start, ...rest);
    box.ok([...start, ...rest]);
    for (const words of [[], ['-u', 'tester'], ['-t']]) {
      const args = ['exec', ...words, 'one', 'sh', '-c', SCRIPT];
      const [theirs, ours] = [sections(await docker(...args)), sections(box.ok(args))];
      for (const name of Object.keys(theirs)) assert.deepEqual(ours[name], theirs[name], `${words} ${name}`);
    }
  });
});

/** Compiled here, for no image has it. */
function syscallProbe(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'tsb-probe-'));
  t.after(() => rmSync(directory, { recursive: true }));
  const path = join(directory, 'probe');
  const made = spawnSync('gcc', ['-static', '-O1', '-o', path, join(import.meta.dirname, 'syscall-probe.c')], {
    encoding: 'utf8',
  });
  assert.equal(made.status, 0, made.stderr);
  return path;
}

test('beside docker: the kernel answers every system call alike', async (t) => {
  if (!requires(t, 'root', 'overlay', 'command:dockerd', 'command:docker', 'command:gcc')) return;
  const both = await engines(t);
  const probe = ['-v', `${syscallProbe(t)}:/probe:ro`];
  const compare = async (words: string[], ...range: string[]) => {
    const args = [...runArguments(both, words), ...probe, IMAGE, '/probe', ...range];
    const theirs = (await both.docker(...args)).split('\n');
    assert.ok(theirs.length > 10);
    assert.deepEqual(both.box.ok(args, { timeout: 60_000 }).split('\n'), theirs, words.join(' '));
  };
  const sets = [
    [],
    ['--cap-drop', 'ALL'],
    ['--cap-add', 'SYS_ADMIN'],
    ['--cap-add', 'ALL', '--cap-drop', 'SYS_RESOURCE', '--cap-drop', 'SYS_BOOT'],
    ['--security-opt', 'no-new-privileges'],
    ['--security-opt', 'seccomp=PROFILE'],
  ];
  for (const words of sets) {
    await t.test(words.join(' ') || 'no flags', () => compare(words, 'native', '0', '600'));
  }
  await t.test('x32', () => compare([], 'x32', '0', '600'));
});

test('beside docker: inspect shows the same settings', async (t) => {
  if (!requires(t, 'root', 'overlay', 'command:dockerd', 'command:docker')) return;
  const both = await engines(t);
  const { box, docker } = both;
  const fields =
    'CapAdd CapDrop SecurityOpt Privileged IpcMode PidMode UTSMode ShmSize Ulimits Devices GroupAdd DeviceCgroupRules';
  const format = `${fields
    .split(' ')
    .map((name) => `{{json .HostConfig.${name}}}`)
    .join(' ')} {{json .AppArmorProfile}}`;
  const more = [
    ['--privileged'],
    ['--privileged', '--security-opt', 'label=disable'],
    ['--security-opt', 'seccomp:unconfined', '--security-opt', 'apparmor=unconfined'],
    ['--cap-add', 'NET_ADMIN', '--cap-add', 'ALL', '--cap-add', 'net_admin'],
    ['--device-cgroup-rule', 'c *:* rwm', '--device-cgroup-rule', 'b 8:0 r'],
    ['--ulimit', 'nofile=1', '--ulimit', 'core=-1', '--ulimit', 'nofile=2'],
  ];
  for (const words of [...FLAGS, ...more]) {
    const create = ['create', '--name', 'xx', ...runArguments(both, words).slice(2), IMAGE, 'true'];
    await docker(...create);
    box.ok(create);
    const show = ['inspect', '-f', format, 'xx'];
    assert.equal(box.ok(show), await docker(...show), words.join(' '));
    await docker('rm', 'xx');
    box.ok(['rm', 'xx']);
  }
});

test('beside docker: what is refused is refused in the same words', async (t) => {
  if (!requires(t, 'root', 'overlay', 'command:dockerd', 'command:docker')) return;
  const both = await engines(t);
  const { box, docker } = both;
  const words = `--cap-add nope|--cap-drop nope|--cap-add CAP_ALL|--security-opt nope|--security-opt nope=1|--security-opt seccomp=
    |--security-opt no-new-privileges=maybe|--pid nope|--pid container:|--pid container:nope|--ipc nope|--ipc container:nope
    |--uts nope|--uts host -h x|--cgroupns nope|--shm-size x|--shm-size -1|--ulimit nope=1|--ulimit nofile|--ulimit nofile=a
    |--ulimit nofile=2:1|--ulimit nofile=-1:5|--ulimit nofile=1:2:3|--sysctl nope|--sysctl vm.swappiness=1
    |--device nope|--device /dev/zero:z|--device /dev/zero:/z:q|--device /dev/nope|--device /etc/passwd|--device-cgroup-rule nope
    |--group-add nope|-v /tmp:/m:ro,rw|-v /tmp:/m:shared,private|-u nope`;
  const bare = (text: string) =>
    text
      .split('\n')[0]!
      .replace(/^(docker|tsbox|Error response from daemon): /, '')
      .replace(/^Error response from daemon: /, '')
      .replace(/^tsbox: /, '');
  for (const one of words.split('|').map((each) => each.trim().split(' '))) {
    const args = ['run', '--rm', '--network', 'none', ...one, IMAGE, 'true'];
    const theirs = await docker(...args).then(
      () => assert.fail(`docker takes ${one.join(' ')}`),
      (error: { code: number; stderr: Buffer }) => {
        const text = bare(String(error.stderr));
        // docker takes every file that is missing for the command
        return { status: text.includes('no such file') ? 125 : error.code, text };
      },
    );
    const { status, stderr } = box.tsbox(args);
    assert.deepEqual({ status, text: bare(stderr) }, theirs, one.join(' '));
  }
});

test('beside docker: every difference is in the documentation', () => {
  const text = readFileSync(join(REPOSITORY, 'docs/isolation.md'), 'utf8').replace(/\s+/g, ' ');
  for (const [reason] of DIFFERENCES) assert.ok(text.includes(reason), reason);
});
