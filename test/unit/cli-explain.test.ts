import assert from 'node:assert/strict';
import test from 'node:test';
import { eventJson, eventText, explainLayout, planEvents, titleText, wrapCall } from '../../src/cli/explain.ts';
import { noColours, withColours } from '../../src/cli/screen.ts';
import { displayWidth } from '../../src/cli/width.ts';
import { callText, capabilityText, commandLines, quote, seeText, stepJson } from '../../src/plan/explain.ts';
import { keyText, nftKey } from '../../src/plan/nft-key.ts';
import { OPS } from '../../src/plan/ops.ts';
import type { Plan, Step } from '../../src/plan/step.ts';
import { hole, text } from '../../src/plan/text.ts';
import { CAPABILITIES, capabilityMask } from '../../src/spec/capabilities.ts';

const why = 'for a reason';
const CHOWN_KILL = capabilityMask(['CAP_CHOWN', 'CAP_KILL']);

/** One step of every operation, as a reader sees it. */
const GOLDEN: [Step, string][] = [
  [{ op: 'mkdir', path: '/a', mode: 0o755, why }, 'mkdir("/a", 0755)'],
  [
    { op: 'write', path: '/proc/self/uid_map', data: '0 1000 1\n', flags: [], mode: 0, why },
    'write("/proc/self/uid_map", "0 1000 1\\n", 0)',
  ],
  [
    { op: 'write', path: '/f', data: 'x'.repeat(101), flags: ['O_CREAT', 'O_TRUNC'], mode: 0o644, why },
    `write("/f", "${'x'.repeat(100)}"..., O_CREAT|O_TRUNC, 0644)`,
  ],
  [{ op: 'symlink', target: '/proc/self/fd', path: '/dev/fd', why }, 'symlink("/proc/self/fd", "/dev/fd")'],
  [
    { op: 'mknod', path: '/dev/null', mode: 0o020666, major: 1, minor: 3, why },
    'mknod("/dev/null", S_IFCHR|0666, makedev(1, 3))',
  ],
  [{ op: 'chmod', path: '/a', mode: 0o1777, why }, 'chmod("/a", 01777)'],
  [{ op: 'chown', path: '/a', uid: 0, gid: 5, why }, 'chown("/a", 0, 5)'],
  [{ op: 'unlink', path: '/a', why }, 'unlink("/a")'],
  [{ op: 'rmdir', path: '/a', why }, 'rmdir("/a")'],
  [{ op: 'remove_tree', path: '/a', why }, 'remove_tree("/a")'],
  [{ op: 'rename', from: '/a', to: '/b', why }, 'rename("/a", "/b")'],
  [
    { op: 'mount', source: 'proc', target: '/proc', type: 'proc', flags: ['MS_NOSUID', 'MS_NODEV'], data: '', why },
    'mount("proc", "/proc", "proc", MS_NOSUID|MS_NODEV, "")',
  ],
  [{ op: 'umount', target: '.', flags: ['MNT_DETACH'], why }, 'umount2(".", MNT_DETACH)'],
  [
    {
      op: 'mount_setattr',
      target: '/x',
      at: ['AT_RECURSIVE'],
      set: ['MOUNT_ATTR_RDONLY', 'MOUNT_ATTR_NOSUID'],
      clear: ['MOUNT_ATTR_NOEXEC'],
      propagation: ['MS_PRIVATE'],
      why,
    },
    'mount_setattr("/x", AT_RECURSIVE, {attr_set=MOUNT_ATTR_RDONLY|MOUNT_ATTR_NOSUID, attr_clr=MOUNT_ATTR_NOEXEC, propagation=MS_PRIVATE})',
  ],
  [
    { op: 'open_tree', slot: 2, path: '/x', flags: ['OPEN_TREE_CLONE'], why },
    'open_tree("/x", OPEN_TREE_CLONE) -> tree 2',
  ],
  [{ op: 'move_mount', slot: 2, target: '/y', flags: [], why }, 'move_mount(tree 2, "/y", 0)'],
  [{ op: 'pivot_root', root: '.', old: '.', why }, 'pivot_root(".", ".")'],
  [{ op: 'chdir', path: '/', why }, 'chdir("/")'],
  [{ op: 'unshare', flags: ['CLONE_NEWNS', 'CLONE_NEWPID'], why }, 'unshare(CLONE_NEWNS|CLONE_NEWPID)'],
  [{ op: 'setns', path: '/proc/1/ns/net', type: ['CLONE_NEWNET'], why }, 'setns(open("/proc/1/ns/net"), CLONE_NEWNET)'],
  [{ op: 'fork', why }, 'clone(CLONE_PARENT|SIGCHLD)'],
  [{ op: 'spawn', list: [], why }, 'fork()'],
  [{ op: 'write_proc', path: 'sys/net/x', data: '1', why }, 'write("/proc/sys/net/x", "1")'],
  [
    { op: 'open_device', slot: 4, path: '/dev/null', major: 1, minor: 3, why },
    'open_tree(makedev(1, 3) at "/dev/null", OPEN_TREE_CLONE) -> tree 4',
  ],
  [
    {
      op: 'tree_setattr',
      slot: 4,
      at: ['AT_RECURSIVE'],
      set: ['MOUNT_ATTR_RDONLY'],
      clear: [],
      propagation: [],
      why,
    },
    'mount_setattr(tree 4, AT_RECURSIVE, {attr_set=MOUNT_ATTR_RDONLY})',
  ],
  [
    { op: 'join', pid: 7, parent: 6, flags: ['CLONE_NEWNS', 'CLONE_NEWPID'], why },
    'setns(pidfd_open(7), CLONE_NEWNS|CLONE_NEWPID)',
  ],
  [{ op: 'outside', list: [{ op: 'fork', why }], why }, 'outside: 1 step by the monitor'],
  [{ op: 'wait', name: 'start', why }, 'wait("start")'],
  [{ op: 'setsid', why }, 'setsid()'],
  [{ op: 'sethostname', name: text`${hole('id')}`, why }, 'sethostname("{id}")'],
  [{ op: 'setdomainname', name: 'd', why }, 'setdomainname("d")'],
  [{ op: 'link_up', name: 'lo', why }, 'ioctl(SIOCSIFFLAGS, "lo", IFF_UP)'],
  [{ op: 'stdio', stdin: ['STDIN_ONCE'], why }, 'stdio(STDIN_ONCE)'],
  [{ op: 'pty', path: '/dev/pts/ptmx', rows: 24, columns: 80, why }, 'open("/dev/pts/ptmx"), 24 rows, 80 columns'],
  [{ op: 'chown_stdio', uid: 7, why }, 'fchown(0, 1, 2, 7)'],
  [{ op: 'kill_cgroup', path: '/c/cgroup.procs', why }, 'kill(all of "/c/cgroup.procs", SIGKILL)'],
  [{ op: 'close_fds', from: 3, why }, 'close_range(3, ~0U, CLOSE_RANGE_CLOEXEC)'],
  [{ op: 'umask', mask: 0o22, why }, 'umask(022)'],
  [
    { op: 'rlimit', resource: ['RLIMIT_NOFILE'], soft: 1024, hard: -1, why },
    'setrlimit(RLIMIT_NOFILE, {1024, RLIM_INFINITY})',
  ],
  [{ op: 'capbset', keep: CHOWN_KILL, why }, 'prctl(PR_CAPBSET_DROP, all but CAP_CHOWN|CAP_KILL)'],
  [
    { op: 'capset', effective: CHOWN_KILL, permitted: CHOWN_KILL, inheritable: 0n, why },
    'capset({effective=permitted=CAP_CHOWN|CAP_KILL, inheritable=0})',
  ],
  [{ op: 'capambient', raise: 1n, why }, 'prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_CHOWN)'],
  [{ op: 'setgroups', groups: [4, 27], why }, 'setgroups([4, 27])'],
  [{ op: 'setgid', gid: 5, why }, 'setresgid(5, 5, 5)'],
  [{ op: 'setuid', uid: 5, why }, 'setresuid(5, 5, 5)'],
  [{ op: 'prctl', option: ['PR_SET_NO_NEW_PRIVS'], value: 1, why }, 'prctl(PR_SET_NO_NEW_PRIVS, 1)'],
  [
    { op: 'seccomp', filter: new Uint8Array(16), flags: 0, why },
    'seccomp(SECCOMP_SET_MODE_FILTER, 0, {2 instructions})',
  ],
  [{ op: 'keyctl_join', name: 'x', why }, 'keyctl(KEYCTL_JOIN_SESSION_KEYRING, "x")'],
  [
    { op: 'exec', args: ['sh', '-c', 'echo "hi"'], env: ['A=1', 'B=2'], why },
    'execve("sh", ["sh", "-c", "echo \\"hi\\""], [/* 2 variables */])',
  ],
  [{ op: 'flock', path: '/run/lock', why }, 'flock(open("/run/lock"), LOCK_EX)'],
  [
    { op: 'idmap', slot: 2, userns: '/proc/7/ns/user', why },
    'mount_setattr(tree 2, {attr_set=MOUNT_ATTR_IDMAP, userns_fd=open("/proc/7/ns/user")})',
  ],
  [{ op: 'run', args: ['newuidmap', text`${hole('pid')}`, '0'], why }, 'run ["newuidmap", "{pid}", "0"]'],
  [{ op: 'setfsid', uid: 7, gid: 8, why }, 'setfsgid(8), setfsuid(7)'],
  [
    { op: 'bpf_device', cgroup: '/sys/fs/cgroup/x', program: new Uint8Array(16), why },
    'bpf(BPF_PROG_ATTACH, {2 instructions}, open("/sys/fs/cgroup/x"))',
  ],
  [{ op: 'copy', from: '/a', to: '/b', why }, 'copy("/a", "/b")'],
  [
    {
      op: 'write_counted',
      from: '/c',
      count: 'oom_kill',
      path: '/e',
      data: 'x',
      flags: ['O_APPEND'],
      mode: 0o600,
      why,
    },
    'write_counted("/c", "oom_kill", "/e", "x", O_APPEND, 0600)',
  ],
  [
    { op: 'become', from: '/run/a', to: '/run/b', args: ['/bin/node', 'x'], why },
    'rename("/run/a", "/run/b"), at the end execve ["/bin/node", "x"]',
  ],
  [
    { op: 'repeat', every: 500, early: 0, until: 0, args: ['/bin/node', 'x'], why },
    'every 500 ms: execve ["/bin/node", "x"]',
  ],
  [
    { op: 'repeat', every: 500, early: 50, until: 9000, args: ['/bin/node', 'x'], why },
    'every 500 ms (at first 50 ms, at most for 9000 ms): execve ["/bin/node", "x"]',
  ],
  [{ op: 'birth_cgroup', path: '/sys/fs/cgroup/x', why }, 'open("/sys/fs/cgroup/x", O_PATH)'],
  [
    { op: 'link_add', name: 'tsbox0', type: 'bridge', peer: '', netns: '', mac: '02:42:00:00:00:01', mtu: 1500, why },
    'send(RTM_NEWLINK, {IFLA_IFNAME="tsbox0", IFLA_ADDRESS=02:42:00:00:00:01, IFLA_MTU=1500, IFLA_INFO_KIND="bridge"})',
  ],
  [
    {
      op: 'link_add',
      name: 'vethab',
      type: 'veth',
      peer: 'eth0',
      netns: text`/proc/${hole('pid')}/ns/net`,
      mac: '02:42:ac:11:00:02',
      mtu: 1400,
      why,
    },
    'send(RTM_NEWLINK, {IFLA_IFNAME="vethab", IFLA_MTU=1400, IFLA_INFO_KIND="veth", VETH_INFO_PEER={IFLA_IFNAME="eth0", IFLA_ADDRESS=02:42:ac:11:00:02, IFLA_MTU=1400, IFLA_NET_NS_FD=open("/proc/{pid}/ns/net")}})',
  ],
  [
    { op: 'link_set', name: 'vethab', master: 'tsbox0', why },
    'send(RTM_SETLINK, {IFLA_IFNAME="vethab", IFLA_MASTER="tsbox0"})',
  ],
  [
    { op: 'port_set', name: 'vethab', hairpin: 1, isolated: 0, why },
    'send(RTM_NEWLINK, {IFLA_IFNAME="vethab", IFLA_BRPORT_MODE=1, IFLA_BRPORT_ISOLATED=0})',
  ],
  [{ op: 'link_delete', name: 'tsbox0', why }, 'send(RTM_DELLINK, {IFLA_IFNAME="tsbox0"})'],
  [
    { op: 'address_add', link: 'eth0', address: '172.17.0.2/16', why },
    'send(RTM_NEWADDR, {"eth0", IFA_LOCAL=172.17.0.2/16})',
  ],
  [
    { op: 'route_add', to: 'default', via: '172.17.0.1', link: 'eth0', why },
    'send(RTM_NEWROUTE, {RTA_DST=default, RTA_GATEWAY=172.17.0.1, RTA_OIF="eth0"})',
  ],
  [
    { op: 'nft', commands: 'add table inet tsbox\nadd set inet tsbox bridges {\n  type ifname;\n}\n', why },
    'nft_run_cmd_from_buffer("add table inet tsbox\\nadd set inet tsbox bridges {\\n  type ifname;\\n}\\n")',
  ],
  [
    { op: 'nft_delete', table: 'tsbox', set: 'ports4', key: nftKey({ protocol: 'tcp' }, { port: 8080 }), why },
    'send(NFT_MSG_DELSETELEM, {NFTA_TABLE_NAME="tsbox", NFTA_SET_NAME="ports4", tcp . 8080})',
  ],
  [
    { op: 'nft_delete', table: 'tsbox', set: '', key: new Uint8Array(), why },
    'send(NFT_MSG_DELTABLE, {NFTA_TABLE_NAME="tsbox"})',
  ],
  [
    { op: 'last', lock: '/run/l', directory: '/run/d', list: [{ op: 'setsid', why }], why },
    'flock(open("/run/l"), LOCK_EX), if rmdir("/run/d"): 1 step',
  ],
  [{ op: 'together', list: [{ op: 'setsid', why }], why }, '1 step'],
  [{ op: 'bind_port', protocol: 'tcp', address: '::', port: 80, why }, 'bind("tcp", [::]:80)'],
  [{ op: 'bind_port', protocol: 'udp', address: '127.0.0.1', port: 53, why }, 'bind("udp", 127.0.0.1:53)'],
  [{ op: 'listen', path: '/run/s', why }, 'listen("/run/s")'],
  [
    { op: 'log', path: '/log', maxSize: -1, maxFiles: 1, attrs: '', format: 'json-file', compress: 0, buffer: 0, why },
    'log("/log", -1, 1, "", "json-file", 0, 0)',
  ],
];

