/** Values of the flags of isolation-flags.ts, read as Docker reads them. Pure. */
import type { ContainerRequest } from '../engine/api.ts';
import type { DeviceMapping, Resources, Ulimit } from '../spec/resources.ts';
import { FLAG_ERROR, UsageError } from './args.ts';
import type { IsolationValues } from './isolation-flags.ts';
import { parseBytes } from './resource-values.ts';

type Asked = Pick<
  ContainerRequest,
  'ipc' | 'pid' | 'uts' | 'cgroupns' | 'shmSize' | 'sysctls' | 'groupAdd' | 'resources'
>;

/** Reads one value; what is wrong with it is told with the flag's name. */
function read<T>(flag: string, text: string, parse: (text: string) => T): T {
  try {
    return parse(text);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new UsageError(`invalid argument ${JSON.stringify(text)} for "--${flag}" flag: ${reason}`, FLAG_ERROR);
  }
}

const LIMITS = 'core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack'.split(
  ' ',
);

function limitValue(text: string): number {
  if (!/^[+-]?\d+$/.test(text)) throw new Error(`strconv.ParseInt: parsing ${JSON.stringify(text)}: invalid syntax`);
  return Number(text);
}

/** `nofile=1024:2048`; one number is both. @throws Error with the reason */
export function parseUlimit(text: string): Ulimit {
  const equals = text.indexOf('=');
  if (equals < 0) throw new Error(`invalid ulimit argument: ${text}`);
  const [name, values] = [text.slice(0, equals), text.slice(equals + 1)];
  if (!LIMITS.includes(name)) throw new Error(`invalid ulimit type: ${name}`);
  const [first = '', second, ...rest] = values.split(':');
  if (rest.length > 0) {
    throw new Error(`too many limit value arguments - ${values}, can only have up to two, \`soft[:hard]\``);
  }
  const soft = limitValue(first);
  const hard = second === undefined ? soft : limitValue(second);
  const most = 'ulimit soft limit must be less than or equal to hard limit';
  if (hard !== -1 && soft === -1) throw new Error(`${most}: soft: -1 (unlimited), hard: ${hard}`);
  if (hard !== -1 && soft > hard) throw new Error(`${most}: ${soft} > ${hard}`);
  return { Name: name, Hard: hard, Soft: soft };
}

/** Each limit once, by its name: the last one counts. */
function ulimits(given: readonly string[]): Ulimit[] {
  const byName = new Map(given.map((text) => read('ulimit', text, parseUlimit)).map((limit) => [limit.Name, limit]));
  return [...byName.values()].sort((a, b) => (a.Name < b.Name ? -1 : 1));
}

/** Those of the IPC namespace. */
const SYSCTLS = ['msgmax', 'msgmnb', 'msgmni', 'sem', 'shmall', 'shmmax', 'shmmni', 'shm_rmid_forced'];

/** `net.ipv4.ip_forward=1`: what belongs to a namespace. @throws Error with the reason */
export function parseSysctl(text: string): [name: string, value: string] {
  const equals = text.indexOf('=');
  const name = equals < 0 ? '' : text.slice(0, equals);
  const isKnown = /^(net|fs\.mqueue)\./.test(name) || SYSCTLS.some((one) => name === `kernel.${one}`);
  if (!isKnown) throw new Error(`sysctl '${text}' is not allowed`);
  return [name, text.slice(equals + 1)];
}

/** `/dev/zero[:/dev/z][:rwm]`. @throws UsageError, in Docker's words */
export function parseDevice(text: string): DeviceMapping {
  const [host = '', second, third, ...rest] = text.split(':');
  if (host === '' || rest.length > 0) throw new UsageError(`bad format for path: ${text}`, FLAG_ERROR);
  const isMode = (mode: string) => /^[rwm]+$/.test(mode) && new Set(mode).size === mode.length;
  const secondIsMode = third === undefined && second !== undefined && isMode(second);
  const mode = third ?? (secondIsMode ? second : 'rwm');
  const inside = second === undefined || secondIsMode ? host : second;
  for (const path of [host, inside]) {
    if (!path.startsWith('/')) throw new UsageError(`${path} is not an absolute path`, FLAG_ERROR);
  }
  if (!isMode(mode)) throw new UsageError(`bad mode specified: ${mode}`, FLAG_ERROR);
  return { PathOnHost: host, PathInContainer: inside, CgroupPermissions: mode };
}

function parseDeviceRule(text: string): string {
  if (/^[acb] ([0-9]+|\*):([0-9]+|\*) [rwm]{1,3}$/.test(text)) return text;
  throw new Error(`invalid device cgroup format '${text}'`);
}

function checkMode(flag: string, mode: string | undefined, pattern: RegExp, name: string): void {
  if (mode !== undefined && !pattern.test(mode)) throw new UsageError(`--${flag}: invalid ${name} mode`, FLAG_ERROR);
}

const text = (value: string | string[] | undefined) => (typeof value === 'string' ? value : undefined);
const list = (value: string | string[] | undefined) => (Array.isArray(value) ? value : []);

/** @throws UsageError on a value that is none */
export function isolationRequest(flags: IsolationValues): Asked {
  const [ipc, pid, uts, cgroupns] = [text(flags.ipc), text(flags.pid), text(flags.uts), text(flags.cgroupns)];
  checkMode('pid', pid, /^(|host|container:.+)$/, 'PID');
  checkMode('uts', uts, /^(|host)$/, 'UTS');
  checkMode('cgroupns', cgroupns, /^(|host|private)$/, 'CGROUP');
  const shm = text(flags['shm-size']);
  const sysctls = list(flags.sysctl).map((one) => read('sysctl', one, parseSysctl));
  const groups = list(flags['group-add']);
  const devices = list(flags.device).map(parseDevice);
  const rules = list(flags['device-cgroup-rule']).map((one) => read('device-cgroup-rule', one, parseDeviceRule));
  const limits = ulimits(list(flags.ulimit));
  const resources: Partial<Resources> = {
    ...(devices.length > 0 && { Devices: devices }),
    ...(rules.length > 0 && { DeviceCgroupRules: rules }),
    ...(limits.length > 0 && { Ulimits: limits }),
  };
  return {
    ...(ipc !== undefined && { ipc }),
    ...(pid !== undefined && { pid }),
    ...(uts !== undefined && { uts }),
    ...(cgroupns !== undefined && { cgroupns }),
    ...(shm !== undefined && { shmSize: read('shm-size', shm, parseBytes) }),
    ...(sysctls.length > 0 && { sysctls: Object.fromEntries(sysctls) }),
    ...(groups.length > 0 && { groupAdd: groups }),
    resources,
  };
}
