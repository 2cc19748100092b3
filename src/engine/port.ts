/** `port`: which ports of the host lead to those of a container. */
import { TsboxError } from '../errors.ts';
import { readHostConfig, requireContainer } from '../store/containers.ts';
import type { Engine } from './open.ts';

export interface PublishedPort {
  /** `80/tcp` */
  port: string;
  /** `0.0.0.0:8080`, `[::]:8080` */
  host: string;
}

/** In the order of the container's ports. @param wanted `80`, `80/udp`; without it all
 *  @throws ERR_TSBOX_NOT_FOUND for a port that is not published, ERR_TSBOX_USAGE for what is no port */
export function publishedPorts({ store }: Engine, name: string, wanted?: string): PublishedPort[] {
  const record = requireContainer(store, name);
  const bindings = readHostConfig(store, record.ID).PortBindings ?? {};
  const found = Object.keys(bindings)
    .sort((a, b) => Number.parseInt(a, 10) - Number.parseInt(b, 10) || (a < b ? -1 : 1))
    .flatMap((port) =>
      (bindings[port] ?? []).map(({ HostIp, HostPort }) => ({ port, host: address(HostIp, HostPort) })),
    );
  if (wanted === undefined) return found;
  const [number = '', protocol = 'tcp'] = wanted.split('/');
  if (!/^\d+$/.test(number)) {
    const what = `strconv.ParseUint: parsing ${JSON.stringify(number)}: invalid syntax`;
    throw new TsboxError('ERR_TSBOX_USAGE', `invalid port (${number}): ${what}`);
  }
  const matching = found.filter(({ port }) => port === `${number}/${protocol}`);
  if (matching.length > 0) return matching;
  throw new TsboxError('ERR_TSBOX_NOT_FOUND', `No public port '${wanted}' published for ${name}`);
}

function address(ip: string, port: string): string {
  const host = ip === '' ? '0.0.0.0' : ip;
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}
