/** Every operation through both interpreters: the one in TypeScript and the executor. Each runs in a process of its own. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { OPS, type OpName } from '../../src/plan/ops.ts';
import type { Step } from '../../src/plan/step.ts';
import { encodePlan } from '../../src/plan/wire.ts';
import { EXECUTOR_ONLY } from '../../src/runtime/interpret.ts';
import { executorPath } from '../../src/runtime/launch.ts';
import { hostFacts } from '../../src/sys/probe.ts';
import { requires } from '../requires.ts';
import { networkCases, networkRefusals } from './network-cases.ts';

const INTERPRET = new URL('../../src/runtime/interpret.ts', import.meta.url).href;
const SH = '/bin/sh';
const ENV = ['PATH=/usr/sbin:/usr/bin:/sbin:/bin'];
const why = 'test';

/** In the first hierarchy that there is. */
const CGROUP = `${hostFacts().hierarchies[0]?.mount}/tsbox-interpreters-test`;

const MASK = (1n << 0n) | (1n << 5n);

/** Steps that use the operation in a process with namespaces of its own, and a script whose output shows that it had its effect. */
interface Case {
  steps: Step[];
  show: string;
}

const unshare = (...flags: (keyof typeof import('../../src/spec/linux.ts').CLONE)[]): Step[] => [
  { op: 'unshare', flags, why },
  ...(flags.includes('CLONE_NEWNS')
    ? [{ op: 'mount', source: '', target: '/', type: '', flags: ['MS_REC', 'MS_PRIVATE'], data: '', why } as const]
    : []),
];

function tmpfs(at: string): Step[] {
  return [
    ...unshare('CLONE_NEWNS'),
    { op: 'mount', source: 'tmpfs', target: at, type: 'tmpfs', flags: [], data: 'size=1m', why },
  ];
}

/** @param other a process whose UTS and network namespaces are not ours
 *  @param mapped one in a user namespace where 0 is 100000 outside
 *  @param cgroup one of version 2 with nobody in it */