for (const [step, expected] of GOLDEN) {
  test(`explain: ${expected.slice(0, 60)}`, () => assert.equal(callText(step), expected));
}

/** Steps by their calls above, and what does the same in a shell. */
const TYPED: readonly (readonly [call: string, commands: readonly string[]])[] = [
  ['chdir("/")', []],
  ['ioctl(SIOCSIFFLAGS, "lo", IFF_UP)', ['ip link set lo up']],
  [
    'send(RTM_NEWLINK, {IFLA_IFNAME="tsbox0", IFLA_ADDR',
    ['ip link add tsbox0 address 02:42:00:00:00:01 mtu 1500 type bridge'],
  ],
  [
    'send(RTM_NEWLINK, {IFLA_IFNAME="vethab"',
    ['ip link add vethab mtu 1400 type veth peer name eth0 netns {pid} address 02:42:ac:11:00:02 mtu 1400'],
  ],
  ['send(RTM_SETLINK', ['ip link set vethab master tsbox0']],
  ['send(RTM_DELLINK', ['ip link delete tsbox0']],
  ['send(RTM_NEWADDR', ['ip addr add 172.17.0.2/16 brd + dev eth0']],
  ['nft_run_cmd', ['nft add table inet tsbox', "nft add set inet tsbox bridges '{ type ifname; }'"]],
  ['send(NFT_MSG_DELSETELEM', ["nft delete element inet tsbox ports4 '{ tcp . 8080 }'"]],
  ['send(NFT_MSG_DELTABLE', ['nft delete table inet tsbox']],
  ['send(RTM_NEWROUTE', ['ip route add default via 172.17.0.1 dev eth0']],
];

