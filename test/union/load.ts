/**
 * `node test/union/load.ts [PROCESSES] [CALLS] [SEED] [SECONDS]`: many processes at once, each with CALLS random calls, on the kernel's
 * overlay and on the union, which must return and show the same; again and again for SECONDS, while the union's memory and descriptors
 * are watched; root.
 */
import assert from 'node:assert/strict';
import { closeSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { mount } from '../../src/sys/mount.ts';
import { buildClient, randomCalls } from './clients.ts';
import { clear, forceUnmount, mountUnion, openRoot, unmountUnion } from './differential.ts';
import { runInNamespace } from './namespace.ts';
import { describeTree } from './tree.ts';

const [processes = '64', calls = '2000', seed = '1', seconds = '0', place = ''] = process.argv.slice(2);
if (place === '') runInNamespace(import.meta.filename, [processes, calls, seed, seconds]);

const directory = join(place, 'd');
const client = buildClient(place);

/** What the union's process uses: bytes, descriptors. */
function used(pid: number): { memory: number; descriptors: number } {
  const [, kilobytes] = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))!;
  return { memory: Number(kilobytes) * 1024, descriptors: readdirSync(`/proc/${pid}/fd`).length };
}

/** Between two looks at it: calls of each process, files. */
const [SHARE, FILES] = [100, 2000];
const MEGABYTE = 1024 * 1024;

function tree(path: string): string[] {
  const root = openRoot(path);
  try {
    return describeTree(root, () => false);
  } finally {
    closeSync(root);
  }
}

function sameLines(what: string, kernel: readonly string[], union: readonly string[]): void {
  const other = new Set(union);
  const missing = kernel.filter((line) => !other.has(line));
  assert.deepEqual(union.length, kernel.length, what);
  assert.deepEqual(missing.slice(0, 5), [], what);
}

/** The same on both. The layers are made by the same program. */
async function round(number: number): Promise<void> {
  clear(directory);
  const [upper, work, at] = ['u', 'w', 'm'].map((name) => ['k', 'f'].map((side) => join(directory, side + name)));
  const lower = join(directory, 'l');
  for (const path of [lower, ...upper!, ...work!, ...at!]) mkdirSync(path);
  await randomCalls(client, lower, Number(processes), number, 100);
  const data = (side: number): string => `lowerdir=${lower},upperdir=${upper![side]},workdir=${work![side]}`;
  mount('overlay', at![0]!, 'overlay', 0, data(0));
  const child = await mountUnion(at![1]!, data(1));
  try {
    const results: string[][] = [];
    for (const side of at!) results.push(await randomCalls(client, side, Number(processes), number + 1, Number(calls)));
    sameLines('what calls return', results[0]!, results[1]!);
    sameLines('the tree', tree(at![0]!), tree(at![1]!));
  } finally {
    forceUnmount(at![0]!);
    await unmountUnion(at![1]!, child);
  }
}

/** One mount for all the time. What is made is removed, so that the kernel forgets it: then nothing of it may stay. */
async function watch(until: number): Promise<void> {
  clear(directory);
  const [lower, upper, work, at] = ['l', 'u', 'w', 'm'].map((name) => join(directory, name)) as [
    string,
    string,
    string,
    string,
  ];
  for (const path of [lower, upper, work, at]) mkdirSync(path);
  await randomCalls(client, lower, Number(processes), 7, 100);
  const child = await mountUnion(at, `lowerdir=${lower},upperdir=${upper},workdir=${work}`);
  const samples: { memory: number; descriptors: number }[] = [];
  let made = 0;
  try {
    do {
      await randomCalls(client, at, Number(processes), samples.length, SHARE);
      const many = join(at, 'many');
      mkdirSync(many);
      for (let i = 0; i < FILES; i++) writeFileSync(join(many, `file ${made++}`), '');
      rmSync(many, { recursive: true });
      for (const name of readdirSync(at)) rmSync(join(at, name), { recursive: true });
      samples.push(used(child.pid!));
    } while (Date.now() < until || samples.length < 6);
  } finally {
    await unmountUnion(at, child);
  }
  const [settled, last] = [samples[2]!, samples.at(-1)!];
  console.log(
    `${samples.length} times, ${made} files: ${Math.round(settled.memory / MEGABYTE)} to ${Math.round(last.memory / MEGABYTE)} MB, ` +
      `${settled.descriptors} to ${last.descriptors} descriptors`,
  );
  assert.ok(last.memory < settled.memory + 30 * MEGABYTE, 'memory has grown');
  assert.ok(last.descriptors < settled.descriptors + 32, 'descriptors have grown');
}

const end = Date.now() + Number(seconds) * 1000;
let number = Number(seed);
let rounds = 0;
do {
  await round(number);
  number += 2;
  rounds++;
} while (Date.now() < end - Number(seconds) * 500);
console.log(`${processes} processes, ${calls} calls each, seed ${seed}: ${rounds} times the same`);
await watch(end);
