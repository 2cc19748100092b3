/** The flags of volumes and other mounts that `run` and `create` share, beside `--volume`. The parsing is loaded when one is given. */
import { resolve } from 'node:path';
import type { ContainerRequest } from '../engine/api.ts';
import { FLAG_ERROR, type FlagTable, UsageError } from './args.ts';

export const VOLUME_FLAGS = {
  mount: {
    kind: 'list',
    value: 'mount',
    help: 'Mount something, comma-separated: type (bind, volume, tmpfs), source, target, readonly and more',
  },
  tmpfs: { kind: 'list', help: 'Mount a tmpfs: PATH[:size=64m,mode=1777,...]' },
  'volume-driver': { kind: 'string', help: "Driver of volumes that are made: 'local' is the only one" },
  'volumes-from': { kind: 'list', help: 'Mount what another container has mounted: CONTAINER[:ro]' },
} as const satisfies FlagTable;

type Name = keyof typeof VOLUME_FLAGS;
export type VolumeValues = Partial<Record<Name, string | string[] | undefined>>;

/** The request with what the flags ask for. @throws UsageError on a value that is none */
export async function withVolumes(request: ContainerRequest, flags: VolumeValues): Promise<ContainerRequest> {
  const [mounts, tmpfs, from] = (['mount', 'tmpfs', 'volumes-from'] as const).map((name) => flags[name] as string[]);
  const driver = flags['volume-driver'] as string | undefined;
  return {
    ...request,
    volumes: request.volumes.map(volumeValue),
    ...(mounts!.length > 0 && { mounts: mounts!.map((await import('./mount-value.ts')).mountValue) }),
    ...(tmpfs!.length > 0 && { tmpfs: Object.fromEntries(tmpfs!.map(tmpfsValue)) }),
    ...(from!.length > 0 && { volumesFrom: from! }),
    ...(driver !== undefined && { volumeDriver: driver }),
  };
}

/** As Docker's client: what begins with a dot is a directory of the caller's. @throws UsageError in its words */
export function volumeValue(spec: string): string {
  if (spec === '') throw new UsageError('invalid empty volume spec', FLAG_ERROR);
  const parts = spec.split(':');
  if (parts.includes('')) throw new UsageError(`invalid spec: ${spec}: empty section between colons`, FLAG_ERROR);
  const [source = '', ...rest] = parts;
  if (rest.length === 0 || !source.startsWith('.')) return spec;
  return [resolve(source), ...rest].join(':');
}

function tmpfsValue(text: string): [path: string, options: string] {
  const colon = text.indexOf(':');
  return colon < 0 ? [text, ''] : [text.slice(0, colon), text.slice(colon + 1)];
}
