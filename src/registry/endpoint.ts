/** Which servers to ask for a repository, in which order, and how. */
import { TsboxError } from '../errors.ts';
import { DEFAULT_DOMAIN } from '../spec/reference.ts';
import type { RegistryConfig } from './config.ts';

export type Scheme = 'http:' | 'https:';

/** A server that speaks the distribution API. */
export interface Endpoint {
  /** Host and port of its URL. */
  host: string;
  /** How references and `login` call it: `docker.io` for Docker Hub, the host for all others. */
  domain: string;
  mirror: boolean;
  /** The first that answers is kept. */
  schemes: readonly Scheme[];
}

/** Docker Hub's names have one domain and its API has another. */
const HUB_HOST = 'registry-1.docker.io';

/** Does the host (with or without port) name this machine? Nobody else can listen in there, so plain http is good enough. */
export function isLoopback(host: string): boolean {
  const name = host.replace(/:\d+$/, '');
  return name === 'localhost' || name === '[::1]' || /^127(?:\.\d{1,3}){3}$/.test(name);
}

/** May the host's certificate be any, and may it be asked in plain http? */
export function isInsecure(host: string, config: RegistryConfig): boolean {
  return isLoopback(host) || config.get(host)?.insecure === true;
}

function schemesFor(host: string, config: RegistryConfig): readonly Scheme[] {
  if (isLoopback(host)) return ['http:', 'https:'];
  return isInsecure(host, config) ? ['https:', 'http:'] : ['https:'];
}

/** The registry that owns a domain. */
export function originEndpoint(domain: string, config: RegistryConfig): Endpoint {
  const host = domain === DEFAULT_DOMAIN ? HUB_HOST : domain;
  const settings = domain === DEFAULT_DOMAIN && config.get(domain)?.insecure === true ? domain : host;
  return { host, domain, mirror: false, schemes: schemesFor(settings, config) };
}

/** Reads a mirror as users write it: a URL without path, or a host.
 *  @throws ERR_TSBOX_SPEC */
export function mirrorEndpoint(text: string, config: RegistryConfig): Endpoint {
  const withScheme = /^https?:\/\//i.test(text);
  let url: URL;
  try {
    url = new URL(withScheme ? text : `https://${text}`);
  } catch (error) {
    throw invalidMirror(text, error);
  }
  const extra = url.pathname !== '/' || url.search !== '' || url.hash !== '' || url.username !== '';
  if (extra || url.host === '') throw invalidMirror(text);
  // URL drops 443 from https://host:443, but a host without a scheme may turn out to speak http on that port.
  const host = withScheme ? url.host : text.replace(/\/$/, '').toLowerCase();
  const schemes = withScheme ? [url.protocol as Scheme] : schemesFor(host, config);
  return { host, domain: host, mirror: true, schemes };
}

function invalidMirror(text: string, cause?: unknown): TsboxError {
  return new TsboxError('ERR_TSBOX_SPEC', `invalid registry mirror "${text.slice(0, 200)}"`, {
    hint: 'A mirror looks like https://mirror.example or http://10.0.0.1:5000, without path, user or query.',
    cause,
  });
}

/** Servers to pull a domain's images from: the mirrors, then the registry itself.
 *  @param mirrors of Docker Hub, from the command line; they come before those of the configuration */
export function pullEndpoints(domain: string, config: RegistryConfig, mirrors: readonly string[] = []): Endpoint[] {
  const configured = config.get(domain)?.mirrors ?? [];
  const all = domain === DEFAULT_DOMAIN ? [...mirrors, ...configured] : configured;
  return [...new Set(all)].map((text) => mirrorEndpoint(text, config)).concat(originEndpoint(domain, config));
}
