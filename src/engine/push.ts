/** `push`: images from the store into a registry, in the form that every tool reads: Docker's manifest, version 2, schema 2. */
import { TsboxError } from '../errors.ts';
import { createClient } from '../registry/client.ts';
import { type Descriptor, MEDIA_TYPE } from '../spec/oci-image.ts';
import { DEFAULT_TAG, familiarName, familiarString, parseNamed, type Reference } from '../spec/reference.ts';
import { noteImage } from '../store/events.ts';
import { tag, verifiedImage } from '../store/image-changes.ts';
import { imageBytes } from '../store/images.ts';
import { type LayerRecord, layerChain } from '../store/layers.ts';
import { type Lease, newLease, useLayer } from '../store/leases.ts';
import { letGo } from '../store/let-go.ts';
import { imageOf, readReferences } from '../store/references.ts';
import type { Store } from '../store/store.ts';
import type { OnProgress } from './api.ts';
import { interruptible } from './interrupt.ts';
import type { Engine } from './open.ts';
import { inParallel } from './parallel.ts';
import { type Push, pushLayer, sayStatus } from './push-layer.ts';

export interface PushOptions {
  /** All tags of the repository that are here. */
  allTags?: boolean;
  /** No progress at all. */
  quiet?: boolean;
}

export interface Pushed {
  tag: string;
  /** Of the manifest. */
  digest: string;
}

/** As many layers at once as Docker sends. */
const PARALLEL = 5;

/** Pushes an image, or all tags of a repository. Layers that the registry has are not sent again.
 *  @param name `NAME[:TAG]`; with `allTags` `NAME`
 *  @throws ERR_TSBOX_SPEC, ERR_TSBOX_USAGE, ERR_TSBOX_NOT_FOUND, ERR_TSBOX_UNAUTHORIZED, ERR_TSBOX_REGISTRY; ERR_TSBOX_DAMAGED when an
 *  image here is not as it was stored, naming the file. The tag in the registry has not changed then */
export async function pushImage(
  engine: Engine,
  name: string,
  options: PushOptions,
  onProgress: OnProgress,
): Promise<Pushed[]> {
  const reference = parseNamed(name);
  if (reference.digest !== undefined) throw new TsboxError('ERR_TSBOX_USAGE', 'cannot push a digest reference');
  if (options.allTags === true && reference.tag !== undefined) {
    throw new TsboxError('ERR_TSBOX_USAGE', "tag can't be used with --all-tags/-a");
  }
  const say: OnProgress = options.quiet === true ? () => {} : onProgress;
  return interruptible(async (signal) => {
    say({ kind: 'text', text: `The push refers to repository [${reference.domain}/${reference.path}]` });
    const wanted = { ...reference, ...(options.allTags !== true && { tag: reference.tag ?? DEFAULT_TAG }) };
    const images = chosen(engine.store, wanted);
    const client = createClient({ notice: (text) => say({ kind: 'text', text }) });
    try {
      const pushed: Pushed[] = [];
      for (const [each, id] of images) {
        const push: Push = {
          store: engine.store,
          client,
          reference: { ...reference, tag: each },
          onProgress: say,
          signal,
        };
        pushed.push({ tag: each, digest: await pushOne(push, each, id) });
        noteImage(engine.store, 'push', id, { told: familiarString(push.reference) });
      }
      return pushed;
    } finally {
      client.close();
    }
  });
}

/** Image ids by tag: that of the reference's tag, or of all that its repository has here. */
function chosen(store: Store, reference: Reference): [tag: string, id: string][] {
  const references = readReferences(store);
  const name = familiarName(reference);
  const tagged = [...(references.get(name) ?? [])].filter(([key]) => !key.includes('@'));
  const hint = '`tsbox images` lists the names that images have here, `tsbox tag IMAGE NAME` gives one.';
  if (tagged.length === 0) {
    throw new TsboxError('ERR_TSBOX_NOT_FOUND', `An image does not exist locally with the tag: ${name}`, { hint });
  }
  if (reference.tag === undefined) {
    return tagged.map(([key, id]): [string, string] => [key.slice(name.length + 1), id]).sort();
  }
  const id = imageOf(references, reference);
  if (id !== undefined) return [[reference.tag, id]];
  throw new TsboxError('ERR_TSBOX_NOT_FOUND', `tag does not exist: ${familiarString(reference)}`, { hint });
}

