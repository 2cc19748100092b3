/** OCI image layouts: index.json leads to manifests, all content lies under its digest. @see image-spec image-layout.md */
import { Readable } from 'node:stream';
import * as v from 'valibot';
import { TsboxError } from '../errors.ts';
import { createCheck, embeddedData, verifyDocument } from '../registry/verify.ts';
import { parseDigest } from '../spec/digest.ts';
import { parseUntrustedJson } from '../spec/json.ts';
import { type Descriptor, type IndexEntry, MEDIA_TYPE } from '../spec/oci-image.ts';
import { parseImageIndex, parseImageManifest } from '../spec/oci-image-schema.ts';
import { formatPlatform, type Platform, platformMatches, selectPlatform } from '../spec/platform.ts';
import { parseReference, type Reference } from '../spec/reference.ts';
import type { Archive } from './archive-read.ts';
import { type ArchivedImage, type ArchivedLayer, joinLayers, LARGEST_DOCUMENT } from './image-archive.ts';
import { checkLayerCount } from './install-layers.ts';
import { requireLayerType } from './layer-types.ts';

/** Names, of containerd and of everybody else. The second may be only a tag. */
const NAMES = ['io.containerd.image.name', 'org.opencontainers.image.ref.name'];
const INDEXES: readonly string[] = [MEDIA_TYPE.ociIndex, MEDIA_TYPE.dockerManifestList];
const MANIFESTS: readonly string[] = [MEDIA_TYPE.ociManifest, MEDIA_TYPE.dockerManifest];
const CONFIGS: readonly string[] = [MEDIA_TYPE.ociConfig, MEDIA_TYPE.dockerConfig];
/** Index in index in index. */
const DEEPEST = 3;

const layoutSchema = v.looseObject({ imageLayoutVersion: v.string() });

/** Charts, signatures and the like lie beside images. */
class NoImage extends TsboxError {}

function damaged(message: string): TsboxError {
  return new TsboxError('ERR_TSBOX_DAMAGED', message);
}

function blobPath({ digest }: Descriptor): string {
  const { algorithm, hex } = parseDigest(digest);
  return `blobs/${algorithm}/${hex}`;
}

async function readBlob(archive: Archive, descriptor: Descriptor, what: string): Promise<Buffer> {
  const given = embeddedData(descriptor, what);
  if (given !== undefined) return given;
  const bytes = await archive.document(blobPath(descriptor), LARGEST_DOCUMENT);
  verifyDocument(bytes, descriptor, what);
  return bytes;
}

/** A blob's bytes; that it is the right one is known at the end. */
async function* streamBlob(archive: Archive, descriptor: Descriptor, what: string): AsyncGenerator<Buffer> {
  const check = createCheck(descriptor, what);
  for await (const chunk of archive.stream(blobPath(descriptor))) {
    check.add(chunk);
    yield chunk;
  }
  check.finish();
}

function layerOf(archive: Archive, descriptor: Descriptor, what: string): Omit<ArchivedLayer, 'diffId'> {
  requireLayerType(descriptor, what);
  const given = embeddedData(descriptor, what);
  if (given !== undefined) return { size: given.length, open: () => Readable.from([given]) };
  const blob = `${what}: blob ${descriptor.digest}`;
  if (archive.size(blobPath(descriptor)) !== descriptor.size) {
    throw damaged(`${blob}: has ${archive.size(blobPath(descriptor))} bytes, should have ${descriptor.size}`);
  }
  return { size: descriptor.size, open: () => streamBlob(archive, descriptor, blob) };
}

async function readManifest(archive: Archive, descriptor: Descriptor, what: string) {
  const bytes = await readBlob(archive, descriptor, what);
  const manifest = parseImageManifest(bytes, what);
  if (manifest.mediaType !== undefined && manifest.mediaType !== descriptor.mediaType) {
    throw damaged(`${what}: the index says ${descriptor.mediaType}, the manifest ${manifest.mediaType.slice(0, 200)}`);
  }
  if (!CONFIGS.includes(manifest.config.mediaType)) {
    const type = JSON.stringify((manifest.artifactType ?? manifest.config.mediaType).slice(0, 200));
    throw new NoImage('ERR_TSBOX_UNSUPPORTED', `${what}: not a container image but ${type}`);
  }
  checkLayerCount(what, manifest.layers.length);
  const config = await readBlob(archive, manifest.config, `${what}: config`);
  return joinLayers(
    what,
    config,
    manifest.layers.map((layer) => layerOf(archive, layer, what)),
  );
}

