/** `login`: are these credentials good? */
import { TsboxError } from '../errors.ts';
import type { Credentials } from './auth.ts';
import { originEndpoint } from './endpoint.ts';
import { readRefusal, refuseHtml, statusError } from './refusal.ts';
import type { Session } from './session.ts';

/** Asks the registry's base with the credentials of the session, which the caller made for them. Stores nothing.
 *  @param domain `docker.io`, `localhost:5000`
 *  @throws ERR_TSBOX_UNAUTHORIZED when they are refused; ERR_TSBOX_REGISTRY when no registry answers
 *  @see distribution-spec, Determining Support */
export async function checkLogin(session: Session, domain: string, signal?: AbortSignal): Promise<void> {
  const what = `log in to ${domain}`;
  const wrong = (): TsboxError =>
    new TsboxError('ERR_TSBOX_UNAUTHORIZED', `${what}: unauthorized: incorrect username or password`);
  const request = { method: 'GET', target: '/v2/', signal } as const;
  const response = await session.send(originEndpoint(domain, session.config), request).catch((error: unknown) => {
    // Of its token server.
    throw error instanceof TsboxError && error.code === 'ERR_TSBOX_UNAUTHORIZED' ? wrong() : error;
  });
  if (response.status === 200) {
    refuseHtml(response, what);
    response.discard();
    return;
  }
  const refusal = await readRefusal(response);
  if (response.status === 401) throw wrong();
  throw statusError(what, refusal, { hint: `Is ${domain} a registry? Its address /v2/ should answer.` });
}

/** A source that knows one registry's credentials. */
export function fixedCredentials(domain: string, credentials: Credentials) {
  return async (asked: string): Promise<Credentials | undefined> => (asked === domain ? credentials : undefined);
}
