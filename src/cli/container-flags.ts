/** The flags that `run` and `create` share, and what they ask of the engine. */
import type { ContainerRequest } from '../engine/api.ts';
import { FLAG_ERROR, type FlagTable, type FlagValues, UsageError } from './args.ts';
import { CONTENT_TRUST_FLAG, refuseContentTrust } from './content-trust.ts';
import { parseNetworkValue } from './network-value.ts';
import { securityRequest } from './security-opt.ts';

export const CONTAINER_FLAGS = {
  'cap-add': { kind: 'list', help: 'Add a Linux capability' },
  'cap-drop': { kind: 'list', help: 'Drop a Linux capability' },
  cidfile: { kind: 'string', help: 'Write the container id to this file, which must not exist' },
  entrypoint: { kind: 'string', help: "Replace the image's entrypoint" },
  ...CONTENT_TRUST_FLAG,
  env: { kind: 'list', short: 'e', help: "Set an environment variable (NAME=value, or NAME for the caller's own)" },
  hostname: { kind: 'string', short: 'h', help: 'Host name of the container' },
  isolation: { kind: 'string', value: 'kind', help: "'default': Linux has no other" },
  interactive: { kind: 'bool', short: 'i', help: 'Keep standard input open' },
  label: { kind: 'list', short: 'l', help: 'Set a label (key=value)' },
  'log-driver': { kind: 'string', value: 'driver', help: 'Where output is kept: json-file, local or none' },
  'log-opt': {
    kind: 'list',
    value: 'name=value',
    help: 'Option of the log: max-size, max-file, compress, mode, max-buffer-size, labels, env, tag',
  },
  name: { kind: 'string', help: 'Name of the container; one is made up otherwise' },
  ip: { kind: 'string', value: 'address', help: 'IPv4 address in its network' },
  ip6: { kind: 'string', value: 'address', help: 'IPv6 address in its network' },
  'mac-address': { kind: 'string', value: 'address', help: 'Hardware address in its network' },
  network: {
    kind: 'list',
    value: 'network',
    help: "Network to be in: its name, 'bridge', 'none', 'host' or container:NAME; name=NETWORK,alias=NAME,ip=ADDRESS for more",
    aliases: ['net'],
  },
  platform: { kind: 'string', help: 'Platform of the image to pull: os/arch[/variant]' },
  privileged: { kind: 'bool', help: 'All capabilities, all devices, nothing covered or refused' },
  pull: { kind: 'string', default: 'missing', help: 'When to pull the image: always, missing, never' },
  quiet: { kind: 'bool', short: 'q', help: 'Do not show the progress of a pull' },
  'read-only': { kind: 'bool', help: "Mount the container's root file system read-only" },
  rm: { kind: 'bool', help: 'Remove the container when it has ended' },
  'security-opt': {
    kind: 'list',
    help: 'Security option: no-new-privileges, seccomp=FILE|unconfined, systempaths=unconfined',
  },
  'stop-signal': { kind: 'string', help: 'Signal that asks the container to stop' },
  tty: { kind: 'bool', short: 't', help: 'Give the container a terminal' },
  userns: {
    kind: 'string',
    help: "'host', 'auto[:size=N]', or a user namespace with the subordinate ids of user[:group], uid[:gid] or 'default'",
  },
  user: { kind: 'string', short: 'u', help: 'User, and group if wanted: name|uid[:group|gid]' },
  volume: { kind: 'list', short: 'v', help: 'Mount a directory or file of the host, or a volume: [SOURCE:]PATH[:ro]' },
  workdir: { kind: 'string', short: 'w', help: 'Working directory in the container' },
} as const satisfies FlagTable;

/** Docker's flags of `run` and `create` that tsbox does not have, a topic a line. */
export const UNSUPPORTED_CONTAINER_FLAGS = [
  // limits: real-time scheduling needs a kernel option that distributions leave out, kernel memory is no longer the kernel's, the rest
  // is for another system
  'cpu-rt-period cpu-rt-runtime kernel-memory',
  'cpu-count cpu-percent io-maxbandwidth io-maxiops',
  // what it may see and do
  'gpus',
  'runtime use-api-socket storage-opt',
  // its life
  'annotation',
  // network
  'link-local-ip',
].join(' ');

type Values = FlagValues<typeof CONTAINER_FLAGS>;

