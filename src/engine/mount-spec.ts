/** From Docker's `Mount` (`--mount`) to the mount point of a container. Pure. */
import { posix } from 'node:path';
import { TsboxError } from '../errors.ts';
import type { MountPoint } from '../spec/container.ts';
import { tmpfsData, tmpfsOptions } from '../spec/tmpfs-options.ts';
import { LOCAL_DRIVER, type MountSpec } from '../spec/volume.ts';

const PROPAGATION = ['private', 'rprivate', 'shared', 'rshared', 'slave', 'rslave'];

/** @throws ERR_TSBOX_USAGE, as Docker's daemon words it */
export function checkDestination(destination: string): void {
  if (posix.normalize(destination) === '/') throw usage("invalid specification: destination can't be '/'");
  checkAbsolute(destination);
}

function checkAbsolute(path: string): void {
  if (!path.startsWith('/')) throw usage(`invalid mount path: '${path}' mount path must be absolute`);
}

function usage(message: string): TsboxError {
  return new TsboxError('ERR_TSBOX_USAGE', message);
}

const mustNot = (field: string) => usage(`field ${field} must not be specified`);

/** What goes with the type and what does not. */
function checkType(spec: MountSpec): void {
  const { Type: type, Source: source = '', BindOptions: bind, VolumeOptions: volume } = spec;
  if (type === 'bind') {
    if (source === '') throw usage('field Source must not be empty');
    const propagation = bind?.Propagation ?? '';
    if (propagation !== '' && !PROPAGATION.includes(propagation)) {
      throw usage(`invalid propagation mode: ${propagation}`);
    }
    if (volume !== undefined) throw mustNot('VolumeOptions');
    checkAbsolute(source);
  } else if (type === 'volume') {
    if (bind !== undefined) throw mustNot('BindOptions');
    if (source === '' && spec.ReadOnly === true) {
      throw usage('must not set ReadOnly mode when using anonymous volumes');
    }
  } else if (type === 'tmpfs') {
    if (bind !== undefined) throw mustNot('BindOptions');
    if (source !== '') throw mustNot('Source');
    tmpfsOptions(tmpfsData(spec));
  } else throw usage('mount type unknown');
}

/** Without `..`, `//` and a slash at the end, as Go's path.Clean. */
export function cleanPath(path: string): string {
  return posix.normalize(path).replace(/(.)\/$/, '$1');
}

/** The mount point, without the volume that it may need; its `Mode` is the caller's to say. Whether a source is there is not asked.
 *  @throws ERR_TSBOX_USAGE: `invalid mount config for type "bind": ...` */
export function mountPoint(spec: MountSpec): MountPoint {
  const { Type: type = '', Source: source = '', Target: target = '' } = spec;
  try {
    if (target === '') throw usage('field Target must not be empty');
    checkDestination(target);
    checkType(spec);
  } catch (error) {
    throw usage(`invalid mount config for type ${JSON.stringify(type)}: ${(error as Error).message}`);
  }
  const driver = spec.VolumeOptions?.DriverConfig?.Name ?? '';
  return {
    Type: type as MountPoint['Type'],
    ...(type === 'volume' && { Name: source, Driver: driver === '' ? LOCAL_DRIVER : driver }),
    Source: type === 'bind' ? cleanPath(source) : '',
    Destination: cleanPath(target),
    Mode: '',
    RW: spec.ReadOnly !== true,
    Propagation: type === 'bind' ? (spec.BindOptions?.Propagation ?? '') || 'rprivate' : '',
    Spec: spec,
  };
}

/** Docker's error for a source of `--mount type=bind` that is not there. */
export function noSuchSource(source: string): TsboxError {
  const message = `invalid mount config for type "bind": bind source path does not exist: ${source}`;
  return new TsboxError('ERR_TSBOX_USAGE', message, {
    hint: 'Make it first; with -v a missing directory is made.',
  });
}
