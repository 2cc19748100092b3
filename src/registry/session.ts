/**
 * Requests to the registries of one client: the scheme that each speaks, the proof it wants, and patience, so that the operations above
 * see answers only. Every operation takes a session first.
 */
import { type CredentialSource, createAuthorizer, type Scopes } from './auth.ts';
import type { RegistryConfig } from './config.ts';
import { type Endpoint, isInsecure, type Scheme } from './endpoint.ts';
import type { HttpRequest, HttpResponse } from './exchange.ts';
import type { Transport } from './http.ts';
import { isPassing, isUnreachable, networkCode } from './network-error.ts';
import { isPassingStatus, type RetryPolicy, sendPatiently } from './retry.ts';

export interface Limits {
  /** Bytes of a manifest, an index or an image's config. */
  document: number;
}

export interface SessionOptions {
  transport: Transport;
  config: RegistryConfig;
  /** Of Docker Hub, from the command line. */
  mirrors: readonly string[];
  credentials: CredentialSource;
  retry: RetryPolicy;
  limits: Limits;
  /** Told of what went wrong and was helped: a retry, a mirror that was left out. */
  notice: (text: string) => void;
}

export interface RegistryRequest extends Omit<HttpRequest, 'url'> {
  /** Below the endpoint: `/v2/library/ubuntu/manifests/latest`, or a URL that the registry gave. */
  target: string | URL;
  /** What the proof is for. */
  scopes?: Scopes;
  /** Send once only: the caller knows better how to go on. */
  once?: boolean;
}

export interface Session extends Omit<SessionOptions, 'transport'> {
  send(endpoint: Endpoint, request: RegistryRequest): Promise<HttpResponse>;
  /** Asks any server, without credentials, whatever it answers. */
  sendPlainly(request: HttpRequest): Promise<HttpResponse>;
  close(): void;
}

export function createSession(options: SessionOptions): Session {
  const { transport, config, retry, notice } = options;
  const insecure = (host: string): boolean => isInsecure(host, config);
  const answered = new Set<string>();
  const schemes = new Map<string, Scheme>();

  const patiently = async (request: HttpRequest, once = false): Promise<HttpResponse> => {
    const policy = once ? { ...retry, attempts: 1 } : retry;
    const reached = (): boolean => answered.has(request.url.host);
    const response = await sendPatiently(() => transport.send(request), policy, {
      signal: request.signal,
      reached,
      notice,
    });
    answered.add(request.url.host);
    return response;
  };
  const authorizer = createAuthorizer({ credentials: options.credentials, send: patiently, insecure });

  async function proved(endpoint: Endpoint, url: URL, request: RegistryRequest, base: string): Promise<HttpResponse> {
    const { scopes = [], target: _, once, ...rest } = request;
    const server = { origin: base, domain: endpoint.domain };
    const send = (authorization: string | undefined): Promise<HttpResponse> => {
      const headers = authorization === undefined ? rest.headers : { ...rest.headers, authorization };
      return patiently({ ...rest, url, ...(headers === undefined ? {} : { headers }) }, once);
    };
    // A URL that leads elsewhere, to a storage server, is its own proof.
    if (url.origin !== base) return send(undefined);
    const header = await authorizer.header(server, scopes);
    const response = await send(header);
    if (response.status !== 401) return response;
    const better = await authorizer.answer(server, scopes, response, header);
    if (better === undefined) return response;
    response.discard();
    return send(better);
  }

  const via = (endpoint: Endpoint, scheme: Scheme, request: RegistryRequest): Promise<HttpResponse> => {
    const base = new URL(`${scheme}//${endpoint.host}`).origin;
    return proved(endpoint, new URL(request.target, base), request, base);
  };

  /** Finds the scheme that the server speaks. @returns the scheme, with the answer if there was one that counts */
  async function probe(endpoint: Endpoint, request: RegistryRequest): Promise<[Scheme, HttpResponse?]> {
    let first: unknown;
    for (const scheme of endpoint.schemes) {
      try {
        const response = await via(endpoint, scheme, { ...request, once: true });
        const other = scheme === 'http:' && wantsTls(response);
        if (!other && !isPassingStatus(response.status)) return [scheme, response];
        response.discard();
        if (!other) return [scheme];
      } catch (error) {
        if (networkCode(error) === undefined || answered.has(endpoint.host)) throw error;
        first ??= error;
      }
    }
    if (!isPassing(first) || isUnreachable(first)) throw first;
    return [endpoint.schemes[0] ?? 'https:'];
  }

  return {
    ...options,
    async send(endpoint, request) {
      const key = `${endpoint.host} ${endpoint.schemes.join()}`;
      let scheme = endpoint.schemes.length === 1 ? endpoint.schemes[0] : schemes.get(key);
      if (scheme === undefined) {
        const [found, response] = await probe(endpoint, request);
        if (response !== undefined || answered.has(endpoint.host)) schemes.set(key, found);
        if (response !== undefined) return response;
        scheme = found;
      }
      return via(endpoint, scheme, request);
    },
    sendPlainly: (request) => patiently(request),
    close: () => transport.close(),
  };
}

/** Is this a TLS server's answer to plain http? */
function wantsTls({ status, headers }: HttpResponse): boolean {
  return status === 400 && headers['docker-distribution-api-version'] === undefined;
}
