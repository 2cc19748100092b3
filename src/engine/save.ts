/**
 * `save`: images into one archive that is both a docker-archive (manifest.json, repositories) and an OCI layout (oci-layout, index.json).
 * Both point to the same blobs, so each layer is in it once, with the exact bytes that it came with. The documents come first: who
 * reads it as a stream knows at once what is coming.
 */
import { readTarSplit } from '../layer/tar-split-read.ts';
import { type Descriptor, type IndexEntry, MEDIA_TYPE } from '../spec/oci-image.ts';
import { canonicalString, familiarName, parseNamed, parseReference, type Reference } from '../spec/reference.ts';
import { digestOf } from '../store/chain.ts';
import { noteImage } from '../store/events.ts';
import { imageBytes, isIdPrefix, requireImage } from '../store/images.ts';
import { type LayerRecord, layerChain } from '../store/layers.ts';
import { type Lease, newLease, releaseLease, useLayer } from '../store/leases.ts';
import { letGo } from '../store/let-go.ts';
import { readReferences } from '../store/references.ts';
import { hexOf, isHexId, type Store } from '../store/store.ts';
import { type ArchiveFile, writeArchive } from './archive-write.ts';
import { layerContent } from './layer-content.ts';
import type { Engine } from './open.ts';

interface SavedImage {
  id: string;
  config: Buffer;
  /** The base first. */
  layers: SavedLayer[];
  /** Names with tags; none when the image was asked for by its id. */
  names: Reference[];
}

interface SavedLayer {
  layer: LayerRecord;
  /** Bytes of its tar. */
  size: number;
}

/** A fixed time: the same images give the same archive. */
const TIME = 0;
const BLOBS = 'blobs/sha256';

/** Image and names that an argument stands for: a name without a tag stands for all its tags, as in Docker. */
function chosen(store: Store, text: string): { id: string; names: string[] }[] {
  if (!isHexId(text) && !text.startsWith('sha256:')) {
    const named = parseNamed(text);
    const entries = readReferences(store).get(familiarName(named));
    if (named.tag === undefined && named.digest === undefined && entries !== undefined) {
      const tags = [...entries].filter(([key]) => !key.includes('@'));
      if (tags.length > 0) return tags.map(([name, id]) => ({ id, names: [name] }));
    }
  }
  const { id } = requireImage(store, text);
  if (isIdPrefix(id, text)) return [{ id, names: [] }];
  const reference = parseReference(text);
  return [{ id, names: reference.digest === undefined ? [`${familiarName(reference)}:${reference.tag}`] : [] }];
}

/** Bytes of a layer's tar, where nobody has noted them: what its tar-split has, and what lies in the files. */
async function tarSize(layer: LayerRecord): Promise<number> {
  let size = 0;
  for await (const lines of readTarSplit(layer.tarSplit)) {
    for (const line of lines) size += line.type === 2 ? line.payload.length : line.size;
  }
  return size;
}

/** Looks everything up and holds the layers. */
async function choose(store: Store, references: readonly string[], lease: Lease): Promise<SavedImage[]> {
  const images = new Map<string, SavedImage>();
  const sizes = new Map<string, number>();
  for (const { id, names } of references.flatMap((text) => chosen(store, text))) {
    let image = images.get(id);
    if (image === undefined) {
      const { chainId } = requireImage(store, id);
      const layers: SavedLayer[] = [];
      for (const layer of chainId === undefined ? [] : layerChain(store, chainId).reverse()) {
        useLayer(store, lease, layer.chainId);
        const size = layer.archiveSize ?? sizes.get(layer.diffId) ?? (await tarSize(layer));
        sizes.set(layer.diffId, size);
        layers.push({ layer, size });
      }
      image = { id, config: imageBytes(store, id), layers, names: [] };
      images.set(id, image);
    }
    for (const name of names) {
      if (!image.names.some((known) => canonicalString(known) === canonicalString(parseReference(name)))) {
        image.names.push(parseReference(name));
      }
    }
  }
  return [...images.values()];
}

function descriptor(mediaType: string, digest: string, size: number): Descriptor {
  return { mediaType, digest, size };
}

function ociManifest(image: SavedImage): Buffer {
  const layers = image.layers.map(({ layer, size }) => descriptor(MEDIA_TYPE.ociLayer, layer.diffId, size));
  const config = descriptor(MEDIA_TYPE.ociConfig, image.id, image.config.length);
  return Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: MEDIA_TYPE.ociManifest, config, layers }));
}

