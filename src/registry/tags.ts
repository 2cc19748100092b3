/** The tags of a repository, for `pull -a`. */
import * as v from 'valibot';
import { TsboxError } from '../errors.ts';
import { parseUntrustedJson } from '../spec/json.ts';
import { familiarName, isTag, type Reference } from '../spec/reference.ts';
import { readBody } from './body.ts';
import type { Endpoint } from './endpoint.ts';
import { type FetchOptions, fromFirst } from './manifest.ts';
import { pullError, readRefusal, refuseHtml } from './refusal.ts';
import type { Session } from './session.ts';

const schema = v.looseObject({ tags: v.nullish(v.array(v.string()), []) });
const PAGE = 1000;
const MOST_PAGES = 1000;

/** All tags, page after page, as the registry orders them; what is no tag by the grammar is left out.
 *  @throws as fetchManifest @see distribution-spec, Listing Tags */
export function listTags(session: Session, reference: Reference, options: FetchOptions = {}): Promise<string[]> {
  return fromFirst(session, reference, options.signal, (endpoint) => pages(session, endpoint, reference, options));
}

async function pages(
  session: Session,
  endpoint: Endpoint,
  reference: Reference,
  options: FetchOptions,
): Promise<string[]> {
  const what = `list tags of ${familiarName(reference)}`;
  const tags = new Set<string>();
  let target: string | URL | undefined = `/v2/${reference.path}/tags/list?n=${PAGE}`;
  for (let page = 0; target !== undefined; page++) {
    if (page >= MOST_PAGES) throw new TsboxError('ERR_TSBOX_LIMIT', `${what}: more than ${MOST_PAGES} pages`);
    const response = await session.send(endpoint, {
      method: 'GET',
      target,
      scopes: [`repository:${reference.path}:pull`],
      signal: options.signal,
    });
    if (response.status !== 200) throw pullError(reference, await readRefusal(response));
    refuseHtml(response, what);
    const body = parseUntrustedJson(await readBody(response, session.limits.document, what), what);
    const parsed = v.safeParse(schema, body);
    if (!parsed.success) throw new TsboxError('ERR_TSBOX_DAMAGED', `${what}: ${parsed.issues[0].message}`);
    for (const tag of parsed.output.tags) if (isTag(tag)) tags.add(tag);
    target = nextPage(response.headers.link, response.url);
  }
  return [...tags];
}

/** `Link: </v2/x/tags/list?last=b&n=2>; rel="next"`; only on the same server. @see RFC 8288 */
function nextPage(link: string | string[] | undefined, base: URL): URL | undefined {
  const match = /<([^>]*)>\s*;[^,]*rel="?next"?/i.exec(String(link ?? ''));
  if (match?.[1] === undefined || !URL.canParse(match[1], base.href)) return undefined;
  const next = new URL(match[1], base);
  return next.origin === base.origin && next.href !== base.href ? next : undefined;
}
