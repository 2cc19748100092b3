/**
 * What a container finds of its networks: addresses, routes, the files of /etc, and what inspect says; for each kind of network. The test
 * (network-docker.test.ts) holds tsbox's against docker's. What may differ is in DIFFERENCES, and which of them where is in CASES; the table
 * in docs/network.md is made of them.
 */
import assert from 'node:assert/strict';

/** The things, as sections of the script's output; `settings` is NetworkSettings of inspect. */
export const THINGS = ['addr', 'route', 'route6', 'resolv.conf', 'hosts', 'hostname', 'settings'] as const;
export type Thing = (typeof THINGS)[number];

export const SCRIPT = `
  echo '# addr'; ip addr; echo '# route'; ip route; echo '# route6'; ip -6 route
  cd /etc; for file in resolv.conf hosts hostname; do echo "# $file"; cat $file; ls -l $file; done`;

type Alike = (line: string) => string | undefined;
const without =
  (pattern: RegExp): Alike =>
  (line) =>
    pattern.test(line) ? undefined : line;

/** Lines that differ on purpose, made alike, or left out. By number, from 1; each has its row in docs/network.md. */
export const DIFFERENCES: readonly [what: string, thing: Thing, alike: Alike][] = [
  ['the loopback has its IPv6 address always', 'addr', without(/inet6 ::1\/128/)],
  ['the length of an interface’s queue is the kernel’s', 'addr', (line) => line.replace(/^(eth.*) qlen 1000$/, '$1')],
  ['no default route in an internal network', 'route', without(/^default via/)],
  ['no gateway in an internal network', 'settings', without(/^Networks\.inner\.Gateway=/)],
  [
    'a port is published on the IPv6 addresses of the host only for a container that has IPv6',
    'settings',
    without(/^Ports\.[^=]*="(::|8080 of ::)"$/),
  ],
  [
    'the namespace has no name of its own',
    'settings',
    (line) =>
      line.replace(/^(Sandbox(ID|Key))="(\/proc\/\d+\/ns\/net|.*\b([0-9a-f]{12}|[0-9a-f]{64}|default))?"$/, '$1'),
  ],
  [
    'the way out is that of the first network, and stays',
    'route',
    (line) => line.replace(/^default via .*/, 'default'),
  ],
  ['who leaves a network keeps the lines of the others in /etc/hosts', 'hosts', without(/^172\.|^-rw/)],
];

export interface Case {
  /** Flags of `run`, behind `--detach --name NAME`. */
  flags: readonly string[];
  /** More networks that it is connected to when it runs. */
  connect?: readonly string[];
  /** And out of which it is taken then. */
  disconnect?: string;
  /** Numbers of DIFFERENCES that are seen. */
  differs: readonly number[];
  /** Without it all of THINGS. */
  things?: readonly Thing[];
}

const FILES = ['resolv.conf', 'hosts', 'hostname'] as const;

/** The networks that both have: words behind `network create`. */
export const NETWORKS = [
  ['--subnet', '172.30.1.0/24', 'user'],
  ['--subnet', '172.30.2.0/24', '--internal', 'inner'],
  ['--subnet', '172.30.3.0/24', '--ipv6', '--subnet', 'fd00:30:3::/64', 'six'],
] as const;

export const CASES: readonly Case[] = [
  { flags: [], differs: [1, 2, 6] },
  { flags: ['-h', 'inside', '-p', '8080:80', '-p', '127.0.0.1:8081:81/udp', '--expose', '90'], differs: [1, 2, 5, 6] },
  { flags: ['--network', 'user', '--network-alias', 'other', '--ip', '172.30.1.9'], differs: [1, 2, 6] },
  { flags: ['--network', 'user', '-h', 'inside'], differs: [1, 2, 6] },
  { flags: ['--network', 'inner'], differs: [1, 2, 3, 4, 6] },
  { flags: ['--network', 'six', '-h', 'inside', '-p', '8080:80'], differs: [2, 6] },
  { flags: ['--network', 'user'], connect: ['inner'], differs: [1, 2, 4, 6] },
  { flags: ['--network', 'user'], connect: ['six'], differs: [2, 6, 7] },
  { flags: ['--network', 'six'], connect: ['user'], disconnect: 'six', differs: [1, 2, 6, 8] },
  { flags: ['--network', 'none', '-h', 'inside'], differs: [1, 6] },
  // Addresses and routes are those of the host, where each engine has its own bridges.
  { flags: ['--network', 'host'], differs: [6], things: [...FILES, 'settings'] },
  { flags: ['--network', 'container:first'], differs: [1, 2, 6] },
];

