/** Options of a tmpfs that a container asks for, sorted as Docker sorts them. Pure. */
import { TsboxError } from '../errors.ts';
import type { MountSpec } from './volume.ts';

/** Options that come in pairs, by what the pair is about; of each the last one holds. */
const FLAGS: Readonly<Record<string, string>> = {
  ...both('ro', 'rw'),
  ...both('suid', 'nosuid'),
  ...both('dev', 'nodev'),
  ...both('exec', 'noexec'),
  ...both('sync', 'async'),
  ...both('mand', 'nomand'),
  ...both('atime', 'noatime'),
  ...both('diratime', 'nodiratime'),
  ...both('relatime', 'norelatime'),
  ...both('strictatime', 'nostrictatime'),
  dirsync: 'dirsync',
  private: 'propagation',
  rprivate: 'propagation',
  shared: 'propagation',
  rshared: 'propagation',
  slave: 'propagation',
  rslave: 'propagation',
  unbindable: 'propagation',
};

const VALUES = ['size', 'mode', 'uid', 'gid', 'nr_inodes', 'nr_blocks', 'mpol'];

/** Docker's own, which those of the user come after. */
const DEFAULTS = ['noexec', 'nosuid', 'nodev', 'rprivate'];

function both(one: string, other: string): Record<string, string> {
  return { [one]: one, [other]: one };
}

/** Of options that exclude each other the last one, in their order.
 *  @param data comma-separated, the user's; may be empty
 *  @throws ERR_TSBOX_USAGE in Docker's words */
export function tmpfsOptions(data: string): string[] {
  const taken = new Set<string>();
  const kept: string[] = [];
  for (const option of [...DEFAULTS, ...(data === '' ? [] : data.split(','))].reverse()) {
    if (option === 'defaults') continue;
    const [name = '', value] = splitOnce(option);
    const flag = Object.hasOwn(FLAGS, option) ? FLAGS[option]! : undefined;
    if (flag === undefined && (value === undefined || !VALUES.includes(name))) {
      const shown = [name, ...(value === undefined ? [] : [value])].map((one) => JSON.stringify(one)).join(' ');
      throw new TsboxError('ERR_TSBOX_USAGE', `invalid tmpfs option [${shown}]`);
    }
    const topic = flag ?? `${name}=`;
    if (!taken.has(topic)) kept.unshift(option);
    taken.add(topic);
  }
  return kept;
}

function splitOnce(option: string): string[] {
  const equals = option.indexOf('=');
  return equals < 0 ? [option] : [option.slice(0, equals), option.slice(equals + 1)];
}

/** What `--mount type=tmpfs` says, as options of `--tmpfs`. */
export function tmpfsData({ ReadOnly, TmpfsOptions: options }: MountSpec): string {
  const { SizeBytes: size = 0, Mode: mode = 0 } = options ?? {};
  return [
    ...(ReadOnly === true ? ['ro'] : []),
    ...(size === 0 ? [] : [`size=${size}`]),
    ...(mode === 0 ? [] : [`mode=${mode.toString(8)}`]),
  ].join(',');
}
