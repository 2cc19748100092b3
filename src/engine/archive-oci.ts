/** OCI image layouts: index.json leads to manifests, all content lies under its digest. @see image-spec image-layout.md */
import * as v from 'valibot';
import { TsboxError } from '../errors.ts';
import { createCheck, verifyDocument } from '../registry/verify.ts';
import { parseDigest } from '../spec/digest.ts';
import { parseUntrustedJson } from '../spec/json.ts';
import { type Descriptor, type IndexEntry, MEDIA_TYPE } from '../spec/oci-image.ts';
import { parseImageIndex, parseImageManifest } from '../spec/oci-image-schema.ts';
import { formatPlatform, type Platform, platformMatches, selectPlatform } from '../spec/platform.ts';
import type { Reference } from '../spec/reference.ts';
import { archivedReference } from './archive-docker.ts';
import type { Archive } from './archive-read.ts';
import { type ArchivedImage, type ArchivedLayer, joinLayers, LARGEST_DOCUMENT } from './image-archive.ts';
import { checkLayerCount } from './install-layers.ts';
import { requireLayerType } from './layer-types.ts';

/** Full names, of containerd and of everybody else. The second may be only a tag. */
const NAMES = ['io.containerd.image.name', 'org.opencontainers.image.ref.name'];
const INDEXES: readonly string[] = [MEDIA_TYPE.ociIndex, MEDIA_TYPE.dockerManifestList];
const MANIFESTS: readonly string[] = [MEDIA_TYPE.ociManifest, MEDIA_TYPE.dockerManifest];
const CONFIGS: readonly string[] = [MEDIA_TYPE.ociConfig, MEDIA_TYPE.dockerConfig];
/** Index in index in index. */
const DEEPEST = 3;

const layoutSchema = v.looseObject({ imageLayoutVersion: v.string() });

function damaged(message: string): TsboxError {
  return new TsboxError('ERR_TSBOX_DAMAGED', message);
}

function blobPath({ digest }: Descriptor): string {
  const { algorithm, hex } = parseDigest(digest);
  return `blobs/${algorithm}/${hex}`;
}

async function readBlob(archive: Archive, descriptor: Descriptor, what: string): Promise<Buffer> {
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
    throw new TsboxError(
      'ERR_TSBOX_UNSUPPORTED',
      `${what}: not a container image but ${JSON.stringify(manifest.config.mediaType.slice(0, 200))}`,
    );
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
    const next = selectPlatform(index.manifests, platform) ?? onlyOne(index.manifests);
    if (next === undefined) {
      throw new TsboxError(
        'ERR_TSBOX_NOT_FOUND',
        `${what}: no image for ${formatPlatform(platform)} in index ${found.digest}`,
      );
    }
    found = next;
  }
  if (MANIFESTS.includes(found.mediaType)) return found;
  throw new TsboxError('ERR_TSBOX_UNSUPPORTED', `${what}: media type ${JSON.stringify(found.mediaType.slice(0, 200))}`);
}

/** An index need not say what its entries are for. */
function onlyOne(entries: readonly IndexEntry[]): IndexEntry | undefined {
  return entries.length === 1 && !entries[0]!.platform ? entries[0] : undefined;
}

function referenceOf(entry: IndexEntry, what: string): Reference | undefined {
  for (const key of NAMES) {
    const name = entry.annotations?.[key];
    // A name without colon and slash is a tag of a repository that the layout does not name.
    if (name !== undefined && /[:/]/.test(name)) return archivedReference(name, what);
  }
  return undefined;
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
  for (const entry of wanted(index.manifests, platform)) {
    const manifest = await findManifest(archive, entry, platform, what);
    const image = images.get(manifest.digest) ?? { ...(await readManifest(archive, manifest, what)), references: [] };
    images.set(manifest.digest, image);
    const reference = referenceOf(entry, what);
    if (reference !== undefined) image.references.push(reference);
  }
  if (images.size === 0) throw damaged(`${what}: index.json names no image`);
  return [...images.values()];
}
