/** Blobs and manifests into a registry. Mirrors are never written to. @see distribution-spec, Push */
import { TsboxError } from '../errors.ts';
import { familiarString, type Reference } from '../spec/reference.ts';
import { originEndpoint } from './endpoint.ts';
import { blobSize } from './known-blob.ts';
import type { FetchOptions } from './manifest.ts';
import { readRefusal } from './refusal.ts';
import { backoff, pause } from './retry.ts';
import type { Session } from './session.ts';
import { type BlobUpload, type Upload, type Uploaded, uploadInChunks, uploadStream, uploadWhole } from './upload.ts';
import { cancelUpload, Interrupted, type Place, pushError, startUpload } from './upload-session.ts';
import { digestOf } from './verify.ts';

export type { BlobUpload } from './upload.ts';

export interface PushOptions {
  signal?: AbortSignal | undefined;
  /** Bytes of a chunk, held in memory while they are sent, for a registry that takes no streams. Default 8 MiB. */
  chunkSize?: number;
  /** Told how many bytes are on their way. Falls back to the beginning when the upload is begun again. */
  progress?: (sent: number) => void;
  /** Told before each wait for another try. @param wait milliseconds */
  retrying?: (wait: number) => void;
}

export interface PushedBlob extends Uploaded {
  how: 'exists' | 'uploaded';
}

const CHUNK = 8 * 1024 * 1024;

/** Puts a blob into the repository. With digest and size known it is sent in one request, unless it is there. Otherwise it is sent as a
 *  stream, in chunks to a registry that takes no streams, and the digest is computed on the way. What is cut, or refused for a
 *  moment, is begun again from the source.
 *  @throws ERR_TSBOX_UNAUTHORIZED, ERR_TSBOX_REGISTRY; ERR_TSBOX_DAMAGED when the registry got something else than the digest says;
 *  what the source throws: then nothing was stored */
export async function pushBlob(
  session: Session,
  reference: Reference,
  blob: BlobUpload,
  options: PushOptions = {},
): Promise<PushedBlob> {
  const { digest, size } = blob;
  if (digest !== undefined && size !== undefined) {
    if ((await blobSize(session, reference, digest, options)) === size) return { digest, size, how: 'exists' };
  }
  const upload: Upload = {
    session,
    endpoint: originEndpoint(reference.domain, session.config),
    reference,
    signal: options.signal,
    chunkSize: options.chunkSize ?? CHUNK,
    progress: options.progress ?? (() => {}),
  };
  for (let attempt = 1; ; attempt++) {
    try {
      return { ...(await uploadOnce(upload, blob)), how: 'uploaded' };
    } catch (error) {
      options.signal?.throwIfAborted();
      if (!(error instanceof Interrupted)) throw error;
      if (attempt >= session.retry.attempts) throw error.failure;
      const wait = Math.max(error.wait, backoff(attempt, session.retry));
      session.notice(`${error.message}: sending again in ${(wait / 1000).toFixed(1)} s`);
      options.retrying?.(wait);
      await pause(wait, options.signal);
    }
  }
}

/** @throws Interrupted */
async function uploadOnce(upload: Upload, blob: BlobUpload): Promise<Uploaded> {
  const { digest, size, open } = blob;
  let place = await startUpload(upload);
  try {
    if (digest !== undefined && size !== undefined) return await uploadWhole(upload, place, { digest, size, open });
    const streamed = await uploadStream(upload, place, blob);
    if (streamed !== undefined) return streamed;
    place = await beginAgain(upload, place);
    return await uploadInChunks(upload, place, blob);
  } catch (error) {
    // Of a registry that has just failed us nothing more is asked.
    if (!(error instanceof Interrupted)) await cancelUpload(upload, place);
    throw error;
  }
}

async function beginAgain(upload: Upload, place: Place): Promise<Place> {
  await cancelUpload(upload, place);
  return startUpload(upload);
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
