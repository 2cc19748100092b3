/** For interpreters.test.ts: the operations about networks. Each case has a network namespace of its own. */
import { type KeyPart, nftKey } from '../../src/plan/nft-key.ts';
import type { OpName } from '../../src/plan/ops.ts';
import type { Step } from '../../src/plan/step.ts';

const why = 'test';
const MAC = '02:42:ac:11:00:02';

/** What tsbox does with rules, in small. */
const TABLE = [
  'add table inet tsbox',
  'add set inet tsbox bridges { type ifname; }',
  'add map inet tsbox ports4 { type inet_proto . inet_service : ipv4_addr . inet_service; }',
  'add map inet tsbox ports6_at {',
  '  type ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service;',
  '}',
  'add element inet tsbox bridges { "tsbox0", "ts-0123abcd" }',
  'add element inet tsbox ports4 { tcp . 8080 : 172.17.0.2 . 80, udp . 8080 : 172.17.0.2 . 53 }',
  'add element inet tsbox ports6_at { fd00::1 . tcp . 8080 : fd00::2 . 80, fd00::1 . tcp . 443 : fd00::2 . 443 }',
  'add chain inet tsbox before { type nat hook prerouting priority dstnat; }',
  'add rule inet tsbox before fib daddr type local dnat ip to meta l4proto . th dport map @ports4',
].join('\n');

const table: Step[] = [
  { op: 'unshare', flags: ['CLONE_NEWNET'], why },
  { op: 'nft', commands: TABLE, why },
];
const gone = (set: string, ...key: KeyPart[]): Step => ({
  op: 'nft_delete',
  table: 'tsbox',
  set,
  key: nftKey(...key),
  why,
});

/** @param other a process in another network namespace */
export function networkCases(other: number): Partial<Record<OpName, { steps: Step[]; show: string }>> {
  const own: Step[] = [
    { op: 'unshare', flags: ['CLONE_NEWNET'], why },
    { op: 'link_up', name: 'lo', why },
  ];
  const link = (
    name: string,
    type: string,
    more: { peer?: string; netns?: string; mac?: string; mtu?: number },
  ): Step => ({
    op: 'link_add',
    name,
    type,
    peer: '',
    netns: '',
    mac: '',
    mtu: 0,
    ...more,
    why,
  });
  const pair: Step[] = [...own, link('a', 'veth', { peer: 'eth0', mac: MAC })];
  const up = (name: string): Step => ({ op: 'link_up', name, why });
  const address = (name: string, text: string): Step => ({ op: 'address_add', link: name, address: text, why });
  const route = (to: string, via: string): Step => ({ op: 'route_add', to, via, link: 'eth0', why });
  const addressed = [up('a'), up('eth0'), address('eth0', '172.17.0.2/16'), address('eth0', 'fd00:1::2/64')];
  // What the kernel chose by chance is not compared: addresses of links, and what it makes of them.
  const links = (run = '') =>
    `${run} ip -j -d link | grep -oE '"(ifname|mtu|master|info_kind|link)":[^,}]*|"address":"${MAC}"'`;
  return {
    link_add: {
      steps: [
        ...own,
        link('tsbox0', 'bridge', { mac: '02:42:00:00:00:01', mtu: 1400 }),
        link('a', 'veth', { peer: 'eth0', netns: `/proc/${other}/ns/net`, mac: MAC, mtu: 1300 }),
        link('b', 'veth', { peer: 'c' }),
      ],
      show: `${links()}; ${links(`nsenter -t ${other} -n`)}; ip link show tsbox0 | grep -o 02:42:00:00:00:01`,
    },
    link_set: {
      steps: [
        ...pair,
        link('tsbox0', 'bridge', {}),
        { op: 'link_set', name: 'a', master: 'tsbox0', why },
        { op: 'link_set', name: 'eth0', master: 'tsbox0', why },
        { op: 'link_set', name: 'eth0', master: '', why },
      ],
      show: links(),
    },
    port_set: {
      steps: [
        ...pair,
        link('tsbox0', 'bridge', {}),
        { op: 'link_set', name: 'a', master: 'tsbox0', why },
        { op: 'link_set', name: 'eth0', master: 'tsbox0', why },
        { op: 'port_set', name: 'a', hairpin: 1, isolated: 1, why },
        { op: 'port_set', name: 'eth0', hairpin: 1, isolated: 0, why },
        { op: 'port_set', name: 'eth0', hairpin: 0, isolated: 1, why },
      ],
      show: 'ip -d -o link show master tsbox0 | grep -oE "(hairpin|isolated) (on|off)"',
    },
    link_delete: {
      steps: [...pair, link('tsbox0', 'bridge', {}), { op: 'link_delete', name: 'a', why }],
      show: links(),
    },
    address_add: {
      steps: [
        ...pair,
        ...addressed,
        address('a', '10.0.0.1/31'),
        address('a', '10.0.0.9'),
        address('lo', 'fd00::1/128'),
      ],
      // Whether the kernel still looks for others with the same address depends on the time.
      show: 'ip -o addr | grep -v fe80: | sed "s/ tentative//"',
    },
    route_add: {
      steps: [
        ...pair,
        ...addressed,
        route('default', '172.17.0.1'),
        route('default', 'fd00:1::1'),
        route('10.1.0.0/16', ''),
        route('fd00:2::/64', ''),
        route('10.2.0.0/16', '172.17.0.3'),
      ],
      show: '(ip route; ip -6 route) | grep -v fe80:',
    },
    nft: {
      // The second is refused, and then nothing of it is there.
      steps: [
        ...table,
        {
          op: 'nft',
          commands: 'add table inet half\nadd rule inet half nowhere accept',
          why,
          onError: { ENOENT: 'skip' },
        },
      ],
      show: 'nft -j list ruleset',
    },
    nft_delete: {
      steps: [
        ...table,
        { op: 'nft', commands: 'add table inet other', why },
        gone('bridges', { interface: 'tsbox0' }),
        gone('ports4', { protocol: 'udp' }, { port: 8080 }),
        gone('ports6_at', { address: 'fd00::1' }, { protocol: 'tcp' }, { port: 8080 }),
        { op: 'nft_delete', table: 'other', set: '', key: new Uint8Array(), why },
      ],
      show: 'nft -j list ruleset',
    },
  };
}

