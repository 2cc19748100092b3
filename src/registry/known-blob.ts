/** Blobs that the registry has already: in the repository, or in another one that it can be mounted from. */
import { TsboxError } from '../errors.ts';
import type { Reference } from '../spec/reference.ts';
import { originEndpoint } from './endpoint.ts';
import type { FetchOptions } from './manifest.ts';
import { readRefusal } from './refusal.ts';
import type { Session } from './session.ts';
import { cancelUpload, placeOf, pushError, send, type Target } from './upload-session.ts';

export function targetOf(session: Session, reference: Reference, { signal }: FetchOptions): Target {
  return { session, endpoint: originEndpoint(reference.domain, session.config), reference, signal };
}

/** Bytes of a blob of the repository; undefined when it is not there, or the registry does not say how large it is.
 *  @throws ERR_TSBOX_UNAUTHORIZED, ERR_TSBOX_REGISTRY */
export async function blobSize(
  session: Session,
  reference: Reference,
  digest: string,
  options: FetchOptions = {},
): Promise<number | undefined> {
  const response = await send(targetOf(session, reference, options), {
    method: 'HEAD',
    target: `/v2/${reference.path}/blobs/${digest}`,
  });
  response.discard();
  if (response.status === 404) return undefined;
  if (response.status !== 200) throw pushError(reference, await readRefusal(response));
  const length = response.headers['content-length'];
  return length !== undefined && /^\d{1,15}$/.test(length) ? Number(length) : undefined;
}

/** Has the repository take a blob over from another one of the same registry. No failure of this is an error: the blob can be sent.
 *  @param from `library/ubuntu` @returns whether the blob is there now
 *  @throws the signal's reason @see distribution-spec, Mounting a blob */
export async function mountBlob(
  session: Session,
  reference: Reference,
  digest: string,
  from: string,
  options: FetchOptions = {},
): Promise<boolean> {
  const target = targetOf(session, reference, options);
  try {
    const response = await send(target, {
      method: 'POST',
      target: `/v2/${reference.path}/blobs/uploads/?${new URLSearchParams({ mount: digest, from })}`,
      scopes: [`repository:${reference.path}:pull,push`, `repository:${from}:pull`],
    });
    // Instead of an answer to the question the registry begins an upload.
    if (response.status === 202) await cancelUpload(target, placeOf(target, response));
    else response.discard();
    return response.status === 201;
  } catch (error) {
    options.signal?.throwIfAborted();
    if (error instanceof TsboxError) return false;
    throw error;
  }
}

/** Does a blob of the repository begin as gzip does? What is only known by its digest could be compressed in any way, or not at all.
 *  @throws ERR_TSBOX_UNAUTHORIZED, ERR_TSBOX_REGISTRY */
export async function isGzipBlob(
  session: Session,
  reference: Reference,
  digest: string,
  options: FetchOptions = {},
): Promise<boolean> {
  const response = await send(targetOf(session, reference, options), {
    method: 'GET',
    target: `/v2/${reference.path}/blobs/${digest}`,
    headers: { range: 'bytes=0-1' },
  });
  if (response.status !== 200 && response.status !== 206) throw pushError(reference, await readRefusal(response));
  let start = Buffer.alloc(0);
  for await (const chunk of response.chunks()) {
    start = Buffer.concat([start, chunk.subarray(0, 3)]);
    if (start.length > 2) break;
  }
  return start[0] === 0x1f && start[1] === 0x8b;
}
