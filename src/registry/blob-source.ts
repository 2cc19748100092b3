/** Where a blob can be had: the mirrors, the registry, and addresses that its descriptor names. */
import type { Descriptor } from '../spec/oci-image.ts';
import type { Reference } from '../spec/reference.ts';
import { pullEndpoints } from './endpoint.ts';
import type { HttpResponse } from './exchange.ts';
import { showUrl } from './network-error.ts';
import type { Session } from './session.ts';

export interface Source {
  kind: 'mirror' | 'registry' | 'address';
  /** Host with port; of an address all of it but its query. */
  host: string;
  request(headers: Readonly<Record<string, string>>): Promise<HttpResponse>;
}

/** The servers in the order in which they are asked. The registry comes before the addresses that the image names: those are strangers.
 *  @see image-spec descriptor.md, `urls`; layer.md, Non-Distributable Layers */
export function blobSources(
  session: Session,
  reference: Reference,
  { digest, urls }: Descriptor,
  { signal, without }: { signal?: AbortSignal | undefined; without?: ReadonlySet<string> },
): Source[] {
  const servers = pullEndpoints(reference.domain, session.config, session.mirrors)
    .filter(({ host, mirror }) => !mirror || without?.has(host) !== true)
    .map((endpoint): Source => {
      const target = `/v2/${reference.path}/blobs/${digest}`;
      const scopes = [`repository:${reference.path}:pull`];
      return {
        kind: endpoint.mirror ? 'mirror' : 'registry',
        host: endpoint.host,
        request: (headers) => session.send(endpoint, { method: 'GET', target, headers, scopes, signal }),
      };
    });
  const addresses = (urls ?? []).filter(isWebAddress).map((text): Source => {
    const url = new URL(text);
    const request: Source['request'] = (headers) => session.sendPlainly({ method: 'GET', url, headers, signal });
    return { kind: 'address', host: showUrl(url), request };
  });
  return [...servers, ...addresses];
}

function isWebAddress(text: string): boolean {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  return url !== undefined && /^https?:$/.test(url.protocol) && url.username === '' && url.password === '';
}
