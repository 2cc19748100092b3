/**
 * Proof of who we are, as each server asks for it: nothing, Basic, or a bearer token for a scope from the token server that the registry names.
 * Tokens are kept per server and scope. @see distribution docs, token authentication specification
 */
import { TsboxError } from '../errors.ts';
import { parseUntrustedJson } from '../spec/json.ts';
import { readBody } from './body.ts';
import { type Challenge, parseChallenges } from './challenge.ts';
import type { HttpRequest, HttpResponse } from './exchange.ts';
import { plainText, readRefusal, statusError } from './refusal.ts';

/** A name with its password, or a token that the token server exchanges. */
export type Credentials = { username: string; password: string } | { identityToken: string };

/** Gives what is known for a registry; called at most once for each, and only when it asks. */
export type CredentialSource = (domain: string) => Promise<Credentials | undefined>;

/** `repository:library/ubuntu:pull`, sorted; several for a mount from another repository. */
export type Scopes = readonly string[];

export interface Authorizer {
  /** The header to send at once, from earlier answers. */
  header(server: Server, scopes: Scopes): Promise<string | undefined>;
  /** The header that a 401 asks for; undefined when there is nothing better to send than what was refused.
   *  @throws ERR_TSBOX_UNAUTHORIZED when the token server refuses, ERR_TSBOX_REGISTRY when it cannot be asked */
  answer(server: Server, scopes: Scopes, refused: HttpResponse, sent: string | undefined): Promise<string | undefined>;
}

export interface Server {
  /** Scheme, host and port. */
  origin: string;
  /** How credentials call it. */
  domain: string;
}

export interface AuthorizerOptions {
  credentials: CredentialSource;
  send: (request: HttpRequest) => Promise<HttpResponse>;
  insecure: (host: string) => boolean;
}

interface Token {
  value: string;
  /** Milliseconds since 1970. */
  expires: number;
}

const SHORTEST_LIFE = 60;
const MOST_BYTES = 1024 * 1024;
const CLIENT = 'tsbox';

export function createAuthorizer(options: AuthorizerOptions): Authorizer {
  const challenges = new Map<string, Challenge>();
  const tokens = new Map<string, Promise<Token>>();
  /** Key of the token in each header that was given out. */
  const issued = new Map<string, string>();
  const known = new Map<string, Promise<Credentials | undefined>>();

  const credentialsFor = (domain: string): Promise<Credentials | undefined> => {
    const found = known.get(domain) ?? options.credentials(domain);
    known.set(domain, found);
    return found;
  };

  async function tokenFor(server: Server, scopes: Scopes, challenge: Challenge): Promise<string> {
    const asked = scopes.length > 0 ? scopes : (challenge.parameters.get('scope') ?? '').split(' ').filter(Boolean);
    const key = JSON.stringify([server, [...asked].sort()]);
    const held = tokens.get(key);
    let token = held === undefined ? undefined : await held;
    if (token === undefined || token.expires <= Date.now()) {
      // Whoever comes first renews it for all; the others wait for the same answer.
      let pending = tokens.get(key);
      if (pending === undefined || pending === held) {
        pending = credentialsFor(server.domain).then((who) => fetchToken(server, asked, challenge, who, options));
        tokens.set(key, pending);
        pending.catch(() => tokens.delete(key));
      }
      token = await pending;
    }
    const header = `Bearer ${token.value}`;
    issued.set(header, key);
    return header;
  }

  async function headerFor(server: Server, scopes: Scopes, challenge: Challenge): Promise<string | undefined> {
    if (challenge.scheme === 'bearer') return tokenFor(server, scopes, challenge);
    const credentials = await credentialsFor(server.domain);
    return credentials !== undefined && 'username' in credentials ? basic(credentials) : undefined;
  }

  return {
    async header(server, scopes) {
      const challenge = challenges.get(server.origin);
      return challenge === undefined ? undefined : headerFor(server, scopes, challenge);
    },
    async answer(server, scopes, refused, sent) {
      // A challenge from where a redirect led is not the registry's: our credentials are not meant for that server.
      if (refused.url.origin !== server.origin) return undefined;
      const offered = parseChallenges(refused.headers['www-authenticate'] ?? '');
      const challenge =
        offered.find(({ scheme }) => scheme === 'bearer') ?? offered.find(({ scheme }) => scheme === 'basic');
      if (challenge === undefined) return undefined;
      challenges.set(server.origin, challenge);
      // A token that was refused is no good, whatever its expiry says.
      tokens.delete(issued.get(sent ?? '') ?? '');
      const header = await headerFor(server, scopes, challenge);
      return header === sent ? undefined : header;
    },
  };
}

