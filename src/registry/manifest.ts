/** Manifests and indexes: fetched, verified by digest, checked to be what they are sent as, chosen by platform. */
import { TsboxError, wrapError } from '../errors.ts';
import { isDigest } from '../spec/digest.ts';
import { parseUntrustedJson } from '../spec/json.ts';
import { type Descriptor, type ImageIndex, type ImageManifest, MEDIA_TYPE } from '../spec/oci-image.ts';
import { parseImageIndex, parseImageManifest } from '../spec/oci-image-schema.ts';
import { formatPlatform, type Platform, selectPlatform } from '../spec/platform.ts';
import { familiarString, type Reference } from '../spec/reference.ts';
import { readBody } from './body.ts';
import { type Endpoint, pullEndpoints } from './endpoint.ts';
import type { HttpResponse } from './exchange.ts';
import { plainText, pullError, readRefusal, refuseHtml } from './refusal.ts';
import type { Session } from './session.ts';
import { digestOf, embeddedData, verifyDocument } from './verify.ts';

/** A document as the registry has it. */
export interface FetchedDocument {
  /** Exactly what was sent. */
  bytes: Buffer;
  /** Of `bytes`, computed here. */
  digest: string;
  /** One of the four that `MEDIA_TYPE` has for manifests and indexes. */
  mediaType: string;
}

export type FetchedManifest = FetchedDocument &
  ({ kind: 'manifest'; manifest: ImageManifest } | { kind: 'index'; index: ImageIndex });

/** An image's manifest, and the index it was chosen from. */
export interface ResolvedManifest extends FetchedDocument {
  manifest: ImageManifest;
  /** What the reference itself points to, when that is an index; its digest is the one that people write and see. */
  index?: FetchedDocument & { index: ImageIndex };
  /** Host that gave the manifest: the registry or a mirror. */
  host: string;
}

export interface FetchOptions {
  signal?: AbortSignal | undefined;
}

const INDEX_TYPES: readonly string[] = [MEDIA_TYPE.ociIndex, MEDIA_TYPE.dockerManifestList];
const MANIFEST_TYPES: readonly string[] = [MEDIA_TYPE.ociManifest, MEDIA_TYPE.dockerManifest];
const SCHEMA1_TYPES: readonly string[] = [MEDIA_TYPE.dockerSchema1, MEDIA_TYPE.dockerSchema1Signed];
/** An index may point to an index; nobody needs more than that. */
const DEEPEST = 3;

/** What a manifest request says it can read. */
export const MANIFEST_ACCEPT = [...MANIFEST_TYPES, ...INDEX_TYPES].join(', ');

/** Asks one server for what the reference points to, or for the descriptor of it when that is known. */
async function fetchFrom(
  session: Session,
  endpoint: Endpoint,
  reference: Reference,
  descriptor: Descriptor | undefined,
  options: FetchOptions,
): Promise<FetchedManifest> {
  const what = `read manifest ${familiarString(reference)}`;
  const given = descriptor === undefined ? undefined : embeddedData(descriptor, what);
  const found =
    descriptor !== undefined && given !== undefined
      ? readDocument(given, descriptor.mediaType, descriptor.digest, what)
      : await askFor(session, endpoint, reference, descriptor, what, options.signal);
  if (descriptor !== undefined && descriptor.mediaType !== found.mediaType) {
    throw damaged(`${what}: the index says ${plainText(descriptor.mediaType)}, the manifest ${found.mediaType}`);
  }
  return found;
}

async function askFor(
  session: Session,
  endpoint: Endpoint,
  reference: Reference,
  descriptor: Descriptor | undefined,
  what: string,
  signal: AbortSignal | undefined,
): Promise<FetchedManifest> {
  const digest = descriptor?.digest ?? reference.digest;
  const response = await session.send(endpoint, {
    method: 'GET',
    target: `/v2/${reference.path}/manifests/${digest ?? reference.tag}`,
    headers: { accept: MANIFEST_ACCEPT },
    scopes: [`repository:${reference.path}:pull`],
    signal,
  });
  if (response.status !== 200) throw pullError(reference, await readRefusal(response));
  refuseHtml(response, what);
  const bytes = await readBody(response, session.limits.document, what);
  if (descriptor !== undefined) verifyDocument(bytes, descriptor, what);
  else if (digest !== undefined) verifyDocument(bytes, { digest, size: bytes.length }, what);
  const sentAs = response.headers['content-type'] ?? '';
  return readDocument(bytes, sentAs, digest ?? taggedDigest(response, bytes, what), what);
}

/** @param sentAs the media type by which the document came */
function readDocument(bytes: Buffer, sentAs: string, digest: string, what: string): FetchedManifest {
  const mediaType = settleMediaType(sentAs, bytes, what);
  const common = { bytes, digest, mediaType };
  if (INDEX_TYPES.includes(mediaType)) return { ...common, kind: 'index', index: parseImageIndex(bytes, what) };
  return { ...common, kind: 'manifest', manifest: parseImageManifest(bytes, what) };
}

function damaged(message: string): TsboxError {
  return new TsboxError('ERR_TSBOX_DAMAGED', message);
}

/** Nobody vouches for what a tag points to; what the registry itself says about it must hold at least. */
function taggedDigest(response: HttpResponse, bytes: Buffer, what: string): string {
  const said = response.headers['docker-content-digest'];
  if (isDigest(said)) {
    verifyDocument(bytes, { digest: said, size: bytes.length }, what);
    return said;
  }
  return digestOf(bytes);
}

/** What the document is, by the answer's header and by its own field: they must not contradict each other.
 *  @throws ERR_TSBOX_UNSUPPORTED for schema 1 and for what is no image at all */
