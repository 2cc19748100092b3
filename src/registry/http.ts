/** HTTP to registries: connections kept and shared, proxies, trust, redirects. Knows nothing of images. */
import type { Agent } from 'node:http';
import type { SecureContext } from 'node:tls';
import { TsboxError } from '../errors.ts';
import { exchange, type HttpRequest, type HttpResponse, type Timeouts } from './exchange.ts';
import { showUrl } from './network-error.ts';
import { proxyFor } from './proxy.ts';
import { connectThrough } from './socks.ts';

export interface TransportOptions {
  timeouts: Timeouts;
  /** For the proxy settings. */
  environment: Readonly<Record<string, string | undefined>>;
  /** A host's TLS context, asked for when it is first needed. */
  trust: (host: string) => SecureContext;
  /** May the host's certificate be any, may https lead to its plain http? */
  insecure: (host: string) => boolean;
  userAgent: string;
}

export interface Transport {
  /** Sends a request and follows redirects.
   *  @throws ERR_TSBOX_REGISTRY when no answer comes or redirects do not end; the signal's reason when it is aborted */
  send(request: HttpRequest): Promise<HttpResponse>;
  /** Closes the connections. */
  close(): void;
}

const MOST_REDIRECTS = 10;

export function createTransport(options: TransportOptions): Transport {
  const agents = new Map<string, Agent>();
  const agentFor = (url: URL): Agent => {
    const proxy = proxyFor(url, options.environment);
    const key = `${url.protocol}//${url.host} ${proxy ?? ''}`;
    const agent = agents.get(key) ?? createAgent(url, proxy, options);
    agents.set(key, agent);
    return agent;
  };
  return {
    send: (request) =>
      follow(request, (each) => exchange(withDefaults(each, options), agentFor(each.url), options.timeouts)),
    close: () => {
      for (const agent of agents.values()) agent.destroy();
      agents.clear();
    },
  };

  async function follow(first: HttpRequest, send: (request: HttpRequest) => Promise<HttpResponse>) {
    const visited = new Set<string>();
    for (let request = first; ; ) {
      visited.add(request.url.href);
      const response = await send(request);
      const next = redirected(request, response, options.insecure);
      if (next === undefined) return response;
      response.discard();
      if (visited.has(next.url.href)) throw redirectError(first, `redirected in a circle by ${showUrl(request.url)}`);
      if (visited.size > MOST_REDIRECTS) throw redirectError(first, `redirected more than ${MOST_REDIRECTS} times`);
      request = next;
    }
  }
}

function redirectError(request: HttpRequest, what: string): TsboxError {
  return new TsboxError('ERR_TSBOX_REGISTRY', `${request.method} ${showUrl(request.url)}: ${what}`, {
    hint: 'The registry, or a proxy before it, is set up wrongly.',
  });
}

/** gzip on the way would change what is counted and hashed. */
function withDefaults(request: HttpRequest, { userAgent }: TransportOptions): HttpRequest {
  return { ...request, headers: { 'user-agent': userAgent, 'accept-encoding': 'identity', ...request.headers } };
}

function createAgent(url: URL, proxy: string | undefined, options: TransportOptions): Agent {
  const secure = url.protocol === 'https:';
  const socks = proxy !== undefined && /^socks/i.test(proxy);
  const through = proxy === undefined || socks ? {} : { proxyEnv: { HTTP_PROXY: proxy, HTTPS_PROXY: proxy } };
  const { Agent: Plain } = process.getBuiltinModule('node:http');
  const { Agent: Secure } = process.getBuiltinModule('node:https');
  const agent = secure
    ? new Secure({
        keepAlive: true,
        secureContext: options.trust(url.host),
        rejectUnauthorized: !options.insecure(url.host),
        ...through,
      })
    : new Plain({ keepAlive: true, ...through });
  if (socks) connectThrough(agent, new URL(proxy), secure, options.timeouts.connect);
  return agent;
}

/** The request that a redirect asks for; undefined when the answer is none. Credentials go to the first server only. */
function redirected(
  request: HttpRequest,
  response: HttpResponse,
  insecure: (host: string) => boolean,
): HttpRequest | undefined {
  const { location } = response.headers;
  if (location === undefined || ![301, 302, 303, 307, 308].includes(response.status)) return undefined;
  const reads = request.method === 'GET' || request.method === 'HEAD';
  if (!reads && response.status < 307) return undefined;
  let url: URL;
  try {
    url = new URL(location, request.url);
  } catch {
    throw redirectError(request, 'redirected to what is no URL');
  }
  if (url.protocol !== 'https:' && url.protocol !== 'http:')
    throw redirectError(request, `redirected to ${url.protocol}`);
  if (request.url.protocol === 'https:' && url.protocol === 'http:' && !insecure(url.host)) {
    throw redirectError(request, `redirected from https to http://${url.host}`);
  }
  url.username = '';
  url.password = '';
  url.hash = '';
  const headers = { ...request.headers };
  if (url.origin !== request.url.origin) delete headers['authorization'];
  return { ...request, url, headers };
}
