/** A token server as registries with bearer tokens have it, until the test ends. */
import { execFileSync } from 'node:child_process';
import { createPrivateKey, randomBytes, sign, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { TestContext } from 'node:test';

export interface TokenServer {
  /** For docker-registry's configuration. */
  settings: string;
  /** What each token was asked for. */
  scopes: string[][];
}

/** Gives what is asked for, to everybody or to who has the password, but for what `denied` names, and counts.
 *  @param login `name:password` */
export async function tokenServer(
  context: TestContext,
  directory: string,
  { login, denied }: { login?: string; denied?: RegExp } = {},
): Promise<TokenServer> {
  const [key, cert] = [join(directory, 'token.key'), join(directory, 'token.crt')];
  const subject = ['-subj', '/CN=token.test', '-keyout', key, '-out', cert];
  execFileSync('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', ...subject], {
    stdio: 'pipe',
  });
  const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const x5c = [new X509Certificate(readFileSync(cert)).raw.toString('base64')];
  const scopes: string[][] = [];
  const server = createServer((request, response) => {
    const query = new URL(request.url ?? '', 'http://x').searchParams;
    scopes.push(query.getAll('scope'));
    const proof = login === undefined ? undefined : `Basic ${Buffer.from(login).toString('base64')}`;
    if (request.headers.authorization !== proof) return void response.writeHead(401).end('{"details":"who are you?"}');
    const granted = query.getAll('scope').filter((scope) => denied?.test(scope) !== true);
    const access = granted.map((scope) => {
      const [type, name, actions = ''] = scope.split(':');
      return { type, name, actions: actions.split(',') };
    });
    const now = Math.floor(Date.now() / 1000);
    const times = { exp: now + 300, nbf: now - 10, iat: now, jti: randomBytes(8).toString('hex') };
    const claims = { iss: 'token.test', sub: '', aud: query.get('service'), ...times, access };
    const signed = `${encode({ typ: 'JWT', alg: 'RS256', x5c })}.${encode(claims)}`;
    const signature = sign('sha256', Buffer.from(signed), createPrivateKey(readFileSync(key))).toString('base64url');
    response.end(JSON.stringify({ token: `${signed}.${signature}`, expires_in: 300 }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  context.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const realm = `http://127.0.0.1:${(server.address() as AddressInfo).port}/token`;
  const settings = `auth: {token: {realm: '${realm}', service: lab, issuer: token.test, rootcertbundle: ${cert}}}`;
  return { settings, scopes };
}
