/** The short names in overlay2/l, as Docker makes them: 26 characters of base32. */
import { symlinkSync, writeFileSync } from 'node:fs';
import { randomBytes } from '../sys/random.ts';
import type { Store } from './store.ts';

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
const LENGTH = 26;

export function newLink(): string {
  let link = '';
  for (const byte of randomBytes(LENGTH)) link += ALPHABET[byte % ALPHABET.length];
  return link;
}

/** Gives a directory of overlay2/ its short name, and writes what is below it. */
export function writeLink(store: Store, directory: string, link: string, lower: string): void {
  const path = `${store.overlay}/${directory}`;
  symlinkSync(`../${directory}/diff`, `${store.overlay}/l/${link}`);
  writeFileSync(`${path}/link`, link, { mode: 0o644 });
  if (lower !== '') writeFileSync(`${path}/lower`, lower, { mode: 0o644 });
}
