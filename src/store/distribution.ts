/**
 * What is known of layers as they are in registries: which diffID a compressed blob has, and where a layer was seen as which blob.
 * A cache that can be lost: pull uses it to skip what is there, push to mount a blob from another repository.
 */
import { isDigest } from '../spec/digest.ts';
import { writeFileAtomic } from '../sys/atomic.ts';
import { isObject, readText } from './io.ts';
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

/** Blobs that a layer is known as, the latest last; none when the file is unreadable. */
export function blobsOfLayer(store: Store, diffId: string): BlobSource[] {
  const text = readText(sourcesPath(store, diffId));
  if (text === undefined) return [];
  try {
    const stored: unknown = JSON.parse(text);
    return Array.isArray(stored) ? stored.filter((one) => isObject(one) && isDigest(one['Digest'])) : [];
  } catch {
    return [];
  }
}

/** Notes that the blob unpacks to the layer. Does nothing for digests other than sha256. */
export function rememberBlob(store: Store, diffId: string, source: BlobSource): void {
  if (!diffId.startsWith('sha256:') || !source.Digest.startsWith('sha256:')) return;
  sharingStore(store, () => {
    writeFileAtomic(diffIdPath(store, source.Digest), diffId, { mode: 0o644 });
    const known = blobsOfLayer(store, diffId).filter(
      (one) => one.Digest !== source.Digest || one.SourceRepository !== source.SourceRepository,
    );
    const sources = [...known, { HMAC: '', ...source }].slice(-SOURCES_MAX);
    writeFileAtomic(sourcesPath(store, diffId), JSON.stringify(sources), { mode: 0o644 });
  });
}
