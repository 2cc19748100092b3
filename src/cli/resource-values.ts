/** Values of the flags of limits, read as Docker reads them. Pure. */
import type { ContainerRequest } from '../engine/api.ts';
import type { Resources, ThrottleDevice, WeightDevice } from '../spec/resources.ts';
import { FLAG_ERROR, UsageError } from './args.ts';
import { RESOURCE_FLAGS, type ResourceValues } from './resource-flags.ts';

type Name = keyof typeof RESOURCE_FLAGS;

const UNITS = ['k', 'm', 'g', 't', 'p'];

/** Bytes for `512`, `64m`, `1.5 GiB`: powers of 1024. @throws Error with the reason */
export function parseBytes(text: string): number {
  const [, number = '', suffix = ''] = /^(.*[0-9. ])?([^0-9. ]*)$/s.exec(text) ?? [];
  if (number === '') throw new Error(`invalid size: '${text}'`);
  const digits = number.endsWith(' ') ? number.slice(0, -1) : number;
  if (!/^[+-]?(\d+\.?\d*|\.\d+)$/.test(digits)) {
    throw new Error(`strconv.ParseFloat: parsing ${JSON.stringify(digits)}: invalid syntax`);
  }
  const size = Number(digits);
  if (size < 0) throw new Error(`invalid size: '${text}'`);
  const unit = suffix.toLowerCase();
  if (unit === '' || unit === 'b') return Math.trunc(size);
  const power = UNITS.indexOf(unit[0]!);
  if (power < 0 || !['', 'b', 'ib'].includes(unit.slice(1))) throw new Error(`invalid suffix: '${unit}'`);
  return Math.trunc(size * 1024 ** (power + 1));
}

/** As Go's ParseInt with base 0. @throws Error with the reason */
export function parseInteger(text: string, least = -(2n ** 63n), most = 2n ** 63n - 1n): number {
  const call = least === 0n ? 'ParseUint' : 'ParseInt';
  const failed = (why: string) => new Error(`strconv.${call}: parsing ${JSON.stringify(text)}: ${why}`);
  const sign = least === 0n ? '' : '[+-]?';
  if (!new RegExp(`^${sign}(\\d+|0x[0-9a-f]+|0o[0-7]+|0b[01]+)$`, 'i').test(text)) throw failed('invalid syntax');
  const magnitude = BigInt(text.replace(/^[+-]/, '').replace(/^0(?=\d)/, '0o'));
  const value = text.startsWith('-') ? -magnitude : magnitude;
  if (value < least || value > most) throw failed('value out of range');
  return Number(value);
}

/** Billionths for `0.5`, `1/2`, `1e-1`. @throws Error with the reason */
export function parseCpus(text: string): number {
  const bad = new Error(`failed to parse ${text} as a rational number`);
  const fraction = /^([+-]?\d+)\/(\d+)$/.exec(text);
  const decimal = /^([+-]?)(\d*)\.?(\d*)(?:[eE]([+-]?\d{1,3}))?$/.exec(text);
  let top: bigint;
  let bottom = 1n;
  if (fraction !== null) {
    top = BigInt(fraction[1]!.replace('+', ''));
    bottom = BigInt(fraction[2]!);
    if (bottom === 0n) throw bad;
  } else {
    const [, sign = '', whole = '', rest = '', exponent = '0'] = decimal ?? [];
    if (decimal === null || whole + rest === '') throw bad;
    const shift = Number(exponent) - rest.length;
    top = BigInt(whole + rest) * (sign === '-' ? -1n : 1n) * 10n ** BigInt(Math.max(shift, 0));
    bottom = 10n ** BigInt(Math.max(-shift, 0));
  }
  const nano = top * 1_000_000_000n;
  if (nano % bottom !== 0n) throw new Error('value is too precise');
  return Number(nano / bottom);
}

function splitDevice(text: string): [path: string, value: string] {
  const colon = text.indexOf(':');
  if (colon < 0) throw new Error(`bad format: ${text}`);
  const path = text.slice(0, colon);
  if (!path.startsWith('/dev/')) throw new Error(`bad format for device path: ${text}`);
  return [path, text.slice(colon + 1)];
}

function weightDevice(text: string): WeightDevice {
  const [Path, value] = splitDevice(text);
  const weight = /^\d{1,4}$/.test(value) ? Number(value) : -1;
  if (weight !== 0 && (weight < 10 || weight > 1000)) throw new Error(`invalid weight for device: ${text}`);
  return { Path, Weight: weight };
}

