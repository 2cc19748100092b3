/** Blobs and manifests into a registry. Mirrors are never written to. @see distribution-spec, Push */
import { TsboxError } from '../errors.ts';
import { familiarString, type Reference } from '../spec/reference.ts';
import { originEndpoint } from './endpoint.ts';
import type { FetchOptions } from './manifest.ts';
import { isPassing } from './network-error.ts';
import { readRefusal } from './refusal.ts';
import { backoff, pause } from './retry.ts';
import type { Session } from './session.ts';
import { type BlobUpload, pushError, startUpload, type Upload, uploadInChunks, uploadWhole } from './upload.ts';
import { digestOf } from './verify.ts';

export type { BlobUpload } from './upload.ts';

export interface PushOptions {
  signal?: AbortSignal | undefined;
  /** Repositories of the same registry that may have the blob: `library/ubuntu`. */
  mountFrom?: readonly string[];
  /** Bytes of a chunk, held in memory while they are sent. Default 8 MiB. */
  chunkSize?: number;
  /** Told how many bytes the registry has taken so far. */
  progress?: (sent: number) => void;
}

export interface PushedBlob {
  digest: string;
  /** Bytes. */
  size: number;
  how: 'exists' | 'mounted' | 'uploaded';
}

const CHUNK = 8 * 1024 * 1024;

/** Does the repository have the blob? @throws ERR_TSBOX_UNAUTHORIZED, ERR_TSBOX_REGISTRY */
export async function blobExists(
  session: Session,
  reference: Reference,
  digest: string,
  options: FetchOptions = {},
): Promise<boolean> {
  const response = await session.send(originEndpoint(reference.domain, session.config), {
    method: 'HEAD',
    target: `/v2/${reference.path}/blobs/${digest}`,
    scopes: [`repository:${reference.path}:pull,push`],
    signal: options.signal,
  });
  response.discard();
  if (response.status === 200) return true;
  if (response.status === 404) return false;
  throw pushError(reference, await readRefusal(response));
}

/** Puts a blob into the repository, in the cheapest way: it is there, it is in another repository of the registry, or it is sent.
 *  With digest and size known it is sent in one request; otherwise in chunks, and the digest is computed on the way.
 *  @throws ERR_TSBOX_UNAUTHORIZED, ERR_TSBOX_REGISTRY; ERR_TSBOX_DAMAGED when the registry got something else than the digest says */
export async function pushBlob(
  session: Session,
  reference: Reference,
  blob: BlobUpload,
  options: PushOptions = {},
): Promise<PushedBlob> {
  const { digest, size } = blob;
  const { signal } = options;
  if (digest !== undefined && size !== undefined && (await blobExists(session, reference, digest, { signal }))) {
    return { digest, size, how: 'exists' };
  }
  for (let attempt = 1; ; attempt++) {
    const context: Upload = {
      session,
      endpoint: originEndpoint(reference.domain, session.config),
      reference,
      signal,
      chunkSize: options.chunkSize ?? CHUNK,
      progress: options.progress ?? (() => {}),
    };
    try {
      const started = await startUpload(context, digest, options.mountFrom ?? []);
      if (digest !== undefined && size !== undefined) {
        if (started === 'mounted') return { digest, size, how: 'mounted' };
        await uploadWhole(context, started, { ...blob, digest, size });
        return { digest, size, how: 'uploaded' };
      }
      if (started === 'mounted') throw new Error('mounted without a digest');
      return { ...(await uploadInChunks(context, started, blob)), how: 'uploaded' };
    } catch (error) {
      signal?.throwIfAborted();
      if (!isPassing(error) || attempt >= session.retry.attempts) throw error;
      const wait = backoff(attempt, session.retry);
      session.notice(`${(error as Error).message}: sending again in ${(wait / 1000).toFixed(1)} s`);
      await pause(wait, signal);
    }
  }
}

/** Puts a manifest or an index under the reference's tag, or under its digest when it has no tag. Everything it names has to be there.
 *  @returns its digest
 *  @throws ERR_TSBOX_UNAUTHORIZED, ERR_TSBOX_REGISTRY; ERR_TSBOX_DAMAGED when the registry stored other bytes
 *  @see distribution-spec, Pushing Manifests */
export async function pushManifest(
  session: Session,
  reference: Reference,
  bytes: Buffer,
  mediaType: string,
  options: FetchOptions = {},
): Promise<string> {
  const digest = digestOf(bytes);
  const response = await session.send(originEndpoint(reference.domain, session.config), {
    method: 'PUT',
    target: `/v2/${reference.path}/manifests/${reference.tag ?? digest}`,
    headers: { 'content-type': mediaType },
    body: bytes,
    scopes: [`repository:${reference.path}:pull,push`],
    signal: options.signal,
  });
  if (response.status < 200 || response.status > 299) throw pushError(reference, await readRefusal(response));
  response.discard();
  const said = response.headers['docker-content-digest'];
  if (typeof said === 'string' && said.startsWith('sha256:') && said !== digest) {
    const message = `push ${familiarString(reference)}: the registry stored ${said}, sent was ${digest}`;
    throw new TsboxError('ERR_TSBOX_DAMAGED', message);
  }
  return digest;
}
