/**
 * What a process finds in a container: /proc/self/status, the mounts, /proc/self/uid_map, `ulimit -a`, /proc/self/cgroup and /dev, for
 * flags that change it. Tests hold tsbox's against docker's (beside-docker-isolation, beside-docker-userns, and vm/inside/docker). What may
 * differ is in DIFFERENCES, and which of them in which thing is in COMBINATIONS; the tables of docs/isolation.md are made of both.
 */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';

/** The things, as sections of the script's output. */
export const THINGS = ['status', 'mount', 'uid_map', 'ulimit', 'cgroup', 'dev'] as const;
export type Thing = (typeof THINGS)[number];

export const SCRIPT = `
  echo '# status'; id; grep -E '^(Umask|Uid|Gid|Groups|Sig(Blk|Cgt)|Cap|NoNewPrivs|Seccomp|Speculation|NSpgid|NSsid)' /proc/self/status
  echo '# mount'; cut -d' ' -f5- /proc/self/mountinfo
  echo '# uid_map'; cat /proc/self/uid_map /proc/self/gid_map
  echo '# ulimit'; ulimit -a
  echo '# cgroup'; cat /proc/self/cgroup
  echo '# dev'; ls -laR /dev /elsewhere 2>/dev/null
  echo '# sysctl'; cd /proc/sys; head -99 net/ipv4/ip_unprivileged_port_start net/ipv4/ping_group_range net/ipv4/ip_forward kernel/msgmax`;

/** Lines that differ on purpose, made alike, or left out. By number, from 1; each has its row in docs/isolation.md. */
export const DIFFERENCES: readonly [what: string, alike: (line: string) => string | undefined][] = [
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
  [
    'with a user namespace docker leaves the hierarchies of version 1 writable',
    (line) => line.replace(/^(\/sys\/fs\/cgroup\/\S+) (ro|rw)/, '$1'),
  ],
  [
    'with a user namespace docker leaves the group of /dev/mqueue to the host’s root',
    (line) => line.replace(/^(drwxrwxrwt +\d+ +\S+ +)\S+( .* (mqueue|\.))$/, '$1$2'),
  ],
];

/** Those that are about version 1 of cgroups. */
const OF_HYBRID = [3, 4];
const HYBRID = !existsSync('/sys/fs/cgroup/cgroup.controllers');

/** What differs besides when docker runs with --userns-remap. */
export const REMAPPED: Partial<Record<Thing, readonly number[]>> = { mount: [7], dev: [8] };

export interface Combination {
  /** PROFILE is a seccomp profile's path, DEVICES that of a directory with devices `zero` and `full`. */
  flags: readonly string[];
  /** Numbers of DIFFERENCES, where they are others than USUAL. */
  differs?: Partial<Record<Thing, readonly number[]>>;
  /** Docker can do it only where root has every capability: in the virtual machine. */
  needsAll?: boolean;
}

/** Docker on a hybrid host. */
export const USUAL: Readonly<Record<Thing, readonly number[]>> = {
  status: [],
  mount: [1, 2, 3, 4, 6],
  uid_map: [],
  ulimit: [],
  cgroup: [3],
  dev: [],
};

export const COMBINATIONS: readonly Combination[] = [
  { flags: [] },
  { flags: ['-t'] },
  { flags: ['-u', 'tester'] },
  { flags: ['-u', '4711:50', '--cap-add', 'NET_ADMIN'] },
  { flags: ['--cap-add', 'net_admin', '--cap-add', 'CAP_SYS_PTRACE', '--cap-drop', 'CHOWN'] },
  { flags: ['--cap-drop', 'ALL'] },
  { flags: ['--cap-drop', 'ALL', '--cap-add', 'KILL'] },
  { flags: ['--cap-add', 'ALL', '--cap-drop', 'SYS_RESOURCE'], differs: { status: [5] } },
  { flags: ['--cap-add', 'CHOWN', '--cap-drop', 'CHOWN'] },
  { flags: ['--security-opt', 'no-new-privileges'] },
  { flags: ['--security-opt', 'no-new-privileges', '-u', 'tester'] },
  { flags: ['--security-opt', 'seccomp=unconfined'] },
  { flags: ['--security-opt', 'seccomp=PROFILE'] },
  { flags: ['--security-opt', 'systempaths=unconfined'], differs: { mount: [1, 2, 3, 4] } },
  { flags: ['--privileged'], differs: { status: [5], mount: [1, 2, 3] }, needsAll: true },
  { flags: ['--read-only'] },
  { flags: ['--ipc', 'none'] },
  { flags: ['--ipc', 'shareable'] },
  { flags: ['--ipc', 'host'] },
  { flags: ['--pid', 'host'] },
  { flags: ['--uts', 'host'] },
  { flags: ['--cgroupns', 'host'], differs: { cgroup: [1, 3] } },
  { flags: ['--network', 'host'] },
  { flags: ['--shm-size', '3m'] },
  { flags: ['--ulimit', 'nofile=100:200', '--ulimit', 'core=0', '--ulimit', 'nproc=77'] },
  { flags: ['--group-add', '77', '--group-add', 'staff'] },
  { flags: ['--sysctl', 'net.ipv4.ip_forward=1', '--sysctl', 'kernel.msgmax=1000'] },
  { flags: ['--device', 'DEVICES/zero:/dev/z:r', '--device', 'DEVICES/zero:/elsewhere/z'] },
  { flags: ['--device', 'DEVICES:/dev/all'] },
  { flags: ['-v', 'DEVICES:/m:ro'] },
];