function throttleDevice(text: string, isBytes: boolean): ThrottleDevice {
  const [Path, value] = splitDevice(text);
  try {
    return { Path, Rate: isBytes ? parseBytes(value) : parseInteger(value, 0n, 2n ** 64n - 1n) };
  } catch {
    const form = isBytes ? '<device-path>:<number>[<unit>]' : '<device-path>:<number>';
    const unit = isBytes ? '. Unit is optional and can be kb, mb, or gb' : '';
    throw new Error(
      `invalid rate for device: ${text}. The correct format is ${form}. Number must be a positive integer${unit}`,
    );
  }
}

/** Reads values one flag at a time, so that an error can name its flag. */
function reader(flags: ResourceValues) {
  const invalid = (name: Name, text: string, error: unknown) => {
    const spec = RESOURCE_FLAGS[name];
    const shown = 'short' in spec ? `-${spec.short}, --${name}` : `--${name}`;
    const message = `invalid argument ${JSON.stringify(text)} for "${shown}" flag: ${(error as Error).message}`;
    return new UsageError(message, FLAG_ERROR);
  };
  const parse = <T>(name: Name, text: string, how: (text: string) => T): T => {
    try {
      return how(text);
    } catch (error) {
      throw invalid(name, text, error);
    }
  };
  return {
    one<T>(name: Name, how: (text: string) => T): T | undefined {
      const text = flags[name] as string | undefined;
      return text === undefined ? undefined : parse(name, text, how);
    },
    list<T>(name: Name, how: (text: string) => T): T[] | undefined {
      const texts = (flags[name] as string[] | undefined) ?? [];
      return texts.length === 0 ? undefined : texts.map((text) => parse(name, text, how));
    },
  };
}

const text = (value: string) => value;
const integer = (value: string) => parseInteger(value);
const swap = (value: string) => (value === '-1' ? -1 : parseBytes(value));
const weight = (value: string) => parseInteger(value, 0n, 65535n);
const bps = (value: string) => throttleDevice(value, true);
const iops = (value: string) => throttleDevice(value, false);

/** What the flags ask for; what is not given, or given as "not set", is left out. @throws UsageError naming the flag */
export function resourceValues(flags: ResourceValues): Partial<Resources> {
  const read = reader(flags);
  const swappiness = read.one('memory-swappiness', integer);
  if (swappiness !== undefined && swappiness !== -1 && (swappiness < 0 || swappiness > 100)) {
    throw new UsageError(`invalid value: ${swappiness}. Valid memory swappiness range is 0-100`, FLAG_ERROR);
  }
  const values: { [Field in keyof Resources]?: Resources[Field] | undefined } = {
    BlkioWeight: read.one('blkio-weight', weight),
    BlkioWeightDevice: read.list('blkio-weight-device', weightDevice),
    BlkioDeviceReadBps: read.list('device-read-bps', bps),
    BlkioDeviceReadIOps: read.list('device-read-iops', iops),
    BlkioDeviceWriteBps: read.list('device-write-bps', bps),
    BlkioDeviceWriteIOps: read.list('device-write-iops', iops),
    CgroupParent: read.one('cgroup-parent', text),
    CpuPeriod: read.one('cpu-period', integer),
    CpuQuota: read.one('cpu-quota', integer),
    CpuShares: read.one('cpu-shares', integer),
    NanoCpus: read.one('cpus', parseCpus),
    CpusetCpus: read.one('cpuset-cpus', text),
    CpusetMems: read.one('cpuset-mems', text),
    Memory: read.one('memory', parseBytes),
    MemoryReservation: read.one('memory-reservation', parseBytes),
    MemorySwap: read.one('memory-swap', swap),
    MemorySwappiness: swappiness === -1 ? undefined : swappiness,
    OomKillDisable: flags['oom-kill-disable'] === true ? true : undefined,
    PidsLimit: read.one('pids-limit', integer),
  };
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as Partial<Resources>;
}

/** The part of a request that the flags of limits make up. */
export function resourceRequest(flags: ResourceValues): Pick<ContainerRequest, 'resources' | 'oomScoreAdj'> {
  const oomScoreAdj = reader(flags).one('oom-score-adj', integer);
  return { resources: resourceValues(flags), ...(oomScoreAdj !== undefined && { oomScoreAdj }) };
}