function cases(dir: string, other: number, mapped: number, cgroup: string): Partial<Record<OpName, Case>> {
  const file = (name: string): Step => ({
    op: 'write',
    path: `${dir}/${name}`,
    data: 'x',
    flags: ['O_CREAT'],
    mode: 0o644,
    why,
  });
  const list = `ls -lnR --time-style=+ ${dir} | sed 's/^total.*//'`;
  return {
    mkdir: { steps: [{ op: 'mkdir', path: `${dir}/d`, mode: 0o750, why }], show: list },
    write: { steps: [{ ...file('f'), data: 'héllo\n' } as Step], show: `cat ${dir}/f; stat -c %a ${dir}/f` },
    symlink: { steps: [{ op: 'symlink', target: '../x y', path: `${dir}/l`, why }], show: `readlink ${dir}/l` },
    mknod: {
      steps: [
        { op: 'mknod', path: `${dir}/n`, mode: 0o020640, major: 1, minor: 3, why },
        { op: 'mknod', path: `${dir}/big`, mode: 0o060600, major: 259, minor: 300, why },
        { op: 'mknod', path: `${dir}/p`, mode: 0o010600, major: 0, minor: 0, why },
      ],
      show: `stat -c '%n %f %t %T' ${dir}/n ${dir}/big ${dir}/p`,
    },
    chmod: { steps: [file('f'), { op: 'chmod', path: `${dir}/f`, mode: 0o4711, why }], show: `stat -c %a ${dir}/f` },
    chown: {
      steps: [file('f'), { op: 'chown', path: `${dir}/f`, uid: 7, gid: 8, why }],
      show: `stat -c %u:%g ${dir}/f`,
    },
    unlink: { steps: [file('f'), file('g'), { op: 'unlink', path: `${dir}/f`, why }], show: list },
    rmdir: {
      steps: [
        { op: 'mkdir', path: `${dir}/d`, mode: 0o755, why },
        { op: 'rmdir', path: `${dir}/d`, why },
      ],
      show: list,
    },
    remove_tree: {
      steps: [
        { op: 'mkdir', path: `${dir}/d`, mode: 0o755, why },
        file('d/f'),
        file('keep'),
        { op: 'symlink', target: `${dir}/keep`, path: `${dir}/d/l`, why },
        { op: 'remove_tree', path: `${dir}/d`, why },
      ],
      show: list,
    },
    rename: { steps: [file('f'), { op: 'rename', from: `${dir}/f`, to: `${dir}/g`, why }], show: list },
    mount: { steps: tmpfs(dir), show: `findmnt -no FSTYPE,OPTIONS ${dir}` },
    umount: {
      steps: [...tmpfs(dir), { op: 'umount', target: dir, flags: ['MNT_DETACH'], why }],
      show: `findmnt -n ${dir}; echo $?`,
    },
    mount_setattr: {
      steps: [
        ...tmpfs(dir),
        {
          op: 'mount_setattr',
          target: dir,
          at: ['AT_RECURSIVE'],
          set: ['MOUNT_ATTR_RDONLY', 'MOUNT_ATTR_NOSUID'],
          clear: [],
          propagation: [],
          why,
        },
      ],
      show: `findmnt -no OPTIONS ${dir}`,
    },
    open_tree: {
      steps: [
        ...unshare('CLONE_NEWNS'),
        { op: 'open_tree', slot: 3, path: '/proc', flags: ['OPEN_TREE_CLONE'], why },
        { op: 'move_mount', slot: 3, target: dir, flags: ['MOVE_MOUNT_T_SYMLINKS'], why },
      ],
      show: `findmnt -no FSTYPE ${dir}`,
    },
    idmap: {
      steps: [
        file('f'),
        { op: 'mkdir', path: `${dir}/m`, mode: 0o755, why },
        ...unshare('CLONE_NEWNS'),
        { op: 'open_tree', slot: 3, path: dir, flags: ['OPEN_TREE_CLONE'], why },
        { op: 'idmap', slot: 3, userns: `/proc/${mapped}/ns/user`, why },
        { op: 'move_mount', slot: 3, target: `${dir}/m`, flags: [], why },
      ],
      show: `stat -c %u:%g ${dir}/f ${dir}/m/f`,
    },
    run: {
      steps: [{ op: 'run', args: ['sh', '-c', `echo "$0" > ${dir}/f`, 'a b'], why }],
      show: `cat ${dir}/f`,
    },
    setfsid: {
      steps: [
        { op: 'chmod', path: dir, mode: 0o777, why },
        { op: 'setfsid', uid: 7, gid: 8, why },
        file('f'),
        { op: 'setfsid', uid: 0, gid: 0, why },
        file('g'),
      ],
      show: `stat -c '%n %u:%g' ${dir}/f ${dir}/g`,
    },
    pivot_root: {
      steps: [
        ...unshare('CLONE_NEWNS'),
        { op: 'mount', source: '/', target: dir, type: '', flags: ['MS_BIND', 'MS_REC'], data: '', why },
        { op: 'chdir', path: dir, why },
        { op: 'pivot_root', root: '.', old: '.', why },
        { op: 'umount', target: '.', flags: ['MNT_DETACH'], why },
        { op: 'chdir', path: '/', why },
      ],
      show: 'pwd; test -x /bin/sh && echo yes',
    },
    chdir: { steps: [{ op: 'chdir', path: '/usr/bin', why }], show: 'pwd' },
    unshare: {
      steps: unshare('CLONE_NEWUTS', 'CLONE_NEWIPC', 'CLONE_NEWNET'),
      show: 'ls /sys/class/net >/dev/null; cat /proc/net/dev | wc -l',
    },
    setns: {
      steps: [{ op: 'setns', path: `/proc/${other}/ns/uts`, type: ['CLONE_NEWUTS'], why }],
      show: 'uname -n',
    },
    sethostname: { steps: [...unshare('CLONE_NEWUTS'), { op: 'sethostname', name: 'two', why }], show: 'uname -n' },
    setdomainname: {
      steps: [...unshare('CLONE_NEWUTS'), { op: 'setdomainname', name: 'dom', why }],
      show: 'cat /proc/sys/kernel/domainname',
    },
    link_up: {
      steps: [...unshare('CLONE_NEWNET'), { op: 'link_up', name: 'lo', why }],
      show: 'ip -o link show lo | cut -d" " -f3',
    },
    setsid: { steps: [{ op: 'setsid', why }], show: 'test "$(ps -o sid= -p $$ | tr -d " ")" = $$ && echo leader' },
    close_fds: { steps: [{ op: 'close_fds', from: 3, why }], show: 'ls /proc/self/fd' },
    umask: { steps: [{ op: 'umask', mask: 0o027, why }], show: 'umask' },
    rlimit: {
      steps: [{ op: 'rlimit', resource: ['RLIMIT_NOFILE'], soft: 99, hard: 100, why }],
      show: 'ulimit -Sn; ulimit -Hn',
    },
    capbset: { steps: [{ op: 'capbset', keep: MASK, why }], show: 'grep CapBnd /proc/self/status' },
    capset: {
      steps: [{ op: 'capset', effective: 0n, permitted: MASK, inheritable: MASK, why }],
      show: 'grep -E "CapInh" /proc/self/status',
    },
    capambient: {
      steps: [
        { op: 'capset', effective: MASK, permitted: MASK, inheritable: MASK, why },
        { op: 'capambient', raise: MASK, why },
      ],
      show: 'grep CapAmb /proc/self/status',
    },
    setgroups: { steps: [{ op: 'setgroups', groups: [5, 1000, 70000], why }], show: 'grep Groups /proc/self/status' },
    setgid: { steps: [{ op: 'setgid', gid: 65534, why }], show: 'grep Gid /proc/self/status' },
    setuid: { steps: [{ op: 'setuid', uid: 65534, why }], show: 'grep -E "Uid|CapEff" /proc/self/status' },
    prctl: {
      steps: [{ op: 'prctl', option: ['PR_SET_NO_NEW_PRIVS'], value: 1, why }],
      show: 'grep NoNewPrivs /proc/self/status',
    },
    seccomp: {
      // One instruction: BPF_RET, SECCOMP_RET_ALLOW.
      steps: [{ op: 'seccomp', filter: Uint8Array.of(6, 0, 0, 0, 0, 0, 0xff, 0x7f), flags: 0, why }],
      show: 'grep -E "^Seccomp:" /proc/self/status',
    },
    kill_cgroup: {
      steps: [
        { op: 'mkdir', path: CGROUP, mode: 0o755, why },
        { op: 'write', path: `${CGROUP}/cgroup.procs`, data: String(other), flags: [], mode: 0, why },
        { op: 'kill_cgroup', path: `${CGROUP}/cgroup.procs`, why },
        { op: 'rmdir', path: CGROUP, why, onError: { EBUSY: 'retry' } },
      ],
      // A process leaves its cgroup a moment before it is a zombie.
      show: `
        for try in $(seq 300); do grep -q State:.Z /proc/${other}/status && break; sleep 0.1; done
        grep -c State:.Z /proc/${other}/status; ls -d ${CGROUP}`,
    },
    bpf_device: {
      // Two instructions: the answer 0, that is no, and exit.
      steps: [
        {
          op: 'bpf_device',
          cgroup,
          program: Uint8Array.of(0xb4, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0),
          why,
        },
      ],
      // Back at the end: a cgroup with somebody in it cannot be removed.
      show: `
        home=$(sed -n 's/^0:://p' /proc/self/cgroup)
        echo $$ > ${cgroup}/cgroup.procs; cat /dev/zero 2>&1
        echo $$ > ${cgroup}/..$home/cgroup.procs; head -c1 /dev/zero | od -c`,
    },
    copy: {
      steps: [file('f'), { op: 'copy', from: `${dir}/f`, to: `${dir}/g`, why }],
      show: `cat ${dir}/g; stat -c %a ${dir}/g`,
    },
    write_counted: {
      steps: [
        { op: 'write', path: `${dir}/c`, data: 'zero 00\nmore 1\nmo 2x\n m 3', flags: ['O_CREAT'], mode: 0o644, why },
        ...['zero', 'more', 'mo', 'm', 'none'].map(
          (count): Step => ({
            op: 'write_counted',
            from: `${dir}/c`,
            count,
            path: `${dir}/${count}`,
            data: count,
            flags: ['O_CREAT'],
            mode: 0o600,
            why,
          }),
        ),
      ],
      show: `ls ${dir}; cat ${dir}/more; stat -c %a ${dir}/more`,
    },
    write_proc: {
      steps: [...unshare('CLONE_NEWUTS'), { op: 'write_proc', path: 'sys/kernel/hostname', data: 'three', why }],
      show: 'uname -n',
    },
    open_device: {
      steps: [
        ...unshare('CLONE_NEWNS'),
        file('f'),
        { op: 'open_device', slot: 2, path: '/dev/null', major: 1, minor: 3, why },
        { op: 'move_mount', slot: 2, target: `${dir}/f`, flags: [], why },
      ],
      show: `stat -c %t:%T ${dir}/f`,
    },
    tree_setattr: {
      steps: [
        ...unshare('CLONE_NEWNS'),
        { op: 'open_tree', slot: 0, path: '/proc', flags: ['OPEN_TREE_CLONE'], why },
        {
          op: 'tree_setattr',
          slot: 0,
          at: [],
          set: ['MOUNT_ATTR_RDONLY'],
          clear: [],
          propagation: ['MS_PRIVATE'],
          why,
        },
        { op: 'move_mount', slot: 0, target: dir, flags: ['MOVE_MOUNT_T_SYMLINKS'], why },
      ],
      show: `findmnt -no FSTYPE,OPTIONS,PROPAGATION ${dir}`,
    },
    join: {
      steps: [{ op: 'join', pid: other, parent: process.pid, flags: ['CLONE_NEWUTS'], why }],
      show: 'uname -n',
    },
    keyctl_join: {
      steps: [{ op: 'keyctl_join', name: '_tsbox_test', why }],
      show: 'grep -q _tsbox_test /proc/keys && echo joined',
    },
    ...networkCases(other),
  };
}