for (const [call, commands] of TYPED) {
  test(`explain: what a person would type for ${call}`, () => {
    const [step] = GOLDEN.find(([, expected]) => expected.startsWith(call)) ?? [];
    assert.ok(step);
    assert.deepEqual(commandLines(step), commands);
    assert.deepEqual(stepJson(step)['commands'] ?? [], commands);
    for (const width of [undefined, 60, 160]) {
      const event = { list: 'init', number: 1, depth: 0, step } as const;
      const shown = eventText(event, explainLayout(width), noColours);
      assert.equal(/= (ip|nft) /.test(shown), commands.length > 0);
    }
  });
}

test('explain: keys of elements are shown as nft(8) writes them', () => {
  const [tcp, port] = [{ protocol: 'tcp' }, { port: 443 }] as const;
  assert.equal(keyText(nftKey(tcp, port)), 'tcp . 443');
  assert.equal(keyText(nftKey({ address: '10.0.0.1' }, { protocol: 'udp' }, port)), '10.0.0.1 . udp . 443');
  assert.equal(keyText(nftKey({ address: 'fd00::1' }, tcp, port)), 'fd00::1 . tcp . 443');
  assert.equal(keyText(nftKey({ interface: 'tsbox0' })), '"tsbox0"');
  assert.equal(keyText(nftKey({ interface: 'a' }, { interface: 'br-0123456789ab' })), '"a" . "br-0123456789ab"');
  assert.equal(keyText(nftKey({ address: '10.0.0.1' })), '0x0a000001');
  assert.equal(keyText(Uint8Array.of(99, 0, 0, 0, 1, 2, 0, 0)), '0x6300000001020000');
});