function basic({ username, password }: { username: string; password: string }): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
}

/** The token server's address. A password must not leave over plain http when the registry itself was asked over https. */
function realmUrl(server: Server, challenge: Challenge, secret: boolean, insecure: (host: string) => boolean): URL {
  const realm = challenge.parameters.get('realm') ?? '';
  const url = URL.canParse(realm) ? new URL(realm) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol) || url.username !== '') {
    throw new TsboxError('ERR_TSBOX_REGISTRY', `log in to ${server.origin}: it names no token server`);
  }
  if (secret && url.protocol === 'http:' && server.origin.startsWith('https:') && !insecure(url.host)) {
    throw new TsboxError(
      'ERR_TSBOX_REGISTRY',
      `log in to ${server.origin}: its token server is plain http: ${url.host}`,
      {
        hint: 'The password was not sent. If that network is trusted, mark the host of the token server insecure in registries.json.',
      },
    );
  }
  return url;
}

function loginCommand({ domain }: Server): string {
  return domain === 'docker.io' ? 'tsbox login' : `tsbox login ${domain}`;
}

async function fetchToken(
  server: Server,
  scopes: Scopes,
  challenge: Challenge,
  credentials: Credentials | undefined,
  options: AuthorizerOptions,
): Promise<Token> {
  const url = realmUrl(server, challenge, credentials !== undefined, options.insecure);
  const fields: [string, string][] = scopes.map((scope) => ['scope', scope]);
  const service = challenge.parameters.get('service');
  if (service !== undefined) fields.unshift(['service', service]);
  const asked = Date.now();
  const response = await options.send(tokenRequest(url, fields, credentials));
  if (response.status !== 200) {
    const refusal = await readRefusal(response);
    const wrong = refusal.status === 401 && credentials !== undefined;
    throw statusError(`log in to ${server.domain}`, refusal, {
      hint: wrong
        ? `The stored name or password is wrong: log in again with "${loginCommand(server)}", or log out to go on without.`
        : `Log in with "${loginCommand(server)}" first.`,
    });
  }
  return readToken(await readBody(response, MOST_BYTES, 'read a token'), asked, url.host);
}

function tokenRequest(url: URL, fields: [string, string][], credentials: Credentials | undefined): HttpRequest {
  if (credentials !== undefined && 'identityToken' in credentials) {
    const form = new URLSearchParams(fields.filter(([name]) => name !== 'scope'));
    const scope = fields.filter(([name]) => name === 'scope').map(([, value]) => value);
    if (scope.length > 0) form.set('scope', scope.join(' '));
    form.set('grant_type', 'refresh_token');
    form.set('refresh_token', credentials.identityToken);
    form.set('client_id', CLIENT);
    const headers = { 'content-type': 'application/x-www-form-urlencoded' };
    return { method: 'POST', url, headers, body: Buffer.from(form.toString()) };
  }
  for (const [name, value] of fields) url.searchParams.append(name, value);
  if (credentials === undefined) return { method: 'GET', url };
  url.searchParams.set('account', credentials.username);
  url.searchParams.set('client_id', CLIENT);
  return { method: 'GET', url, headers: { authorization: basic(credentials) } };
}

function readToken(bytes: Buffer, asked: number, host: string): Token {
  const body = parseUntrustedJson(bytes, `read the token of ${host}`) as Record<string, unknown> | null;
  const value = body?.['token'] ?? body?.['access_token'];
  // Anything else would end up in a header.
  if (typeof value !== 'string' || !/^[\x21-\x7e]+$/.test(value)) {
    throw new TsboxError('ERR_TSBOX_REGISTRY', `read the token of ${host}: none in ${plainText(typeof value)}`);
  }
  const life = body?.['expires_in'];
  const seconds = typeof life === 'number' && life > SHORTEST_LIFE ? life : SHORTEST_LIFE;
  // Somewhat earlier than it says: a request must not meet the end on its way.
  return { value, expires: asked + seconds * 900 };
}
