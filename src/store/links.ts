/** The short names in overlay2/l, as Docker makes them: 26 characters of base32. */
import { symlinkSync, writeFileSync } from 'node:fs';
import { randomBytes } from '../sys/random.ts';
import { removeWholeTree } from '../sys/remove-tree.ts';
import type { Store } from './store.ts';

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
const LENGTH = 26;

export function newLink(): string {
  let link = '';
  for (const byte of randomBytes(LENGTH)) link += ALPHABET[byte % ALPHABET.length];
  return link;
}

function linkPath(store: Store, link: string): string {
  return `${store.overlay}/l/${link}`;
}

/** Gives a directory of overlay2/ its short name, and writes what is below it. After an error the name is free again. */
export function writeLink(store: Store, directory: string, link: string, lower: string): void {
  const path = `${store.overlay}/${directory}`;
  symlinkSync(`../${directory}/diff`, linkPath(store, link));
  try {
    writeFileSync(`${path}/link`, link, { mode: 0o644 });
    if (lower !== '') writeFileSync(`${path}/lower`, lower, { mode: 0o644 });
  } catch (error) {
    removeLink(store, link);
    throw error;
  }
}

/** Removes a short name. What is none, as the content of a file that was never written, does no harm. */
export function removeLink(store: Store, link: string | undefined): void {
  if (link !== undefined && /^[A-Z0-9]+$/.test(link)) removeWholeTree(linkPath(store, link));
}
