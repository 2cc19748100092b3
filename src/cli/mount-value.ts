/** `--mount KEY=VALUE,...`, read as Docker's client reads it: a line of comma-separated values. */
import { resolve } from 'node:path';
import type { MountSpec } from '../spec/volume.ts';
import { FLAG_ERROR, UsageError } from './args.ts';
import { parseBytes } from './resource-values.ts';

/** Keys that may stand without a value. */
const BARE = ['readonly', 'ro', 'volume-nocopy', 'bind-nonrecursive'];

/** @throws UsageError in Docker's words */
export function mountValue(text: string): MountSpec {
  try {
    return parseMount(text);
  } catch (error) {
    if (error instanceof UsageError) throw error;
    const message = `invalid argument ${JSON.stringify(text)} for "--mount" flag: ${(error as Error).message}`;
    throw new UsageError(message, FLAG_ERROR);
  }
}

/** Fields of one line of RFC 4180: a quoted one may have commas, and quotes that are doubled. @throws Error */
function splitLine(line: string): string[] {
  if (line === '') throw new Error('EOF');
  const fields: string[] = [];
  for (let rest: string | undefined = line; rest !== undefined; ) {
    const quoted: RegExpExecArray | null = /^"((?:[^"]|"")*)"(?:,([\s\S]*))?$/.exec(rest);
    const plain: RegExpExecArray | null = /^([^",]*)(?:,([\s\S]*))?$/.exec(rest);
    if (quoted === null && plain === null) {
      const bare = rest.startsWith('"') ? 'extraneous or missing " in quoted-field' : 'bare " in non-quoted-field';
      throw new Error(`parse error on line 1, column ${line.length - rest.length + rest.indexOf('"') + 1}: ${bare}`);
    }
    fields.push(quoted === null ? plain![1]! : quoted[1]!.replaceAll('""', '"'));
    rest = (quoted ?? plain)![2];
  }
  return fields;
}

/** Go's ParseBool. */
function bool(key: string, value: string): boolean {
  if (/^(1|t|T|true|TRUE|True)$/.test(value)) return true;
  if (/^(0|f|F|false|FALSE|False)$/.test(value)) return false;
  throw new Error(`invalid value for ${key}: ${value}`);
}

function bytes(key: string, value: string): number {
  try {
    return parseBytes(value);
  } catch {
    throw new Error(`invalid value for ${key}: ${value}`);
  }
}

function octal(key: string, value: string): number {
  if (/^[0-7]+$/.test(value) && Number.parseInt(value, 8) < 2 ** 32) return Number.parseInt(value, 8);
  throw new Error(`invalid value for ${key}: ${value}`);
}

/** What is mounted below the source is there too, or is not; and it is read-only where the bind is. */
function recursion(value: string): NonNullable<MountSpec['BindOptions']> {
  if (value === 'enabled') return {};
  if (value === 'disabled') return { NonRecursive: true };
  if (value === 'readonly') return { ReadOnlyForceRecursive: true };
  if (value === 'writable') throw new Error('bind-recursive=writable: not supported yet');
  throw new Error(
    `invalid value for bind-recursive: ${value} (must be "enabled", "disabled", "writable", or "readonly")`,
  );
}

/** As Docker: who asks for it must have said what it depends on. */
function checkRecursion({ ReadOnly, BindOptions }: MountSpec): void {
  if (BindOptions?.ReadOnlyForceRecursive !== true) return;
  const rest = 'to be specified in conjunction';
  if (ReadOnly !== true) throw new Error(`option 'bind-recursive=readonly' requires 'readonly' ${rest}`);
  if (BindOptions.Propagation === 'rprivate') return;
  throw new Error(`option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' ${rest}`);
}

function entry(value: string): Record<string, string> {
  const equals = value.indexOf('=');
  return equals < 0 ? { [value]: '' } : { [value.slice(0, equals)]: value.slice(equals + 1) };
}

function parseMount(text: string): MountSpec {
  const mount: MountSpec = { Type: 'volume' };
  const options: Record<'BindOptions' | 'VolumeOptions' | 'TmpfsOptions', object | undefined> = {
    BindOptions: undefined,
    VolumeOptions: undefined,
    TmpfsOptions: undefined,
  };
  const driver: { Name?: string; Options?: Record<string, string> } = {};
  for (const field of splitLine(text)) {
    const equals = field.indexOf('=');
    const key = (equals < 0 ? field : field.slice(0, equals)).toLowerCase();
    if (equals < 0 && !BARE.includes(key)) throw new Error(`invalid field '${field}' must be a key=value pair`);
    setField(mount, options, driver, key, equals < 0 ? 'true' : field.slice(equals + 1), field);
  }
  if (mount.Type === '') throw new Error('type is required');
  if ((mount.Target ?? '') === '') throw new Error('target is required');
  const kinds = [
    ['volume', 'VolumeOptions'],
    ['bind', 'BindOptions'],
    ['tmpfs', 'TmpfsOptions'],
  ] as const;
  for (const [type, name] of kinds) {
    if (options[name] === undefined) continue;
    if (mount.Type !== type) throw new Error(`cannot mix '${type}-*' options with mount type '${mount.Type}'`);
    // As Docker: with any option of a volume there is a driver, if only one that nobody named.
    Object.assign(mount, { [name]: { ...options[name], ...(type === 'volume' && { DriverConfig: driver }) } });
  }
  checkRecursion(mount);
  return mount;
}

function setField(
  mount: MountSpec,
  options: Record<'BindOptions' | 'VolumeOptions' | 'TmpfsOptions', object | undefined>,
  driver: { Name?: string; Options?: Record<string, string> },
  key: string,
  value: string,
  field: string,
): void {
  const add = (name: keyof typeof options, some: object) => {
    options[name] = { ...options[name], ...some };
  };
  const volume = options.VolumeOptions as MountSpec['VolumeOptions'];
  const withDriver = (some: object) => {
    Object.assign(driver, some);
    add('VolumeOptions', {});
  };
  const keys: Record<string, () => unknown> = {
    type: () => (mount.Type = value.toLowerCase()),
    source: () => (mount.Source = value.startsWith('.') ? resolve(value) : value),
    target: () => (mount.Target = value),
    readonly: () => (mount.ReadOnly = bool(key, value)),
    consistency: () => (mount.Consistency = value.toLowerCase()),
    'bind-propagation': () => add('BindOptions', { Propagation: value.toLowerCase() }),
    'bind-nonrecursive': () => add('BindOptions', { NonRecursive: bool(key, value) }),
    'bind-recursive': () => add('BindOptions', recursion(value)),
    'volume-nocopy': () => add('VolumeOptions', { NoCopy: bool(key, value) }),
    'volume-label': () => add('VolumeOptions', { Labels: { ...volume?.Labels, ...entry(value) } }),
    'volume-driver': () => withDriver({ Name: value }),
    'volume-opt': () => withDriver({ Options: { ...driver.Options, ...entry(value) } }),
    'tmpfs-size': () => add('TmpfsOptions', { SizeBytes: bytes(key, value) }),
    'tmpfs-mode': () => add('TmpfsOptions', { Mode: octal(key, value) }),
  };
  const name = { src: 'source', dst: 'target', destination: 'target', ro: 'readonly' }[key] ?? key;
  if (!Object.hasOwn(keys, name)) throw new Error(`unexpected key '${key}' in '${field}'`);
  keys[name]!();
}