function settleMediaType(sentAs: string, bytes: Buffer, what: string): string {
  const header = sentAs.split(';')[0]!.trim().toLowerCase();
  const document = parseUntrustedJson(bytes, what);
  const fields = (typeof document === 'object' && document !== null ? document : {}) as Record<string, unknown>;
  if (fields['schemaVersion'] === 1 || SCHEMA1_TYPES.includes(header)) {
    throw new TsboxError('ERR_TSBOX_UNSUPPORTED', `${what}: Docker image manifest version 2, schema 1`, {
      hint: 'This form has been out of use since 2017. Push the image again with a current docker, podman or skopeo.',
    });
  }
  const known = [...MANIFEST_TYPES, ...INDEX_TYPES];
  const own = fields['mediaType'];
  if (known.includes(header)) {
    if (own !== undefined && own !== header) {
      throw damaged(`${what}: sent as ${header}, calls itself ${plainText(own) || typeof own}`);
    }
    return header;
  }
  if (typeof own === 'string' && known.includes(own)) return own;
  if (own === undefined && Array.isArray(fields['manifests'])) return MEDIA_TYPE.ociIndex;
  if (own === undefined && Object.hasOwn(fields, 'config')) return MEDIA_TYPE.ociManifest;
  throw new TsboxError('ERR_TSBOX_UNSUPPORTED', `${what}: media type ${plainText(own) || header || 'unknown'}`, {
    hint: 'What is stored under this name is not a container image.',
  });
}

/** Asks the mirrors and then the registry, until one has it.
 *  @throws what the registry itself answered; the mirrors' answers go to the session's notice */
export async function fromFirst<T>(
  session: Session,
  reference: Reference,
  signal: AbortSignal | undefined,
  ask: (endpoint: Endpoint) => Promise<T>,
): Promise<T> {
  const endpoints = pullEndpoints(reference.domain, session.config, session.mirrors);
  for (const endpoint of endpoints) {
    try {
      return await ask(endpoint);
    } catch (error) {
      signal?.throwIfAborted();
      if (!endpoint.mirror || !(error instanceof TsboxError)) throw error;
      session.notice(`mirror ${endpoint.host}: ${error.message}`);
    }
  }
  throw new Error('no endpoint');
}

/** What the reference points to, manifest or index, from the first server that has it.
 *  @throws ERR_TSBOX_NOT_FOUND, ERR_TSBOX_UNAUTHORIZED, ERR_TSBOX_REGISTRY, ERR_TSBOX_UNSUPPORTED; ERR_TSBOX_DAMAGED when it is not
 *  what its digest or its type says; ERR_TSBOX_LIMIT @see distribution-spec, Pulling manifests */
export function fetchManifest(
  session: Session,
  reference: Reference,
  options: FetchOptions = {},
): Promise<FetchedManifest> {
  return fromFirst(session, reference, options.signal, (endpoint) =>
    fetchFrom(session, endpoint, reference, undefined, options),
  );
}

/** The manifest of the image for a platform. A reference that points to one manifest gives it whatever its platform: only its config says that.
 *  @throws as fetchManifest; ERR_TSBOX_NOT_FOUND when the index has nothing for the platform */
export function resolveManifest(
  session: Session,
  reference: Reference,
  platform: Platform,
  options: FetchOptions = {},
): Promise<ResolvedManifest> {
  return fromFirst(session, reference, options.signal, async (endpoint) => {
    let found = await fetchFrom(session, endpoint, reference, undefined, options);
    let index: ResolvedManifest['index'];
    const seen = new Set<string>();
    while (found.kind === 'index') {
      const { kind: _, ...rest } = found;
      index ??= rest;
      seen.add(found.digest);
      const entry = chooseEntry(found.index, platform, reference);
      if (seen.has(entry.digest))
        throw damaged(`read manifest ${familiarString(reference)}: an index that contains itself`);
      if (seen.size >= DEEPEST)
        throw damaged(`read manifest ${familiarString(reference)}: an index in an index in an index`);
      found = await fetchFrom(session, endpoint, reference, entry, options).catch((error: unknown) => {
        options.signal?.throwIfAborted();
        throw wrapError(`manifest ${entry.digest}`, error);
      });
    }
    const { kind: _, ...manifest } = found;
    requireImage(manifest.manifest, reference);
    return { ...manifest, ...(index === undefined ? {} : { index }), host: endpoint.host };
  });
}

function chooseEntry(index: ImageIndex, platform: Platform, reference: Reference): Descriptor {
  const entry = selectPlatform(index.manifests, platform);
  if (entry !== undefined) return entry;
  const offered = index.manifests
    .map(({ platform: each }) => (each ? plainText(formatPlatform(each)) : ''))
    .filter((text) => text !== '' && !text.startsWith('unknown/'));
  const name = familiarString(reference);
  const message = `no matching manifest for ${formatPlatform(platform)} in the manifest list entries of ${name}`;
  throw new TsboxError('ERR_TSBOX_NOT_FOUND', message, {
    hint: `It has ${[...new Set(offered)].slice(0, 20).join(', ') || 'no platform at all'}. Choose one with --platform.`,
  });
}

/** Charts, signatures and other things live in registries as well: their config tells. */
function requireImage({ config, artifactType }: ImageManifest, reference: Reference): void {
  const { mediaType } = config;
  if (mediaType === MEDIA_TYPE.ociConfig || mediaType === MEDIA_TYPE.dockerConfig) return;
  // What old builders wrote; the config itself is checked when it is read.
  if (mediaType === 'application/octet-stream' || mediaType === 'application/json') return;
  const message = `pull ${familiarString(reference)}: not a container image but ${plainText(artifactType ?? mediaType)}`;
  throw new TsboxError('ERR_TSBOX_UNSUPPORTED', message);
}
