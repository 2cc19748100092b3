/** `-v [SOURCE:]DESTINATION[:options]` and `--volumes-from`, as the mounts that they ask for. Pure. */
import { TsboxError } from '../errors.ts';
import type { MountPoint } from '../spec/container.ts';
import type { MountSpec } from '../spec/volume.ts';
import { cleanPath, mountPoint } from './mount-spec.ts';

const PROPAGATION = ['private', 'rprivate', 'shared', 'rshared', 'slave', 'rslave'];

/** Of each kind at most one. Labels and consistency mean something on other systems only. */
const MODES = [['ro', 'rw'], ['z', 'Z'], ['nocopy'], ['consistent', 'cached', 'delegated', 'default'], PROPAGATION];

function usage(message: string, hint?: string): TsboxError {
  return new TsboxError('ERR_TSBOX_USAGE', message, hint === undefined ? {} : { hint });
}

const wordsOf = (options: string) => options.split(',').filter((option) => option !== '');

function isMode(options: string): boolean {
  const kinds = wordsOf(options).map((mode) => MODES.findIndex((kind) => kind.includes(mode)));
  return !kinds.includes(-1) && new Set(kinds).size === kinds.length;
}

/** Docker's three forms. @throws ERR_TSBOX_USAGE */
function split(spec: string): { source: string; target: string; options: string } {
  const [first = '', second, options = '', ...rest] = spec.split(':');
  // A destination with a mode and no source is none.
  const isTarget = second === undefined || (options === '' && second !== '' && isMode(second));
  if (first === '' || rest.length > 0 || (second !== undefined && isTarget)) {
    throw usage(`invalid volume specification: '${spec}'`);
  }
  return second === undefined ? { source: '', target: first, options: '' } : { source: first, target: second, options };
}

/** Docker's `Mount` for the text. */
function specOf(source: string, target: string, options: string, driver: string): MountSpec {
  const words = wordsOf(options);
  const isBind = source.startsWith('/');
  const propagation = words.find((word) => PROPAGATION.includes(word));
  const volume = {
    ...(words.includes('nocopy') && { NoCopy: true }),
    ...(!isBind && driver !== '' && { DriverConfig: { Name: driver } }),
  };
  return {
    Type: isBind ? 'bind' : 'volume',
    ...(source !== '' && { Source: source }),
    Target: target,
    ...(words.includes('ro') && { ReadOnly: true }),
    ...(propagation !== undefined && { BindOptions: { Propagation: propagation } }),
    ...(Object.keys(volume).length > 0 && { VolumeOptions: volume }),
  };
}

/** One mount: a directory of the host, or a volume, which has no `Source` yet. One without a name is a volume that nobody named.
 *  @param driver `--volume-driver` @throws ERR_TSBOX_USAGE, in Docker's words */
export function parseBind(spec: string, driver = ''): MountPoint {
  const { source, target, options } = split(spec);
  if (!isMode(options)) throw usage(`invalid mode: ${options}`);
  try {
    const point = mountPoint(specOf(source, target, options, driver));
    return { ...point, Mode: options };
  } catch (error) {
    if (!(error instanceof TsboxError)) throw error;
    throw usage(`invalid volume specification: '${spec}': ${error.message}`, error.hint);
  }
}

/** Is one of `roots` at `source` or below it? */
function holdsOneOf(source: string, roots: readonly string[]): boolean {
  return roots.some((root) => `${root}/`.startsWith(source === '/' ? '/' : `${source}/`));
}

/** As Docker: a bind that holds the engine's own directories, and so the mounts of other containers, lets go of them when the host does.
 *  @param roots of images, containers and running containers */
export function withPropagation(point: MountPoint, roots: readonly string[]): MountPoint {
  const said = point.Spec?.BindOptions?.Propagation !== undefined;
  return point.Type !== 'bind' || said || !holdsOneOf(point.Source, roots)
    ? point
    : { ...point, Propagation: 'rslave' };
}

/** `CONTAINER[:ro|rw|z|Z]`. @throws ERR_TSBOX_USAGE, in Docker's words */
export function parseVolumesFrom(spec: string): { container: string; writable: boolean } {
  if (spec === '') throw usage('volumes-from specification cannot be an empty string');
  const colon = spec.indexOf(':');
  const options = colon < 0 ? '' : spec.slice(colon + 1);
  const words = wordsOf(options);
  const odd = words.some((word) => word === 'nocopy' || PROPAGATION.includes(word));
  if (!isMode(options) || odd || (colon >= 0 && options === '')) throw usage(`invalid mode: ${options}`);
  return { container: colon < 0 ? spec : spec.slice(0, colon), writable: !words.includes('ro') };
}

/** Where an anonymous volume of the image or of `-v /path` is. */
export function anonymousDestination(path: string): string {
  const destination = cleanPath(`/${path}`).replace(/^\/+/, '/');
  if (destination !== '/') return destination;
  throw usage(`invalid volume specification: '${path}': invalid specification: destination can't be '/'`);
}

/** @returns Docker's refusal */
export function duplicateMountPoint(destination: string): TsboxError {
  return usage(`Duplicate mount point: ${destination}`);
}

/** `-v /path`: what Docker's client sends beside the image's `VOLUME`s. */
export function anonymousPaths({ volumes }: { volumes: readonly string[] }): string[] {
  return volumes.filter((spec) => !spec.includes(':')).map(anonymousDestination);
}

/** `-v SOURCE:PATH`; the same text twice is one, as in Docker's client. */
export function bindSpecs({ volumes }: { volumes: readonly string[] }): string[] {
  return [...new Set(volumes.filter((spec) => spec.includes(':')))];
}