/** What the flags ask for. @throws UsageError on a value that is none */
export function containerRequest(flags: Values, args: readonly string[], attached: boolean): ContainerRequest {
  const [image, ...command] = args;
  refuseContentTrust(flags['disable-content-trust']);
  refuseIsolation(flags.isolation);
  return {
    image: image!,
    command,
    env: environment(flags.env),
    labels: labels(flags.label, '-l, --label'),
    tty: flags.tty,
    openStdin: flags.interactive,
    attached,
    autoRemove: flags.rm,
    readonlyRootfs: flags['read-only'],
    volumes: flags.volume,
    ...networks(flags),
    capAdd: flags['cap-add'],
    capDrop: flags['cap-drop'],
    privileged: flags.privileged,
    ...securityRequest(flags['security-opt']),
    pull: pullPolicy(flags.pull),
    ...(flags['log-driver'] !== undefined && { logDriver: flags['log-driver'] }),
    ...(flags['log-opt'].length > 0 && { logOptions: flags['log-opt'] }),
    ...(flags.name && { name: flags.name }),
    ...(flags.hostname && { hostname: flags.hostname }),
    ...(flags.user !== undefined && { user: flags.user }),
    ...(flags.userns !== undefined && { userns: flags.userns }),
    ...(flags.workdir !== undefined && { workdir: flags.workdir }),
    ...(flags.entrypoint !== undefined && { entrypoint: flags.entrypoint }),
    ...(flags['stop-signal'] !== undefined && { stopSignal: flags['stop-signal'] }),
    ...(flags.platform !== undefined && { platform: flags.platform }),
  };
}

/** Linux has one kind. @throws UsageError for another, in Docker's words */
function refuseIsolation(kind: string | undefined): void {
  if (kind && kind.toLowerCase() !== 'default') {
    throw new UsageError(`invalid isolation: ${JSON.stringify(kind)} - linux only supports 'default'`, 1);
  }
}

/** The first network gets what other flags ask for too. */
function networks(flags: Pick<Values, 'network' | 'ip' | 'ip6' | 'mac-address'>) {
  const { ip, ip6, 'mac-address': mac } = flags;
  if (mac && !/^([0-9a-f]{2}[:-]){5}[0-9a-f]{2}$/i.test(mac))
    throw new UsageError(`${mac} is not a valid mac address`, FLAG_ERROR);
  const given = flags.network.map(parseNetworkValue);
  const twice = given.find(({ network }, index) => given.findIndex((other) => other.network === network) < index);
  if (twice) throw new UsageError(`network ${JSON.stringify(twice.network)} is specified multiple times`, FLAG_ERROR);
  const [first = { network: 'default' }, ...others] = given;
  const asked = {
    ...first,
    ...(ip !== undefined && { ip }),
    ...(ip6 !== undefined && { ip6 }),
    ...(mac !== undefined && { mac }),
  };
  return { network: first.network, endpoints: [asked, ...others] };
}

/** `NAME=value` stays; a bare `NAME` gets the caller's value, or stays when the caller has none: then the container has none either.
 *  @throws UsageError on one without a name */
export function environment(
  given: readonly string[],
  own: Readonly<Record<string, string | undefined>> = process.env,
): string[] {
  return given.flatMap((entry) => {
    if (entry === '' || entry.startsWith('=')) {
      throw new UsageError(
        `invalid argument ${JSON.stringify(entry)} for "-e, --env" flag: invalid environment variable: ${entry}`,
        FLAG_ERROR,
      );
    }
    if (entry.includes('=')) return [entry];
    const value = own[entry];
    return value === undefined ? [entry] : [`${entry}=${value}`];
  });
}

/** @param flag as Docker names it @throws UsageError on one without a name, and on a name of several words, in Docker's words */
export function labels(given: readonly string[], flag = '--label'): Record<string, string> {
  for (const entry of given) {
    const key = entry.replace(/^[ \t]+/, '').replace(/=[\s\S]*/, '');
    const wrong = key === '' ? `invalid label '${entry}': empty name` : `label '${key}' contains whitespaces`;
    if (key !== '' && !/[ \t]/.test(key)) continue;
    throw new UsageError(`invalid argument ${JSON.stringify(entry)} for "${flag}" flag: ${wrong}`, FLAG_ERROR);
  }
  return keyValues(given);
}

/** `key=value` by its key; a bare key has the empty string. */
export function keyValues(given: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    given.map((entry) => {
      const equals = entry.indexOf('=');
      return equals < 0 ? [entry, ''] : [entry.slice(0, equals), entry.slice(equals + 1)];
    }),
  );
}

function pullPolicy(text: string): ContainerRequest['pull'] {
  if (text === '') return 'missing';
  if (text === 'always' || text === 'missing' || text === 'never') return text;
  throw new UsageError(`invalid pull option: '${text}': must be one of "always", "missing" or "never"`, FLAG_ERROR);
}