/** Without what differs from run to run: numbers of interfaces, times, whether an address is still being tried. */
function stable(line: string): string {
  return line
    .replace(/^\d+: (\w+)(@if\d+)?:/, '$1:')
    .replace(/ tentative/, '')
    .replace(/ \w{3} +\d+ \d\d:\d\d /, ' ')
    .replace(/\s+$/, '');
}

/** `a.b="c"`, a line for each value. */
function flat(value: unknown, path: string): string[] {
  if (typeof value !== 'object' || value === null || Object.keys(value).length === 0) {
    return [`${path}=${JSON.stringify(value)}`];
  }
  return Object.entries(value).flatMap(([key, one]) => flat(one, path === '' ? key : `${path}.${key}`));
}

/** What one of the two engines showed. */
export interface Shown {
  /** Of the script. */
  inside: string;
  settings: Record<string, unknown>;
  /** Ids and names for them. */
  names: ReadonlyMap<string, string>;
}

/** Bindings of a port have their address in each of their lines, so that one is left out as a whole. */
function bound(line: string, _: number, lines: readonly string[]): string {
  const [, port, value] = /^(Ports\..*)\.HostPort="(\d+)"$/.exec(line) ?? [];
  const address = lines.find((one) => one.startsWith(`${port}.HostIp=`));
  return port === undefined ? line : `${port}.HostPort="${value} of ${address?.split('"')[1]}"`;
}

/** Sections by their names, lines that may differ made alike.
 *  @param differs numbers of DIFFERENCES
 *  @param seen gets the numbers of those that made a line another one, or left it out */
export function sections({ inside, settings, names }: Shown, differs: readonly number[], seen: Set<number>) {
  const named = (text: string) => [...names].reduce((all, [id, name]) => all.replaceAll(id, name), text);
  const text = `${inside}\n# settings\n${flat(settings, '').map(bound).sort().join('\n')}`;
  const found: Partial<Record<Thing, string[]>> = {};
  let thing: Thing = 'addr';
  // An address has two lines.
  for (const line of named(text)
    .replace(/\n +valid_lft/g, ' valid_lft')
    .split('\n')) {
    if (line.startsWith('# ')) {
      thing = line.slice(2) as Thing;
      found[thing] = [];
      continue;
    }
    let alike: string | undefined = stable(line).replace(/(EndpointID=")[0-9a-f]{64}"/, '$1an id"');
    for (const number of differs) {
      const [, where, change] = DIFFERENCES[number - 1]!;
      if (where !== thing || alike === undefined) continue;
      const changed: string | undefined = change(alike);
      if (changed !== alike) seen.add(number);
      alike = changed;
    }
    if (alike !== undefined) found[thing]!.push(alike);
  }
  for (const each of THINGS) assert.ok(found[each] !== undefined, each);
  return found;
}

const isOf = (thing: Thing) => (number: number) => DIFFERENCES[number - 1]![1] === thing;

/** The rows of the table in docs/network.md, without their padding. */
export function table(): string[][] {
  const head = ['flags', '`ip addr`', '`ip route`', '`ip -6 route`', ...FILES.map((file) => `/etc/${file}`), 'inspect'];
  const rows = CASES.map(({ flags, connect = [], disconnect, differs, things = THINGS }) => {
    const more = [
      ...connect.map((one) => `, connect ${one}`),
      disconnect === undefined ? '' : `, disconnect ${disconnect}`,
    ];
    const cells = THINGS.map((thing) =>
      things.includes(thing) ? differs.filter(isOf(thing)).join(', ') || 'same' : "the host's",
    );
    return [`${flags.length === 0 ? 'none' : `\`${flags.join(' ')}\``}${more.join('')}`, ...cells];
  });
  return [head, ...rows];
}