/** A cgroup of version 2 that is gone after the test. */
function temporaryCgroup(t: TestContext): string {
  const [mount = '/sys/fs/cgroup'] = /^cgroup2 (\S+)/m.exec(readFileSync('/proc/mounts', 'utf8'))?.slice(1) ?? [];
  const path = mkdtempSync(`${mount}/tsbox-test-`);
  t.after(() => rmdirSync(path));
  return path;
}

function throughTypeScript(steps: readonly Step[], file: string): string {
  const program = `
    import { interpret } from ${JSON.stringify(INTERPRET)};
    const revive = (_, v) => v && v.bigint ? BigInt(v.bigint) : v && v.bytes ? Uint8Array.from(v.bytes) : v;
    interpret(JSON.parse(${JSON.stringify(serialize(steps))}, revive));
  `;
  writeFileSync(file, program);
  const run = spawnSync(process.execPath, [file], { stdio: ['ignore', 'pipe', 'pipe'], encoding: 'utf8' });
  return run.stdout + run.stderr;
}

function serialize(steps: readonly Step[]): string {
  return JSON.stringify(steps, (_, value) => {
    if (typeof value === 'bigint') return { bigint: String(value) };
    return value instanceof Uint8Array ? { bytes: [...value] } : value;
  });
}

/** The steps are the list of a spawned process; its output comes by way of a file, as the monitor's streams are not the matter here. */
function throughExecutor(steps: readonly Step[], planFile: string): string {
  const { bytes } = encodePlan({ setup: [], monitor: [{ op: 'spawn', list: steps, why }], cleanup: [] });
  writeFileSync(planFile, bytes);
  const plan = openSync(planFile, 'r');
  try {
    const run = spawnSync(executorPath(), ['3'], {
      stdio: ['ignore', 'ignore', 'pipe', plan, 'pipe'],
      encoding: 'utf8',
    });
    return run.stderr;
  } finally {
    closeSync(plan);
  }
}

