/** Places in a directory of the union that nobody has open, as far as the union knows. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import test from 'node:test';
import {
  type Entry,
  forgetListing,
  keepListing,
  type Listing,
  listingOf,
  placeAfter,
} from '../../src/union/listing.ts';

const entry = (name: string): Entry => ({ name, type: 8, inodeLow: 1, inodeHigh: 0 });
const DOTS = [entry('.'), entry('..')];
const namesIn = ({ entries }: Listing): string[] => entries.map(({ name }) => name);

test('union listing: every offset is larger than the one before, also of names with the same hash; the dots come first', () => {
  const names = Array.from({ length: 200_000 }, (_, index) => createHash('md5').update(`${index}`).digest('hex'));
  const { entries, offsets } = keepListing(1, DOTS, names.map(entry));
  assert.deepEqual(
    entries.slice(0, 2).map(({ name }) => name),
    ['.', '..'],
  );
  assert.deepEqual(new Set(entries.slice(2).map(({ name }) => name)), new Set(names));
  let dense = 0;
  for (let index = 1; index < offsets.length; index++) {
    const step = offsets[index]! - offsets[index - 1]!;
    assert.ok(step > 0, `${step} behind ${entries[index - 1]!.name}`);
    if (step === 1) dense++;
    assert.equal(placeAfter(offsets, offsets[index - 1]!), index);
  }
  assert.ok(dense > 0, 'among so many some have the same hash');
  assert.ok(offsets.at(-1)! < 2 ** 31);
  assert.equal(placeAfter(offsets, 0), 0);
  assert.equal(placeAfter(offsets, offsets.at(-1)!), entries.length);
  forgetListing(1);
});

test('union listing: who goes on at an offset gets each name that stays once, whatever came and went', () => {
  const stays = Array.from({ length: 1000 }, (_, index) => `stays-${index}`);
  const goes = Array.from({ length: 1000 }, (_, index) => `goes-${index}`);
  const comes = Array.from({ length: 1000 }, (_, index) => `comes-${index}`);
  const before = keepListing(2, DOTS, [...goes, ...stays].map(entry));
  const half = before.entries.length / 2;
  const after = keepListing(2, DOTS, [...stays, ...comes].reverse().map(entry));
  const read = [
    ...namesIn(before).slice(0, half),
    ...namesIn(after).slice(placeAfter(after.offsets, before.offsets[half - 1]!)),
  ];
  assert.equal(new Set(read).size, read.length);
  assert.deepEqual(
    stays.filter((name) => !read.includes(name)),
    [],
  );
});

test('union listing: few are kept, the newest', () => {
  for (let node = 10; node < 100; node++) keepListing(node, DOTS, []);
  assert.equal(listingOf(10), undefined);
  assert.equal(listingOf(99)?.entries.length, 2);
  forgetListing(99);
  assert.equal(listingOf(99), undefined);
});