/** @returns the manifest's digest */
async function pushOne(push: Push, name: string, id: string): Promise<string> {
  const { store, client, reference, signal, onProgress } = push;
  const lease = newLease();
  const { chainId } = verifiedImage(store, id);
  try {
    const image = imageBytes(store, id);
    const layers = chainId === undefined ? [] : heldLayers(store, lease, chainId);
    const descriptors = await pushLayers(push, layers);
    const config = await pushConfig(push, id, image);
    const bytes = manifest(config, descriptors.reverse());
    const digest = await client.pushManifest(reference, bytes, MEDIA_TYPE.dockerManifest, { signal });
    rememberDigest(push, digest, id);
    onProgress({ kind: 'text', text: `${name}: digest: ${digest} size: ${bytes.length}` });
    return digest;
  } finally {
    letGo(store, lease, [{ id, top: chainId }]);
  }
}

/** From top to base. */
function heldLayers(store: Store, lease: Lease, chainId: string): LayerRecord[] {
  const layers = layerChain(store, chainId);
  for (const layer of layers) useLayer(store, lease, layer.chainId);
  return layers;
}

/** Several at once, the top first as Docker does it. @returns a descriptor for each, in the same order */
async function pushLayers(push: Push, layers: readonly LayerRecord[]): Promise<Descriptor[]> {
  const distinct = [...new Map(layers.map((layer) => [layer.diffId, layer])).values()];
  for (const layer of distinct) sayStatus(push, layer, 'Preparing');
  for (const layer of distinct.slice(PARALLEL)) sayStatus(push, layer, 'Waiting');
  const stop = new AbortController();
  const own: Push = { ...push, signal: AbortSignal.any([push.signal, stop.signal]) };
  const running: Promise<unknown>[] = [];
  const descriptors = new Map<string, Descriptor>();
  try {
    await inParallel(distinct, PARALLEL, async (layer) => {
      const pushing = pushLayer(own, layer);
      running.push(pushing);
      descriptors.set(layer.diffId, await pushing);
    });
  } catch (error) {
    stop.abort(error);
    await Promise.allSettled(running);
    throw error;
  }
  return layers.map(({ diffId }) => descriptors.get(diffId)!);
}

async function pushConfig({ client, reference, signal }: Push, digest: string, bytes: Buffer): Promise<Descriptor> {
  async function* open(): AsyncGenerator<Buffer> {
    yield bytes;
  }
  await client.pushBlob(reference, { digest, size: bytes.length, open }, { signal });
  return { mediaType: MEDIA_TYPE.dockerConfig, digest, size: bytes.length };
}

/** Byte for byte as Docker writes it: the same image, with the same blobs, has the same digest. */
function manifest(config: Descriptor, layers: readonly Descriptor[]): Buffer {
  const inOrder = ({ mediaType, size, digest }: Descriptor) => ({ mediaType, size, digest });
  const document = {
    schemaVersion: 2,
    mediaType: MEDIA_TYPE.dockerManifest,
    config: inOrder(config),
    layers: layers.map(inOrder),
  };
  return Buffer.from(JSON.stringify(document, undefined, 3));
}

/** The image has the name `NAME@DIGEST` here too, as if it had been pulled. */
function rememberDigest({ store, reference: { domain, path } }: Push, digest: string, id: string): void {
  try {
    tag(store, { domain, path, digest }, id);
  } catch (error) {
    // Somebody has removed it meanwhile; it is in the registry all the same.
    if (!(error instanceof TsboxError && error.code === 'ERR_TSBOX_NOT_FOUND')) throw error;
  }
}