/** A process of ours whose UTS and network namespaces are others. */
async function elsewhere(t: TestContext): Promise<number> {
  const holder = spawn('unshare', ['--uts', '--net', 'sh', '-c', 'hostname elsewhere; echo; exec sleep 60']);
  t.after(() => holder.kill());
  await once(holder.stdout, 'data');
  return holder.pid ?? 0;
}

async function observe(t: TestContext, op: OpName, how: 'typescript' | 'executor'): Promise<string> {
  const dir = mkdtempSync(join(tmpdir(), 'tsbox-op-'));
  const out = mkdtempSync(join(tmpdir(), 'tsbox-op-out-'));
  t.after(() => {
    for (const path of [dir, out]) rmSync(path, { recursive: true, force: true });
  });
  const mapped = spawn('unshare', ['--user', 'sh', '-c', 'echo; exec sleep 60']);
  t.after(() => mapped.kill());
  await once(mapped.stdout, 'data');
  for (const ids of ['uid', 'gid']) writeFileSync(`/proc/${mapped.pid}/${ids}_map`, '0 100000 65536');
  const one = cases(dir, await elsewhere(t), mapped.pid ?? 0, op === 'bpf_device' ? temporaryCgroup(t) : '')[op];
  assert.ok(one, `no case for ${op}`);
  // Before anything is unshared or dropped, so that both write to the same place.
  const script = `exec > ${out}/shown 2>&1; ${one.show}`;
  const preset: Step[] = [
    { op: 'umask', mask: 0, why },
    { op: 'chmod', path: out, mode: 0o777, why },
  ];
  const steps: Step[] = [...preset, ...one.steps, { op: 'exec', args: [SH, '-c', script], env: ENV, why }];
  const said =
    how === 'typescript' ? throughTypeScript(steps, `${out}/run.mjs`) : throughExecutor(steps, `${out}/plan`);
  const shown = spawnSync('cat', [`${out}/shown`], { encoding: 'utf8' });
  assert.equal(shown.status, 0, `${how}: nothing was shown: ${said}`);
  return shown.stdout.replaceAll(dir, 'DIR');
}

