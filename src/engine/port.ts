/** `port`: which ports of the host lead to those of a container. */
import { TsboxError } from '../errors.ts';
import { portLines } from '../spec/published.ts';
import { requireContainer } from '../store/containers.ts';
import { readRunNetwork } from '../store/network-run.ts';
import type { Engine } from './open.ts';

/** `80/tcp -> 0.0.0.0:8080`, and for one port only where it is. None of a container that does not run.
 *  @param wanted `80`, `80/udp`; without it all
 *  @throws ERR_TSBOX_NOT_FOUND for a port that is not published, ERR_TSBOX_USAGE for what is no port */
export function publishedPorts({ store }: Engine, name: string, wanted?: string): string[] {
  const { ID } = requireContainer(store, name);
  const { ports } = readRunNetwork(store, ID);
  if (wanted === undefined) return portLines(ports);
  const [number = '', protocol = 'tcp'] = wanted.split('/');
  if (!/^\d+$/.test(number)) {
    const what = `strconv.ParseUint: parsing ${JSON.stringify(number)}: invalid syntax`;
    throw new TsboxError('ERR_TSBOX_USAGE', `invalid port (${number}): ${what}`);
  }
  const found = portLines(ports, `${number}/${protocol}`);
  if (found.length > 0) return found;
  throw new TsboxError('ERR_TSBOX_NOT_FOUND', `No public port '${wanted}' published for ${name}`);
}