test('explain: there is an example of every operation', () => {
  assert.deepEqual([...new Set(GOLDEN.map(([step]) => step.op))].sort(), Object.keys(OPS).sort());
});

test('explain: capabilities are named; all of them have a word, unknown bits a number', () => {
  assert.equal(capabilityText(0n), '0');
  assert.equal(capabilityText((1n << 64n) - 1n), 'all');
  assert.equal(capabilityText((1n << BigInt(CAPABILITIES.length)) - 1n), 'all');
  assert.equal(capabilityText(1n | (1n << 60n)), 'CAP_CHOWN|0x1000000000000000');
});

test('explain: what would not print is escaped', () => {
  assert.equal(quote('a"b\\c\n\t\x1b[31mé'), '"a\\"b\\\\c\\n\\t\\x1b[31mé"');
});

test('explain: the step has its own reference or that of its operation', () => {
  assert.equal(seeText({ op: 'setsid', why }), 'setsid(2)');
  assert.equal(seeText({ op: 'setsid', why, see: 'credentials(7)' }), 'credentials(7)');
});

test('explain: JSON has every argument in a form that JSON can hold', () => {
  const seccomp = stepJson({ op: 'seccomp', filter: Uint8Array.of(1, 2, 255), flags: 0, why });
  assert.deepEqual(seccomp['args'], { filter: 'AQL/', flags: 0 });
  const capset = stepJson({ op: 'capset', effective: CHOWN_KILL, permitted: 0n, inheritable: 0n, why });
  assert.deepEqual(capset['args'], { effective: '0x21', permitted: '0x0', inheritable: '0x0' });
  for (const [step] of GOLDEN) assert.doesNotThrow(() => JSON.stringify(stepJson(step)));
});

