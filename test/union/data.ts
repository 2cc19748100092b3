/**
 * `node test/union/data.ts [NAMES]`: the scenarios of data.c - direct I/O, holes, files of more than 4 GB, mappings, fallocate(2),
 * copy_file_range(2), a directory of NAMES names - on the kernel's overlay, on the union, and on a union whose layers lie on an overlay, where
 * the kernel does not read and write by itself, but keeps what is written; root. All must see the same, also of what each has left.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { mount, umount } from '../../src/sys/mount.ts';
import { buildClient } from './clients.ts';
import { forceUnmount, mountUnion, unmountUnion } from './differential.ts';
import { runInNamespace } from './namespace.ts';

const [names = '2000', only = '', place = ''] = process.argv.slice(2);
if (place === '') runInNamespace(import.meta.filename, [names, only], Number(names) > 20_000 ? '8G' : '2G');

const client = buildClient(place, 'data');

interface Side {
  name: string;
  /** Where its layers are. */
  directory: string;
  isUnion: boolean;
}

const NAMES = ['kernel', 'union', 'union on an overlay'];
const sides: Side[] = NAMES.map((name) => ({ name, directory: join(place, name), isUnion: name !== 'kernel' }));
const [kernel, union, overlaid] = sides as [Side, Side, Side];

/** Does something on a mount of a side's layers. */
async function on<T>({ directory, isUnion }: Side, layers: readonly string[], upper: string, act: (at: string) => T) {
  const paths = (list: readonly string[]): string => list.map((layer) => join(directory, layer)).join(':');
  const data = `lowerdir=${paths(layers)},upperdir=${join(directory, upper)},workdir=${join(directory, `${upper}w`)}`;
  const at = join(directory, 'm');
  const child = isUnion ? await mountUnion(at, data) : undefined;
  if (child === undefined) mount('overlay', at, 'overlay', 0, data);
  try {
    return act(at);
  } finally {
    if (child === undefined) umount(at, 0);
    else await unmountUnion(at, child);
  }
}

function run(scenario: string, at: string): string[] {
  const { status, stdout, stderr } = spawnSync(client, [scenario, at, names], { encoding: 'utf8', maxBuffer: 1 << 26 });
  assert.equal(status, 0, `${scenario} in ${at}: ${stdout.slice(-1000)}${stderr}`);
  return stdout.trim().split('\n');
}

/** A mount on which nothing differs from the file system below, but that it is an overlay. */
function mountOverlay(at: string): void {
  const [lower, upper, work] = ['lower', 'upper', 'work'].map((name) => join(place, name));
  for (const path of [lower!, upper!, work!]) mkdirSync(path);
  mount('overlay', at, 'overlay', 0, `lowerdir=${lower},upperdir=${upper},workdir=${work}`);
}

let differences = 0;

/** A line about the file system alone. */
const isOwn = (line: string): boolean => line.startsWith('own ');

type IsFree = (expected: string, got: string) => boolean;

function compare(what: string, expected: readonly string[], got: readonly string[], free: IsFree = isOwn): void {
  const lines: string[] = [];
  for (let index = 0; index < Math.max(expected.length, got.length); index++) {
    const [one, other] = [expected[index] ?? 'nothing', got[index] ?? 'nothing'];
    if (one !== other && !free(one, other)) lines.push(`  kernel: ${one}`, `  union:  ${other}`);
  }
  if (lines.length === 0) return;
  differences++;
  console.log(`${what}:\n${lines.join('\n')}`);
}

/** What src/union/README.md says of data: a range cannot be taken out or put in, and of who reads a lower layer no alignment is asked. */
const isFree = (line: string): boolean => isOwn(line) || /^moves: |^odd: lower/.test(line);

/** And where the kernel has data in its cache for us. A tmpfs does not note when its own mappings are written to, but when we write. */
const isFreeWithCache: IsFree = (line, got) =>
  isFree(line) ||
  isUnknown(line, got) ||
  /^odd: |^what was written behind the old end: /.test(line) ||
  (isInMemory && /^mapped.*mtime/.test(line));

/** What is data of a file that somebody may be writing to is not told; its size is. */
function isUnknown(line: string, got: string): boolean {
  if (/ (data|hole|behind the end): EINVAL$/.test(` ${got}`)) return true;
  const sizes = [line, got].map((text) => /^.*: size \d+ /.exec(text)?.[0]);
  return sizes[0] !== undefined && sizes[0] === sizes[1] && / EINVAL [0-9a-f]{16}$/.test(got);
}

const isInMemory = (process.env['FILE_SYSTEM'] ?? 'tmpfs') === 'tmpfs';

function checkOwn(what: string, lines: readonly string[]): void {
  for (const line of lines.filter(isOwn)) {
    if (line.endsWith(': ok')) continue;
    differences++;
    console.log(`${what}: ${line}`);
  }
}

/** The kernel's cache takes what is too far for the file system below; that says so when the file is closed. */
const NOT_WITH_CACHE = isInMemory ? [] : ['far'];

const SCENARIOS = ['direct', 'seek', 'huge', 'far', 'map', 'allocate', 'copy', 'many'];

try {
  for (const side of sides) {
    mkdirSync(side.directory);
    if (side === overlaid) mountOverlay(side.directory);
    for (const path of ['l2', 'l1', 'l1w', 'u', 'uw', 'm']) mkdirSync(join(side.directory, path));
    run('make', join(side.directory, 'l2'));
    await on(side, ['l2'], 'l1', (at) => run('change', at));
  }
  const seen: Record<string, string[]>[] = [];
  for (const side of sides) {
    const left = side === overlaid ? NOT_WITH_CACHE : [];
    const chosen = SCENARIOS.filter((name) => (only === '' || name === only) && !left.includes(name));
    seen.push(
      await on(side, ['l1', 'l2'], 'u', (at) => Object.fromEntries(chosen.map((name) => [name, run(name, at)]))),
    );
  }
  const show = (side: Side, as = side): Promise<string[]> =>
    on({ ...side, isUnion: as.isUnion }, ['l1', 'l2'], 'u', (at) => run('show', at));
  const left = await show(kernel);
  for (const [index, side] of sides.entries()) {
    if (side === kernel) continue;
    for (const name of Object.keys(seen[index]!)) {
      compare(`${side.name}, ${name}`, seen[0]![name]!, seen[index]![name]!, side === union ? isFree : isFreeWithCache);
      checkOwn(`${side.name}, ${name}`, seen[index]![name]!);
    }
    compare(`${side.name}, what is left`, left, await show(side));
  }
  compare("the union's upper mounted by the kernel", await show(union, kernel), await show(union));
  compare("the kernel's upper mounted by the union", left, await show(kernel, union));
} finally {
  for (const { directory } of sides) for (const at of [join(directory, 'm'), directory]) forceUnmount(at);
}
console.log(`data: ${names} names: ${differences} differences`);
process.exitCode = differences > 0 ? 1 : 0;