const twofold = (Object.keys(OPS) as OpName[]).filter(
  (op) => !EXECUTOR_ONLY.includes(op) && op !== 'exec' && op !== 'move_mount' && !['last', 'together'].includes(op), // these two: network-ops.test.ts
);

for (const op of twofold) {
  test(`interpreters: ${op} has the same effect through both`, async (t) => {
    if (!requires(t, 'root', 'command:findmnt', 'command:ip', 'command:nft')) return;
    const typescript = await observe(t, op, 'typescript');
    assert.equal(await observe(t, op, 'executor'), typescript);
    assert.notEqual(typescript.trim(), '', 'the effect can be seen');
  });
}

/** Steps that must be refused, each after a preset that makes it tempting; and the errno that says why. */
function refusals(dir: string, other: number): Record<string, { steps: Step[]; refused: Step; errno: string }> {
  const link: Step[] = [
    { op: 'mkdir', path: `${dir}/d`, mode: 0o755, why },
    { op: 'symlink', target: '/proc/self/cwd', path: `${dir}/l`, why },
    { op: 'chdir', path: `${dir}/d`, why },
  ];
  const null2: Step[] = [{ op: 'symlink', target: '/dev/null', path: `${dir}/null`, why }];
  const device = (path: string): Step => ({ op: 'open_device', slot: 0, path, major: 1, minor: 3, why });
  const covered: Step[] = [
    ...unshare('CLONE_NEWNS', 'CLONE_NEWUTS'),
    {
      op: 'mount',
      source: '/proc/sys/kernel/domainname',
      target: '/proc/sys/kernel/hostname',
      type: '',
      flags: ['MS_BIND'],
      data: '',
      why,
    },
  ];
  const overProc: Step[] = [
    ...unshare('CLONE_NEWNS', 'CLONE_NEWUTS'),
    { op: 'mkdir', path: `${dir}/sys`, mode: 0o755, why },
    { op: 'mount', source: dir, target: '/proc', type: '', flags: ['MS_BIND'], data: '', why },
  ];
  const hostname: Step = { op: 'write_proc', path: 'sys/kernel/hostname', data: 'x', why };
  const mark: Step = { op: 'write', path: `${dir}/l/f`, data: 'x', flags: ['O_CREAT'], mode: 0o644, why };
  const mount: Step[] = [
    ...unshare('CLONE_NEWNS'),
    ...link,
    { op: 'open_tree', slot: 0, path: '/proc', flags: ['OPEN_TREE_CLONE'], why },
  ];
  return {
    'mkdir through a magic link': {
      steps: link,
      refused: { op: 'mkdir', path: `${dir}/l/e`, mode: 0o755, why },
      errno: 'ELOOP',
    },
    'write through a magic link': { steps: link, refused: mark, errno: 'ELOOP' },
    'chdir through a magic link': { steps: link, refused: { op: 'chdir', path: `${dir}/l`, why }, errno: 'ELOOP' },
    'move_mount through a magic link': {
      steps: mount,
      refused: { op: 'move_mount', slot: 0, target: `${dir}/l`, flags: ['MOVE_MOUNT_T_SYMLINKS'], why },
      errno: 'ELOOP',
    },
    'move_mount of a directory on a file': {
      steps: [...mount, { ...mark, path: `${dir}/f` } as Step],
      refused: { op: 'move_mount', slot: 0, target: `${dir}/f`, flags: [], why },
      errno: 'ENOTDIR',
    },
    'open_device of another device': { steps: [], refused: device('/dev/zero'), errno: 'ENODEV' },
    'open_device of a link to the device': { steps: null2, refused: device(`${dir}/null`), errno: 'ENODEV' },
    'write_proc to what was mounted over it': { steps: covered, refused: hostname, errno: 'EXDEV' },
    'write_proc without procfs': { steps: overProc, refused: hostname, errno: 'EXDEV' },
    'join of a process with another parent': {
      steps: [],
      refused: { op: 'join', pid: other, parent: 1, flags: ['CLONE_NEWUTS'], why },
      errno: 'ESRCH',
    },
    ...networkRefusals(),
  };
}

for (const name of Object.keys(refusals('', 0))) {
  test(`interpreters: both refuse ${name}`, async (t) => {
    if (!requires(t, 'root', 'command:findmnt', 'command:nft')) return;
    for (const how of ['typescript', 'executor'] as const) {
      const dir = mkdtempSync(join(tmpdir(), 'tsbox-op-'));
      t.after(() => rmSync(dir, { recursive: true, force: true }));
      const { steps, refused, errno } = refusals(dir, await elsewhere(t))[name]!;
      // Skipping this errno and no other, the list goes on; the same list without it does not.
      const lists = [{ [errno]: 'skip' } as const, {}].map((onError): Step[] => [
        ...steps,
        { ...refused, onError },
        { op: 'exec', args: [SH, '-c', `echo reached > ${dir}/reached`], env: ENV, why },
      ]);
      const run = how === 'typescript' ? throughTypeScript : throughExecutor;
      const reached = lists.map((list) => {
        rmSync(dir, { recursive: true, force: true });
        mkdirSync(dir);
        run(list, `${dir}.run.mjs`);
        return existsSync(`${dir}/reached`);
      });
      rmSync(`${dir}.run.mjs`, { force: true });
      assert.deepEqual(reached, [true, false], how);
    }
  });
}