/** One entry for each name, as containerd and Docker write it. Where two have the same tag, the tag alone would lead nowhere. */
function indexEntries(image: SavedImage, manifest: Buffer, ambiguous: boolean): IndexEntry[] {
  const entry = descriptor(MEDIA_TYPE.ociManifest, digestOf(manifest), manifest.length);
  if (image.names.length === 0) return [entry];
  return image.names.map((name) => ({
    ...entry,
    annotations: {
      'io.containerd.image.name': canonicalString(name),
      'org.opencontainers.image.ref.name': ambiguous ? familiar(name) : (name.tag ?? ''),
    },
  }));
}

const blobName = (digest: string) => `${BLOBS}/${hexOf(digest)}`;
const familiar = (name: Reference) => `${familiarName(name)}:${name.tag}`;

function documents(images: readonly SavedImage[], manifests: readonly Buffer[]): ArchiveFile[] {
  const repositories: Record<string, Record<string, string>> = {};
  for (const { names, layers } of images) {
    const top = layers.at(-1);
    for (const name of top === undefined ? [] : names) {
      repositories[familiarName(name)] = {
        ...repositories[familiarName(name)],
        [name.tag ?? '']: hexOf(top!.layer.diffId),
      };
    }
  }
  const tags = images.flatMap(({ names }) => names.map(({ tag }) => tag));
  const ambiguous = new Set(tags).size < tags.length;
  const index = {
    schemaVersion: 2,
    mediaType: MEDIA_TYPE.ociIndex,
    manifests: images.flatMap((image, at) => indexEntries(image, manifests[at]!, ambiguous)),
  };
  const manifest = images.map(({ id, names, layers }) => ({
    Config: blobName(id),
    RepoTags: names.length === 0 ? null : names.map(familiar),
    Layers: layers.map(({ layer }) => blobName(layer.diffId)),
  }));
  return [
    document('oci-layout', { imageLayoutVersion: '1.0.0' }),
    document('index.json', index),
    document('manifest.json', manifest),
    ...(Object.keys(repositories).length === 0 ? [] : [document('repositories', repositories)]),
  ];
}

function document(path: string, value: object): ArchiveFile {
  const data = Buffer.from(JSON.stringify(value));
  return { path, size: data.length, mtime: TIME, data };
}

function blobs(images: readonly SavedImage[], manifests: readonly Buffer[]): ArchiveFile[] {
  const files = new Map<string, ArchiveFile>();
  const add = (digest: string, size: number, data: () => NonNullable<ArchiveFile['data']>): void => {
    const path = blobName(digest);
    if (!files.has(path)) files.set(path, { path, size, mtime: TIME, data: data() });
  };
  for (const manifest of manifests) add(digestOf(manifest), manifest.length, () => manifest);
  for (const { id, config } of images) add(id, config.length, () => config);
  for (const { layers } of images)
    for (const one of layers) add(one.layer.diffId, one.size, () => layerContent(one.layer, 'save'));
  return [...files.values()];
}

/** The archive of the images as a stream, whose chunks are good as long as layer/output.ts says. Everything is looked up before it is fulfilled; reading the stream reads the layers.
 *  @param references names, ids; a name without a tag stands for all tags that it has
 *  @throws ERR_TSBOX_NOT_FOUND; the stream throws ERR_TSBOX_DAMAGED naming the file of a layer that was changed, and is worthless then */
export async function saveImages({ store }: Engine, references: readonly string[]): Promise<AsyncIterable<Buffer>> {
  const lease = newLease();
  try {
    const images = await choose(store, references, lease);
    const manifests = images.map(ociManifest);
    const directories = ['blobs', BLOBS].map((path) => ({ path, size: 0, mtime: TIME }));
    const files = [...documents(images, manifests), ...directories, ...blobs(images, manifests)];
    return releasing(writeArchive(files), () => {
      for (const { id } of images) noteImage(store, 'save', id);
      const held = images.map(({ id, layers }) => ({ id, top: layers.at(-1)?.layer.chainId }));
      letGo(store, lease, held);
    });
  } catch (error) {
    releaseLease(lease);
    throw error;
  }
}

async function* releasing(stream: AsyncIterable<Buffer>, release: () => void): AsyncGenerator<Buffer> {
  try {
    yield* stream;
  } finally {
    release();
  }
}
