/** `-v SRC:DST[:options]`. Pure. */
import { posix } from 'node:path';
import { TsboxError } from '../errors.ts';
import type { MountPoint } from '../spec/container.ts';

const PROPAGATION = ['private', 'rprivate', 'shared', 'rshared', 'slave', 'rslave'];

/** Of each kind at most one. Labels and consistency mean something on other systems only. */
const MODES = [['ro', 'rw'], ['z', 'Z'], ['consistent', 'cached', 'delegated', 'default'], PROPAGATION];

function usage(message: string, hint?: string): TsboxError {
  return new TsboxError('ERR_TSBOX_USAGE', message, hint === undefined ? { exitCode: 125 } : { exitCode: 125, hint });
}

function checkDestination(spec: string, destination: string): void {
  if (!destination.startsWith('/')) {
    throw usage(`invalid volume specification: '${spec}': mount path must be absolute`);
  }
  if (posix.normalize(destination) === '/') {
    throw usage(`invalid volume specification: '${spec}': destination can't be '/'`);
  }
}

function checkModes(options: string, modes: readonly string[]): void {
  const kinds = modes.map((mode) => MODES.findIndex((kind) => kind.includes(mode)));
  if (kinds.includes(-1) || new Set(kinds).size < kinds.length) throw usage(`invalid mode: ${options}`);
}

/** One bind mount. @throws ERR_TSBOX_USAGE, in Docker's words; ERR_TSBOX_UNSUPPORTED for named and anonymous volumes */
export function parseBind(spec: string): MountPoint {
  const [source = '', destination, options = '', ...rest] = spec.split(':');
  if (destination === undefined || source === '' || rest.length > 0) {
    if (destination === undefined && source.startsWith('/')) {
      throw new TsboxError('ERR_TSBOX_UNSUPPORTED', `anonymous volume '${spec}': not supported yet`, {
        exitCode: 125,
        hint: 'Name a directory of the host: -v /host/directory:/directory',
      });
    }
    throw usage(`invalid volume specification: '${spec}'`);
  }
  checkDestination(spec, destination);
  if (!source.startsWith('/')) {
    const path = source.startsWith('.');
    if (path)
      throw usage(`invalid volume specification: '${spec}': the source must be absolute`, 'Use "$PWD/..." for a path.');
    throw new TsboxError('ERR_TSBOX_UNSUPPORTED', `named volume '${source}': not supported yet`, {
      exitCode: 125,
      hint: 'Name a directory of the host: -v /host/directory:/directory',
    });
  }
  const modes = options.split(',').filter((option) => option !== '');
  checkModes(options, modes);
  return {
    Type: 'bind',
    Source: posix.normalize(source),
    Destination: posix.normalize(destination).replace(/\/$/, ''),
    Mode: options,
    RW: !modes.includes('ro'),
    Propagation: modes.find((mode) => PROPAGATION.includes(mode)) ?? 'rprivate',
  };
}

/** Is one of `roots` at `source` or below it? */
function holdsOneOf(source: string, roots: readonly string[]): boolean {
  return roots.some((root) => `${root}/`.startsWith(source === '/' ? '/' : `${source}/`));
}

/** As Docker: a bind that holds the engine's own directories, and so the mounts of other containers, lets go of them when the host does.
 *  @param roots of images, containers and running containers */
function withPropagation(point: MountPoint, roots: readonly string[]): MountPoint {
  const said = point.Mode.split(',').some((option) => PROPAGATION.includes(option));
  return said || !holdsOneOf(point.Source, roots) ? point : { ...point, Propagation: 'rslave' };
}

/** All binds by their destination. @throws ERR_TSBOX_USAGE when two have the same: `Duplicate mount point: /x` */
export function parseBinds(specs: readonly string[], roots: readonly string[] = []): Record<string, MountPoint> {
  const points: Record<string, MountPoint> = {};
  for (const spec of specs) {
    const point = withPropagation(parseBind(spec), roots);
    if (points[point.Destination] !== undefined) throw usage(`Duplicate mount point: ${point.Destination}`);
    points[point.Destination] = point;
  }
  return points;
}