/** @returns why docker cannot do it here */
export function impossible({ needsAll = false }: Combination): string | undefined {
  const bounding = /^CapBnd:\s+([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0';
  const every = (1n << BigInt(Number(readFileSync('/proc/sys/kernel/cap_last_cap', 'utf8')) + 1)) - 1n;
  const lacks = needsAll && BigInt(`0x${bounding}`) !== every;
  return lacks ? 'needs a root with every capability; it is in test/vm/inside/docker.test.ts' : undefined;
}

export function differs({ differs = {} }: Combination, thing: Thing): readonly number[] {
  return differs[thing] ?? USUAL[thing];
}

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

/** The host's /dev/shm is everybody's: what is in it comes and goes between one look and the other. */
const withoutSharedMemory = (text: string, ofHost: boolean) =>
  ofHost ? text.replace(/^\/dev\/shm[^\n]*:\n([^#\n].*\n)*/gm, '').replace(/^(d\S+ +)\d+( .* shm)$/gm, '$1$2') : text;

/** Sections of the script's output by their names, the differences that are allowed made alike; mounts in the order of their places.
 *  @throws AssertionError when one is empty */
export function sections(
  text: string,
  combination: Combination,
  besides: typeof REMAPPED = {},
): Record<string, string[]> {
  const found: Record<string, string[]> = {};
  let [lines, allowed]: [string[], readonly number[]] = [[], []];
  const ofHost = combination.flags.join(' ').includes('--ipc host');
  for (const raw of withoutSharedMemory(text.replaceAll('\r', ''), ofHost).split('\n')) {
    if (raw.startsWith('# ')) {
      const name = raw.slice(2);
      lines = [];
      found[name] = lines;
      const listed =
        name === 'sysctl' ? [] : [...differs(combination, name as Thing), ...(besides[name as Thing] ?? [])];
      allowed = listed.filter((number) => HYBRID || !OF_HYBRID.includes(number));
      continue;
    }
    let line: string | undefined = raw;
    for (const number of allowed) line = line === undefined ? undefined : DIFFERENCES[number - 1]![1](line);
    if (line !== undefined) lines.push(stable(line));
  }
  found['mount']?.sort();
  for (const name of [...THINGS, 'sysctl']) assert.ok(found[name] !== undefined && found[name].length > 0, name);
  return found;
}

/** The rows of the table in docs/isolation.md, without their padding. */
export function table(): string[][] {
  const head = [
    'flags',
    '/proc/self/status',
    '`mount`',
    '/proc/self/uid_map',
    '`ulimit -a`',
    '/proc/self/cgroup',
    '/dev',
  ];
  const rows = COMBINATIONS.map((each) => [
    each.flags.length === 0 ? 'none' : `\`${each.flags.join(' ')}\``,
    ...THINGS.map((thing) => differs(each, thing).join(', ') || 'same'),
  ]);
  return [head, ...rows];
}

/** Both get the cgroup namespace by name: docker's default depends on the host, tsbox's does not. */
export const PRIVATE = ['--cgroupns', 'private'];

export type RunArguments = (flags: readonly string[]) => string[];

/** Makes the profile and the devices. @returns `run` and its flags up to the image, the test's paths put in */
export function runArguments(t: TestContext): RunArguments {
  const directory = mkdtempSync(join(tmpdir(), 'tsb-beside-'));
  t.after(() => rmSync(directory, { recursive: true }));
  chmodSync(directory, 0o711); // for a root that is mapped to another user
  const script = 'mkdir d; mknod -m 640 d/zero c 1 5; chown 5:6 d/zero; mknod -m 644 d/full c 1 7';
  assert.equal(spawnSync('sh', ['-c', script], { cwd: directory }).status, 0);
  const rule = { names: ['mkdir'], action: 'SCMP_ACT_ERRNO', errnoRet: 122 };
  writeFileSync(join(directory, 'profile'), JSON.stringify({ defaultAction: 'SCMP_ACT_ALLOW', syscalls: [rule] }));
  return (flags) => {
    const cgroup = flags.includes('--cgroupns') ? [] : PRIVATE;
    const network = flags.includes('--network') ? [] : ['--network', 'none'];
    const given = flags.map((word) =>
      word.replace('PROFILE', `${directory}/profile`).replace('DEVICES', `${directory}/d`),
    );
    return ['run', '--rm', ...network, ...cgroup, ...given];
  };
}
