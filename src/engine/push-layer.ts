/** A layer into a repository: it is there, it is in another repository of the registry, or it is compressed and sent. */
import { gzip } from '../layer/compress.ts';
import type { RegistryClient } from '../registry/client.ts';
import { type Descriptor, MEDIA_TYPE } from '../spec/oci-image.ts';
import type { Reference } from '../spec/reference.ts';
import { type BlobSource, blobsOfLayer, forgetBlob, rememberBlob } from '../store/distribution.ts';
import type { LayerRecord } from '../store/layers.ts';
import { type Store, shortId } from '../store/store.ts';
import type { LayerStatus, OnProgress } from './api.ts';
import { layerContent } from './layer-content.ts';

/** Where the layers of an image go. */
export interface Push {
  store: Store;
  client: RegistryClient;
  /** Its tag is of no interest to layers. */
  reference: Reference;
  onProgress: OnProgress;
  signal: AbortSignal;
}

/** As Docker: more than that is not worth asking for. */
const MOST_CHECKS = 3;
const MOST_MOUNTS = 4;
const GZIP = MEDIA_TYPE.dockerLayerGzip;

export function sayStatus(push: Push, layer: LayerRecord, status: LayerStatus, current?: number): void {
  const bytes = current === undefined ? {} : { current, total: Math.max(current, layer.size) };
  push.onProgress({ kind: 'layer', layer: shortId(layer.diffId), status, ...bytes });
}

const repositoryOf = ({ domain, path }: Reference): string => `${domain}/${path}`;

/** Makes sure that the repository has the layer. @returns what a manifest says of it
 *  @throws ERR_TSBOX_DAMAGED when it is not as it was unpacked, and then it was not stored; what the registry client throws */
export async function pushLayer(push: Push, layer: LayerRecord): Promise<Descriptor> {
  const { store, reference, client, signal } = push;
  // The latest first.
  const known = blobsOfLayer(store, layer.diffId).reverse();
  const descriptor = await findBlob(push, layer, known);
  if (descriptor !== undefined) return remember(push, layer, descriptor);
  let read = 0;
  const open = () => {
    read = 0;
    sayStatus(push, layer, 'Pushing', 0);
    return gzip(counted());
  };
  async function* counted(): AsyncGenerator<Buffer> {
    for await (const chunk of layerContent(layer, 'push')) {
      yield chunk;
      read += chunk.length;
      sayStatus(push, layer, 'Pushing', read);
    }
  }
  const retrying = (wait: number): void => {
    const seconds = Math.ceil(wait / 1000);
    sayStatus(push, layer, `Retrying in ${seconds} ${seconds === 1 ? 'second' : 'seconds'}`);
  };
  const { digest, size } = await client.pushBlob(reference, { open }, { signal, retrying });
  sayStatus(push, layer, 'Pushed');
  return remember(push, layer, { mediaType: GZIP, digest, size });
}

function remember({ store, reference }: Push, { diffId }: LayerRecord, descriptor: Descriptor): Descriptor {
  const { digest, mediaType } = descriptor;
  rememberBlob(store, diffId, { Digest: digest, SourceRepository: repositoryOf(reference), MediaType: mediaType });
  return descriptor;
}

/** A blob of the repository, when it can stand for the layer in a manifest: only gzip has a name in Docker's manifests. */
async function usable(push: Push, layer: LayerRecord, blob: BlobSource): Promise<Descriptor | undefined> {
  const { store, client, reference, signal } = push;
  const { Digest: digest, SourceRepository: from, MediaType: type } = blob;
  const size = await client.blobSize(reference, digest, { signal });
  if (size === undefined) {
    if (from === repositoryOf(reference)) forgetBlob(store, layer.diffId, blob);
    return undefined;
  }
  // When it cannot be looked at, it can still be sent.
  const isGzip = type === GZIP || (await client.isGzipBlob(reference, digest, { signal }).catch(() => false));
  return isGzip ? { mediaType: GZIP, digest, size } : undefined;
}

/** The layer as a blob that need not be sent. */
async function findBlob(push: Push, layer: LayerRecord, known: readonly BlobSource[]): Promise<Descriptor | undefined> {
  const here = repositoryOf(push.reference);
  const seenHere = known.filter(({ SourceRepository: from }) => from === here);
  const elsewhere = known.filter(({ SourceRepository: from }) => from !== here);
  return (
    (await present(push, layer, seenHere)) ??
    (await mounted(push, layer, elsewhere)) ??
    (await present(push, layer, elsewhere))
  );
}

/** Is it in the repository already, as one of these blobs? */
async function present(push: Push, layer: LayerRecord, blobs: readonly BlobSource[]): Promise<Descriptor | undefined> {
  const distinct = blobs.filter(({ Digest }, at) => blobs.findIndex((one) => one.Digest === Digest) === at);
  for (const blob of distinct.slice(0, MOST_CHECKS)) {
    const found = await usable(push, layer, blob);
    if (found === undefined) continue;
    sayStatus(push, layer, 'Layer already exists');
    return found;
  }
  return undefined;
}

/** Can the repository take it over from another one of the same registry? */
async function mounted(push: Push, layer: LayerRecord, blobs: readonly BlobSource[]): Promise<Descriptor | undefined> {
  const { client, reference, signal } = push;
  const prefix = `${reference.domain}/`;
  const candidates = blobs.filter(({ SourceRepository: from }) => from.startsWith(prefix));
  for (const blob of candidates.slice(0, MOST_MOUNTS)) {
    const from = blob.SourceRepository.slice(prefix.length);
    if (!(await client.mountBlob(reference, blob.Digest, from, { signal }))) continue;
    const found = await usable(push, layer, blob);
    if (found === undefined) continue;
    sayStatus(push, layer, `Mounted from ${from}`);
    return found;
  }
  return undefined;
}