const plan: Plan = {
  setup: [{ op: 'mkdir', path: '/a', mode: 0o700, why: 'made' }],
  monitor: [
    { op: 'setsid', why: 'alone' },
    {
      op: 'spawn',
      why: 'the new process',
      list: [
        { op: 'unshare', flags: ['CLONE_NEWUSER'], why: 'own users' },
        { op: 'outside', why: 'maps', list: [{ op: 'write', path: '/m', data: '0', flags: [], mode: 0, why: 'map' }] },
        { op: 'exec', args: ['true'], env: [], why: 'the command' },
      ],
    },
    { op: 'flock', path: '/l', why: 'held' },
  ],
  cleanup: [{ op: 'rmdir', path: '/a', why: 'gone', onError: { ENOENT: 'skip' } }],
};

test('explain: the lists of a plan come in the order in which they are run', () => {
  assert.deepEqual(
    planEvents(plan).map(({ list, number, depth, step }) => `${list} ${number} ${depth} ${step.op}`),
    [
      'setup 1 0 mkdir',
      'monitor 1 0 setsid',
      'monitor 2 0 spawn',
      'init 1 0 unshare',
      'init 2 0 outside',
      'init 1 1 write',
      'init 3 0 exec',
      'monitor 3 0 flock',
      'cleanup 1 0 rmdir',
    ],
  );
});