/** Steps that the kernel refuses, each after a preset, with the errno that says why. */
export function networkRefusals(): Record<string, { steps: Step[]; refused: Step; errno: string }> {
  const { steps } = networkCases(0).address_add ?? { steps: [] };
  const link = { type: 'bridge', peer: '', netns: '', mac: '', mtu: 0, why } as const;
  const refused = (commands: string): { steps: Step[]; refused: Step } => ({
    steps: table,
    refused: { op: 'nft', commands, why },
  });
  return {
    'nft that makes what is there': { ...refused('create table inet tsbox'), errno: 'EEXIST' },
    'nft about what is not there': { ...refused('flush chain inet tsbox after'), errno: 'ENOENT' },
    'nft in another language': { ...refused('iptables -A INPUT -j ACCEPT'), errno: 'EPERM' },
    'nft_delete of a table that is not there': {
      steps: table,
      refused: { op: 'nft_delete', table: 'tsbox-0', set: '', key: new Uint8Array(), why },
      errno: 'ENOENT',
    },
    'nft_delete of an element that is not there': {
      steps: table,
      refused: gone('ports4', { protocol: 'tcp' }, { port: 8081 }),
      errno: 'ENOENT',
    },
    'nft_delete with half a key': { steps: table, refused: gone('ports4', { protocol: 'tcp' }), errno: 'EINVAL' },
    'link_add of a name that is there': { steps, refused: { op: 'link_add', name: 'a', ...link }, errno: 'EEXIST' },
    'link_add with half a MAC address': {
      steps,
      refused: { op: 'link_add', name: 'q', ...link, mac: '02:42:ac' },
      errno: 'EINVAL',
    },
    'link_add of a kind that nobody knows': {
      steps,
      refused: { op: 'link_add', name: 'q', ...link, type: 'nosuch' },
      errno: 'EOPNOTSUPP',
    },
    'link_add into a namespace that is not there': {
      steps,
      refused: { op: 'link_add', name: 'q', ...link, type: 'veth', peer: 'p', netns: '/proc/0/ns/net' },
      errno: 'ENOENT',
    },
    'link_set to a bridge that is not there': {
      steps,
      refused: { op: 'link_set', name: 'a', master: 'tsbox9', why },
      errno: 'ENODEV',
    },
    'link_delete of what is not there': { steps, refused: { op: 'link_delete', name: 'q', why }, errno: 'ENODEV' },
    'link_delete of a name that is too long': {
      steps,
      refused: { op: 'link_delete', name: 'x'.repeat(16), why },
      errno: 'ENAMETOOLONG',
    },
    'address_add of one that is there': {
      steps,
      refused: { op: 'address_add', link: 'eth0', address: '172.17.0.2/16', why },
      errno: 'EEXIST',
    },
    'address_add of what is no address': {
      steps,
      refused: { op: 'address_add', link: 'eth0', address: '172.17.0.256/16', why },
      errno: 'EINVAL',
    },
    'route_add by a gateway that is nowhere': {
      steps,
      refused: { op: 'route_add', to: '10.9.0.0/16', via: '192.168.1.1', link: 'eth0', why },
      errno: 'ENETUNREACH',
    },
  };
}