/** Follows indexes to the manifest for the platform. */
async function findManifest(
  archive: Archive,
  entry: Descriptor,
  platform: Platform,
  what: string,
): Promise<Descriptor> {
  const seen = new Set<string>();
  let found = entry;
  while (INDEXES.includes(found.mediaType)) {
    if (seen.has(found.digest)) throw damaged(`${what}: an index that contains itself`);
    seen.add(found.digest);
    if (seen.size > DEEPEST) throw damaged(`${what}: more than ${DEEPEST} indexes in each other`);
    const index = parseImageIndex(await readBlob(archive, found, what), what);
    const next = selectPlatform(index.manifests, platform);
    if (next === undefined) {
      throw new TsboxError(
        'ERR_TSBOX_NOT_FOUND',
        `${what}: no image for ${formatPlatform(platform)} in index ${found.digest}`,
      );
    }
    found = next;
  }
  if (MANIFESTS.includes(found.mediaType)) return found;
  throw new NoImage('ERR_TSBOX_UNSUPPORTED', `${what}: media type ${JSON.stringify(found.mediaType.slice(0, 200))}`);
}

/** What the layout calls an entry: a full name; or something that names no repository, mostly a tag alone, as the specification allows. */
function nameOf({ annotations }: IndexEntry): { reference: Reference } | { calledThere: string } | undefined {
  const [name] = NAMES.map((key) => annotations?.[key]).filter((each) => each !== undefined && each !== '');
  if (name === undefined) return undefined;
  try {
    const { domain, path, tag } = parseReference(name);
    if (/[:/]/.test(name) && tag !== undefined) return { reference: { domain, path, tag } };
  } catch {
    // No name that Docker knows, but one that this layout may use.
  }
  return { calledThere: name };
}

/** Entries that make no sense here: signatures and attestations, and images of other platforms beside one that fits. */
function wanted(entries: readonly IndexEntry[], platform: Platform): IndexEntry[] {
  const images = entries.filter(({ platform: each }) => each?.os !== 'unknown');
  const fits = (entry: IndexEntry): boolean => !entry.platform || platformMatches(platform, entry.platform);
  return images.some(fits) ? images.filter(fits) : images;
}

/** @throws ERR_TSBOX_DAMAGED, ERR_TSBOX_LIMIT, ERR_TSBOX_UNSUPPORTED; ERR_TSBOX_NOT_FOUND when nothing is for the platform */
export async function readOciArchive(archive: Archive, platform: Platform): Promise<ArchivedImage[]> {
  const what = `load ${archive.name}`;
  const layout = parseUntrustedJson(await archive.document('oci-layout', 4096), `${what}: oci-layout`);
  if (!v.is(layoutSchema, layout)) throw damaged(`${what}: oci-layout has no imageLayoutVersion`);
  if (!layout.imageLayoutVersion.startsWith('1.')) {
    throw new TsboxError(
      'ERR_TSBOX_UNSUPPORTED',
      `${what}: image layout version ${layout.imageLayoutVersion.slice(0, 50)}`,
    );
  }
  const index = parseImageIndex(await archive.document('index.json', LARGEST_DOCUMENT), `${what}: index.json`);
  const images = new Map<string, ArchivedImage>();
  let otherThing: unknown;
  for (const entry of wanted(index.manifests, platform)) {
    try {
      const manifest = await findManifest(archive, entry, platform, what);
      const image = images.get(manifest.digest) ?? { ...(await readManifest(archive, manifest, what)), references: [] };
      images.set(manifest.digest, image);
      const name = nameOf(entry);
      if (name !== undefined && 'reference' in name) image.references.push(name.reference);
      else if (name !== undefined) image.calledThere = name.calledThere;
    } catch (error) {
      if (!(error instanceof NoImage)) throw error;
      otherThing ??= error;
    }
  }
  if (images.size === 0) throw otherThing ?? damaged(`${what}: index.json names no image`);
  return [...images.values()];
}