const event = (step: Step, errno?: number) => ({
  list: 'init' as const,
  number: 7,
  depth: 0,
  step,
  ...(errno !== undefined && { errno, ns: 1500 }),
});

test('explain: wide terminals have columns, and long cells go on below', () => {
  const layout = explainLayout(100);
  const step: Step = {
    op: 'mount',
    source: 'overlay',
    target: '/var/lib/tsbox/overlay2/x/merged',
    type: 'overlay',
    flags: ['MS_NOSUID', 'MS_NODEV'],
    data: 'lowerdir=l/A:l/B',
    why: 'the layers of the image below, what is written above',
    see: 'overlayfs.rst',
  };
  assert.equal(
    titleText(layout, noColours) + eventText(event(step), layout, noColours),
    [
      '  #  list     system call                         why                         see',
      '  7  init     mount("overlay",                    the layers of the image     overlayfs.rst',
      '                  "/var/lib/tsbox/overlay2/x/     below, what is written',
      '                  merged", "overlay", MS_NOSUID|  above',
      '                  MS_NODEV, "lowerdir=l/A:l/B")',
      '',
    ].join('\n'),
  );
});

test('explain: no line is wider than the terminal, however narrow', () => {
  for (const width of [20, 40, 80, 100, 132, 200]) {
    for (const [step] of GOLDEN) {
      for (const line of eventText(event(step, 1), explainLayout(width), noColours).split('\n')) {
        assert.ok(displayWidth(line) <= Math.max(width, 40), `${width}: ${line}`);
      }
    }
  }
});

test('explain: without a terminal each step is one line', () => {
  for (const [step] of GOLDEN) {
    const lines = eventText(event(step), explainLayout(undefined), noColours);
    assert.equal(lines.split('\n').length, 2);
    assert.ok(lines.includes(callText(step)));
    assert.ok(lines.endsWith(`  ${why} (${seeText(step)})\n`));
  }
});

test('explain: ids are shortened for people and whole in the JSON', () => {
  const id = '0123456789ab'.padEnd(64, 'c');
  const step: Step = { op: 'mkdir', path: `/run/${id}/x`, mode: 0o700, why };
  assert.match(eventText(event(step), explainLayout(undefined), noColours), /"\/run\/0123456789ab…\/x"/);
  assert.equal((eventJson(event(step))['args'] as { path: string }).path, `/run/${id}/x`);
});

test('explain: a refusal is shown with its errno, in red; one that is tolerated in yellow', () => {
  const failing = event({ op: 'rmdir', path: '/a', why }, 16);
  const text = eventText(failing, explainLayout(undefined), withColours);
  assert.ok(text.includes('\x1b[31mrmdir("/a") = -1 EBUSY (Device or resource busy)'));
  const tolerated = event({ op: 'rmdir', path: '/a', why, onError: { ENOENT: 'skip' } }, 2);
  const skipped = eventText(tolerated, explainLayout(undefined), withColours);
  assert.ok(skipped.includes('\x1b[33mrmdir("/a") = -1 ENOENT (No such file or directory), skipped'));
  assert.equal(eventJson(failing)['error'], 'EBUSY');
  assert.equal(eventJson(event({ op: 'setsid', why }, 0))['error'], undefined);
});

test('explain: wrapping loses nothing but blanks at line ends', () => {
  const call = `mount("overlay", "/a/${'b'.repeat(90)}/c", "", 0, "lowerdir=l/A:l/B:l/C,upperdir=x y  z")`;
  for (let width = 5; width < 100; width++) {
    const lines = wrapCall(call, width, 4);
    assert.equal(lines.join('').replaceAll(' ', ''), call.replaceAll(' ', ''));
    for (const line of lines) assert.ok(line.length <= width, `${width}: ${line}`);
  }
});
