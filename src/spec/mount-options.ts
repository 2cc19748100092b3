/** Mount options as the runtime specification and mount(8) spell them, sorted into what the system calls take. Pure. */
import type { MS } from './linux.ts';

type MsName = keyof typeof MS;
type Propagation = 'MS_PRIVATE' | 'MS_SLAVE' | 'MS_SHARED' | 'MS_UNBINDABLE';

export interface MountOptions {
  flags: MsName[];
  /** Comma-separated options for the file system itself. */
  data: string;
  bind: boolean;
  recursive: boolean;
  readonly: boolean;
  propagation?: { type: Propagation; recursive: boolean };
}

const SET: Readonly<Record<string, MsName>> = {
  ro: 'MS_RDONLY',
  nosuid: 'MS_NOSUID',
  nodev: 'MS_NODEV',
  noexec: 'MS_NOEXEC',
  sync: 'MS_SYNCHRONOUS',
  dirsync: 'MS_DIRSYNC',
  mand: 'MS_MANDLOCK',
  noatime: 'MS_NOATIME',
  nodiratime: 'MS_NODIRATIME',
  relatime: 'MS_RELATIME',
  strictatime: 'MS_STRICTATIME',
  lazytime: 'MS_LAZYTIME',
  nosymfollow: 'MS_NOSYMFOLLOW',
};

const CLEAR: Readonly<Record<string, MsName | undefined>> = {
  defaults: undefined,
  rw: 'MS_RDONLY',
  suid: 'MS_NOSUID',
  dev: 'MS_NODEV',
  exec: 'MS_NOEXEC',
  async: 'MS_SYNCHRONOUS',
  atime: 'MS_NOATIME',
  diratime: 'MS_NODIRATIME',
  norelatime: 'MS_RELATIME',
  nostrictatime: 'MS_STRICTATIME',
  nomand: 'MS_MANDLOCK',
  symfollow: 'MS_NOSYMFOLLOW',
};

const PROPAGATION: Readonly<Record<string, Propagation>> = {
  private: 'MS_PRIVATE',
  slave: 'MS_SLAVE',
  shared: 'MS_SHARED',
  unbindable: 'MS_UNBINDABLE',
};

/** @see mount(8), FILESYSTEM-INDEPENDENT MOUNT OPTIONS; runtime-spec config.md, Linux mount options */
export function parseMountOptions(options: readonly string[]): MountOptions {
  const flags = new Set<MsName>();
  const data: string[] = [];
  const parsed: MountOptions = { flags: [], data: '', bind: false, recursive: false, readonly: false };
  for (const option of options) {
    const set = SET[option];
    const recursive = option.startsWith('r') && PROPAGATION[option.slice(1)] !== undefined;
    const propagation = PROPAGATION[recursive ? option.slice(1) : option];
    if (option === 'bind' || option === 'rbind') {
      parsed.bind = true;
      parsed.recursive = option === 'rbind';
    } else if (set !== undefined) flags.add(set);
    else if (option in CLEAR) {
      const name = CLEAR[option];
      if (name !== undefined) flags.delete(name);
    } else if (propagation !== undefined) parsed.propagation = { type: propagation, recursive };
    else data.push(option);
  }
  parsed.flags = [...flags];
  parsed.readonly = flags.has('MS_RDONLY');
  parsed.data = data.join(',');
  return parsed;
}
