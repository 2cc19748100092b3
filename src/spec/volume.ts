/** Volumes and mounts in Docker's words. Types, and what a name of a volume may be; pure. */
import { TsboxError } from '../errors.ts';

/** A volume as it is kept. */
export interface Volume {
  name: string;
  /** `<data-root>/volumes/<name>/_data` */
  mountpoint: string;
  labels: Readonly<Record<string, string>> | null;
  /** Options of Docker's `local` driver: `type`, `o`, `device`. null: a directory of the data root. */
  options: Readonly<Record<string, string>> | null;
  /** RFC 3339, whole seconds. */
  created: string;
}

/** What `--mount` asks for: Docker's `Mount`. Fields that nobody gave are left out, as Docker leaves them out. */
export interface MountSpec {
  Type?: string;
  Source?: string;
  Target?: string;
  ReadOnly?: boolean;
  Consistency?: string;
  /** A bind that is read-only is so with all that is mounted below it, whether that is asked for by name or not. */
  BindOptions?: { Propagation?: string; NonRecursive?: boolean; ReadOnlyForceRecursive?: boolean };
  VolumeOptions?: {
    NoCopy?: boolean;
    Labels?: Record<string, string>;
    DriverConfig?: { Name?: string; Options?: Record<string, string> };
  };
  /** `Mode` as a number, permissions only. */
  TmpfsOptions?: { SizeBytes?: number; Mode?: number };
}

/** The one driver that there is. */
export const LOCAL_DRIVER = 'local';

/** A name must fit into a file name. */
const NAME_MAX = 255;

/** Can `text` be the name of a volume? Then it is safe as a file name. */
export function isVolumeName(text: string): boolean {
  return /^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/.test(text) && text.length <= NAME_MAX;
}

function usage(message: string): TsboxError {
  return new TsboxError('ERR_TSBOX_USAGE', message);
}

/** @throws ERR_TSBOX_USAGE in Docker's words */
export function checkVolumeName(name: string): void {
  if (isVolumeName(name)) return;
  const shown = name.slice(0, 300);
  if (name.length === 1) {
    throw usage(`create ${shown}: volume name is too short, names should be at least two alphanumeric characters`);
  }
  if (name.length > NAME_MAX) throw usage(`create ${shown}: the name has more than ${NAME_MAX} characters`);
  throw usage(
    `create ${shown}: ${JSON.stringify(shown)} includes invalid characters for a local volume name, only ` +
      '"[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path',
  );
}

/** @throws ERR_TSBOX_NOT_FOUND for any driver but `local` (which an empty name stands for) */
export function checkVolumeDriver(name: string, driver: string): void {
  if (driver === '' || driver === LOCAL_DRIVER) return;
  const message = `create ${name}: error looking up volume plugin ${driver}: plugin ${JSON.stringify(driver)} not found`;
  throw new TsboxError('ERR_TSBOX_NOT_FOUND', message, {
    hint: "tsbox has the driver 'local' only: plugins need a daemon.",
  });
}

const OPTIONS = ['type', 'o', 'device', 'size'];
/** Which option needs which others. */
const NEEDS: Readonly<Record<string, readonly string[]>> = {
  type: ['device'],
  device: ['type'],
  o: ['device', 'type'],
};

/** Options of the local driver. @throws ERR_TSBOX_USAGE in Docker's words */
export function checkVolumeOptions(name: string, options: Readonly<Record<string, string>>): void {
  for (const option of Object.keys(options)) {
    if (!OPTIONS.includes(option)) throw usage(`create ${name}: invalid option: ${JSON.stringify(option)}`);
  }
  if (options['size'] !== undefined) throw usage(`create ${name}: quota size requested but no quota support`);
  for (const option of Object.keys(options)) {
    const missing = NEEDS[option]?.find((one) => options[one] === undefined);
    if (missing !== undefined) throw usage(`create ${name}: missing required option: ${JSON.stringify(missing)}`);
  }
}

/** Docker's error for a volume that is not there. */
export function noSuchVolume(name: string): TsboxError {
  return new TsboxError('ERR_TSBOX_NOT_FOUND', `get ${name}: no such volume`, {
    hint: '`tsbox volume ls` lists all volumes.',
  });
}
