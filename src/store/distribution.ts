/**
 * What is known of layers as they are in registries: which diffID a compressed blob has, and where a layer was seen as which blob.
 * A cache that can be lost: pull uses it to skip what is there, push to mount a blob from another repository.
 */
import { isDigest } from '../spec/digest.ts';
import { writeFileAtomic } from '../sys/atomic.ts';
import { attempt, isObject, readText, removeTree } from './io.ts';
import type { Lease } from './leases.ts';
import { sharingStore } from './lock.ts';
import { hexOf, type Store } from './store.ts';

/** Docker's V2Metadata. */
export interface BlobSource {
  /** Of the blob as the registry has it. */
  Digest: string;
  /** `docker.io/library/ubuntu`; empty when it was not a registry. */
  SourceRepository: string;
  /** Docker's proof that the credentials could read it; kept, not made. */
  HMAC?: string;
  /** tsbox's own: what kind of blob it is, where that was seen. */
  MediaType?: string;
}

/** As many as Docker keeps a layer. */
const SOURCES_MAX = 50;

function diffIdPath(store: Store, blobDigest: string): string {
  return `${store.images}/distribution/diffid-by-digest/sha256/${hexOf(blobDigest)}`;
}

function sourcesPath(store: Store, diffId: string): string {
  return `${store.images}/distribution/v2metadata-by-diffid/sha256/${hexOf(diffId)}`;
}

/** The diffID of a compressed blob that was seen before. */
export function diffIdOfBlob(store: Store, blobDigest: string): string | undefined {
  const diffId = readText(diffIdPath(store, blobDigest));
  return isDigest(diffId) ? diffId : undefined;
}

function isBlobSource(one: unknown): one is BlobSource {
  return isObject(one) && isDigest(one['Digest']) && typeof one['SourceRepository'] === 'string';
}

/** Blobs that a layer is known as, the latest last; none when the file is unreadable. */
export function blobsOfLayer(store: Store, diffId: string): BlobSource[] {
  const text = readText(sourcesPath(store, diffId));
  if (text === undefined) return [];
  try {
    const stored: unknown = JSON.parse(text);
    return Array.isArray(stored) ? stored.filter(isBlobSource) : [];
  } catch {
    return [];
  }
}

function isSame(one: BlobSource, other: BlobSource): boolean {
  return one.Digest === other.Digest && one.SourceRepository === other.SourceRepository;
}

function writeSources(store: Store, diffId: string, sources: readonly BlobSource[]): void {
  writeFileAtomic(sourcesPath(store, diffId), JSON.stringify(sources), { mode: 0o644 });
}

/** Notes that the blob unpacks to the layer. Does nothing for digests other than sha256.
 *  @param lease notes what was not known before */
export function rememberBlob(store: Store, diffId: string, source: BlobSource, lease?: Lease): void {
  if (!diffId.startsWith('sha256:') || !source.Digest.startsWith('sha256:')) return;
  attempt(`remember blob ${source.Digest}`, () =>
    sharingStore(store, () => {
      const known = blobsOfLayer(store, diffId);
      const others = known.filter((one) => !isSame(one, source));
      if (others.length === known.length) lease?.added.blobs.push({ diffId, source });
      writeFileAtomic(diffIdPath(store, source.Digest), diffId, { mode: 0o644 });
      writeSources(store, diffId, [...others, { HMAC: '', ...source }].slice(-SOURCES_MAX));
    }),
  );
}

/** Takes {@link rememberBlob} back. */
export function forgetBlob(store: Store, diffId: string, source: BlobSource): void {
  sharingStore(store, () => {
    const others = blobsOfLayer(store, diffId).filter((one) => !isSame(one, source));
    if (!others.some((one) => one.Digest === source.Digest)) removeTree(diffIdPath(store, source.Digest));
    if (others.length > 0) writeSources(store, diffId, others);
    else removeTree(sourcesPath(store, diffId));
  });
}
