/** `repositories.json`: which image a name stands for. Familiar names, as Docker writes it; rewritten whole, under the store's lock. */
import { readdirSync, renameSync } from 'node:fs';
import { TsboxError } from '../errors.ts';
import { isDigest } from '../spec/digest.ts';
import { canonicalString, familiarName, parseNamed, type Reference } from '../spec/reference.ts';
import { attempt, isObject, parseStored, readText } from './io.ts';
import type { Locked } from './lock.ts';
import type { Store } from './store.ts';

/** Repository -> reference (`name:tag` or `name@sha256:..`) -> image id. */
export type References = Map<string, Map<string, string>>;

export function referencesPath(store: Store): string {
  return `${store.images}/repositories.json`;
}

/** @throws ERR_TSBOX_DAMAGED when the file is not what it should be */
export function readReferences(store: Store): References {
  const path = referencesPath(store);
  const text = readText(path);
  if (text === undefined) return new Map();
  const stored = parseStored(text, path);
  const repositories = isObject(stored) ? stored['Repositories'] : undefined;
  if (!isObject(repositories)) throw new TsboxError('ERR_TSBOX_DAMAGED', `read ${path}: no Repositories`);
  const references: References = new Map();
  for (const [repository, entries] of Object.entries(repositories)) {
    if (!isObject(entries)) throw new TsboxError('ERR_TSBOX_DAMAGED', `read ${path}: ${repository} is no object`);
    const ids = new Map<string, string>();
    for (const [reference, id] of Object.entries(entries)) {
      if (!isDigest(id)) throw new TsboxError('ERR_TSBOX_DAMAGED', `read ${path}: ${reference} has no image id`);
      ids.set(reference, id);
    }
    references.set(repository, ids);
  }
  return references;
}

const SET_ASIDE = 'repositories.json.damaged-';

/** {@link readReferences} for who gives a name and so writes the file anew. One that is damaged is kept beside it under another name:
 *  what was in it cannot be worked out from anything else. @throws ERR_TSBOX_UNSUPPORTED for a format to come: that one stays */
export function readOrSetAside({ store }: Locked): References {
  try {
    return readReferences(store);
  } catch (error) {
    if (!(error instanceof TsboxError) || error.code !== 'ERR_TSBOX_DAMAGED') throw error;
    const aside = `${store.images}/${SET_ASIDE}${new Date().toISOString().replaceAll(':', '-')}`;
    attempt(`set aside ${referencesPath(store)}`, () => renameSync(referencesPath(store), aside));
    store.notice?.(`${error.message}: set aside as ${aside}; images have lost their names`);
    return new Map();
  }
}

/** Files with names that were set aside: while there is one, an image without a name may be one that somebody wants. */
export function lostReferences(store: Store): string[] {
  const names = readdirSync(store.images).filter((name) => name.startsWith(SET_ASIDE));
  return names.sort().map((name) => `${store.images}/${name}`);
}

/** The key of a reference: by digest when it has one, else by tag. */
export function referenceKey(reference: Reference): string {
  const name = familiarName(reference);
  return reference.digest === undefined ? `${name}:${reference.tag ?? 'latest'}` : `${name}@${reference.digest}`;
}

/** The image that a reference stands for. */
export function imageOf(references: References, reference: Reference): string | undefined {
  return references.get(familiarName(reference))?.get(referenceKey(reference));
}

/** Tags and digests of one image, in Docker's order. */
export interface ImageNames {
  /** `name:tag` */
  tags: string[];
  /** `name@sha256:..` */
  digests: string[];
}

/** The names of every image that has one, by image id. */
export function namesByImage(references: References): Map<string, ImageNames> {
  const names = new Map<string, ImageNames>();
  for (const entries of references.values()) {
    for (const [reference, id] of entries) {
      let own = names.get(id);
      if (own === undefined) {
        own = { tags: [], digests: [] };
        names.set(id, own);
      }
      (reference.includes('@') ? own.digests : own.tags).push(reference);
    }
  }
  for (const own of names.values()) {
    own.tags.sort(byFullName);
    own.digests.sort(byFullName);
  }
  return names;
}

/** Docker's order: by the name with its host, so that `zebra` (`docker.io/library/zebra`) stands before `localhost:5000/a`. */
function byFullName(a: string, b: string): number {
  const [first, second] = [fullName(a), fullName(b)];
  return first < second ? -1 : first > second ? 1 : 0;
}

function fullName(key: string): string {
  return canonicalString(parseNamed(key));
}

/** The repository part of a key. */
export function repositoryOf(key: string): string {
  const at = key.indexOf('@');
  return at < 0 ? key.slice(0, key.lastIndexOf(':')) : key.slice(0, at);
}
