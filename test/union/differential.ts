/**
 * The same calls on the kernel's overlay and on the union. Compared are: what each call returned, what both show afterwards, what lies in
 * the upper directories, and what each shows of the other one's.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, rmSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { AT_EMPTY_PATH } from '../../src/sys/file.ts';
import { mount, umount } from '../../src/sys/mount.ts';
import { quickly } from '../../src/sys/quick.ts';
import { generator, pick, type Random } from '../unit/layer-mutations.ts';
import { ALL_KINDS, type Call, carryOut, describe, isTimedByKernel, type Kind, type Side, STALE } from './calls.ts';
import { overlayWith } from './overlaid.ts';
import { statOf } from './status.ts';
import { describeTree } from './tree.ts';

export interface Plan {
  seed: number;
  calls: Call[];
  /** Whose calls they are, one for each. */
  users: number[];
}

const NAMES = ['a', 'b', 'c', 'd', 'sp ace\n', '\xff\xfe\x80', '.wh.a', '#1', 'x'.repeat(255), '\\:,='];

function pathFor(random: Random): string {
  const depth = 1 + random(3);
  const names: string[] = [];
  for (let i = 0; i < depth; i++) names.push(random(4) > 0 ? pick(random, NAMES.slice(0, 4)) : pick(random, NAMES));
  if (random(40) === 0) names.push(pick(random, ['..', '.', '', 'y'.repeat(256)]));
  return names.join('/');
}

/** Kinds that make something of a tree, more often than the rest. */
const MAKERS: readonly Kind[] = [
  'mkdir',
  'mkdir',
  'openCreate',
  'openCreate',
  'pwrite',
  'write',
  'symlink',
  'link',
  'setxattr',
  'chmod',
];

function callFor(random: Random, kinds: readonly Kind[]): Call {
  const kind = random(3) === 0 ? pick(random, MAKERS) : pick(random, kinds);
  return { kind, path: pathFor(random), other: pathFor(random), slot: random(5), n: random(1000), m: random(1000) };
}

export function planFor(seed: number, count: number): Plan {
  const random = generator(seed);
  const calls = Array.from({ length: count }, () => callFor(random, ALL_KINDS)).filter((call) => !isUntold(call));
  const users = calls.map(() => (random(4) === 0 ? pick(random, [1000, 1001]) : 0));
  return { seed, calls, users };
}

/** chown(2) to nobody: of the request nothing is left in FUSE that tells it from what comes before a write. */
const isUntold = ({ kind, n, m }: Call): boolean => kind.endsWith('chown') && n % 4 === 3 && m % 4 === 3;

const NODE = process.execPath;
const PROGRAM = join(import.meta.dirname, '../../src/union/main.ts');

/** For whoever wants it otherwise than this host has it: `writeback`. */
const MORE = process.env['UNION_OPTIONS'] === undefined ? '' : `,${process.env['UNION_OPTIONS']}`;

/** The kernel keeps what is written. So it does where the layers lie on an overlay. */
export const isWriteback = MORE.split(',').includes('writeback');

export async function mountUnion(target: string, data: string): Promise<ChildProcess> {
  const before = statfsSync(target).type;
  const child = spawn(NODE, [PROGRAM, '-f', target, '-o', data + MORE], { stdio: ['ignore', 'inherit', 'inherit'] });
  for (let tries = 0; statfsSync(target).type === before; tries++) {
    if (child.exitCode !== null || tries > 12_000) throw new Error('the union was not mounted');
    await sleep(5);
  }
  return child;
}

export async function unmountUnion(target: string, child: ChildProcess): Promise<void> {
  const ended = new Promise((resolve) => child.once('exit', resolve));
  umount(target, 0);
  await ended;
}

export const openRoot = (path: string): number => openSync(path, 0o200000);

/** Makes two lower layers; what is removed in the upper one of them is whiteouts. */
function makeLower(directory: string, seed: number): void {
  const random = generator(seed ^ 0x5eed);
  const kinds: Kind[] = [
    'mkdir',
    'openCreate',
    'pwrite',
    'symlink',
    'link',
    'mkfifo',
    'mknodChar',
    'chmod',
    'lchown',
    'setxattr',
    'mkdir',
    'mknodFile',
  ];
  const build = (root: string, count: number, more: readonly Kind[]): void => {
    const side: Side = { root: openRoot(root), files: new Map() };
    for (let i = 0; i < count; i++) {
      const call = callFor(random, more);
      if (!/overlay/.test(call.kind)) carryOut(side, call, 0);
    }
    for (const fd of side.files.values()) quickly.close(fd);
    closeSync(side.root);
  };
  for (const name of ['l1', 'l2', 'lw', 'lm']) mkdirSync(join(directory, name));
  quickly.umask(0o022);
  build(join(directory, 'l2'), 60, kinds);
  mount(
    'overlay',
    join(directory, 'lm'),
    'overlay',
    0,
    `lowerdir=${directory}/l2,upperdir=${directory}/l1,workdir=${directory}/lw`,
  );
  build(join(directory, 'lm'), 60, [...kinds, 'unlink', 'rmdir', 'removeAll', 'rename']);
  umount(join(directory, 'lm'), 0);
  age(join(directory, 'l1'));
  age(join(directory, 'l2'));
}

/** Everything is old, so that what is changed later can be told. */
function age(directory: string): void {
  execFileSync('find', [directory, '-depth', '-exec', 'touch', '-h', '-d', '@1000000000', '{}', '+']);
}

const ofOverlay = (attribute: string): boolean =>
  /^trusted\.overlay\.((origin|impure|uuid)=|opaque=78$)/.test(attribute);
const none = (): boolean => false;

function compare(what: string, kernel: readonly string[], union: readonly string[], found: string[]): void {
  const [inKernel, inUnion] = [new Set(kernel), new Set(union)];
  const lines = [
    ...kernel.filter((line) => !inUnion.has(line)).map((line) => `  kernel: ${JSON.stringify(line)}`),
    ...union.filter((line) => !inKernel.has(line)).map((line) => `  union:  ${JSON.stringify(line)}`),
  ];
  if (lines.length > 0) found.push(`${what}:`, ...lines.slice(0, 12));
}

function treeOf(path: string, skip: (name: string) => boolean): string[] {
  const root = openRoot(path);
  const lines = describeTree(root, skip);
  closeSync(root);
  return lines;
}

/** @param directory an empty one, on a file system with attributes @param overlaid the union's layers lie on an overlay there
 *  @returns differences; nothing when there are none */
export async function runPlan({ seed, calls, users }: Plan, directory: string, overlaid: boolean): Promise<string[]> {
  const found: string[] = [];
  makeLower(directory, seed);
  const [below, unionBelow] = [directory, overlaid ? overlayOf(directory) : directory];
  const data = (place: string, side: string): string =>
    `lowerdir=${place}/l1:${place}/l2,upperdir=${place}/${side}u,workdir=${place}/${side}w`;
  const [kernelAt, unionAt] = [join(directory, 'km'), join(directory, 'um')];
  for (const each of [kernelAt, unionAt]) mkdirSync(each);
  for (const part of 'uw') for (const each of [`${below}/k`, `${unionBelow}/u`]) mkdirSync(each + part);
  mount('overlay', kernelAt, 'overlay', 0, data(below, 'k'));
  let child = await mountUnion(unionAt, data(unionBelow, 'u'));
  try {
    quickly.umask(0o022);
    const kernel: Side = { root: openRoot(kernelAt), files: new Map() };
    const union: Side = { root: openRoot(unionAt), files: new Map() };
    let isRevived = false;
    for (const [index, call] of calls.entries()) {
      if ((overlaid || isWriteback) && isTimedByKernel(call, kernel)) continue;
      const [expected, got] = [kernel, union].map((side) => carryOut(side, call, users[index]!));
      isRevived = changesRemoved(call, kernel, union);
      if (isRevived) break;
      if (expected !== got && !isFree(call, expected!)) {
        found.push(`call ${index} of user ${users[index]}: ${describe(call)}: kernel ${expected}, union ${got}`);
        break;
      }
    }
    for (const side of [kernel, union]) {
      for (const fd of side.files.values()) quickly.close(fd);
      closeSync(side.root);
    }
    if (isRevived) return found;
    const [kernelTree, unionTree] = [treeOf(kernelAt, none), treeOf(unionAt, none)];
    compare('merged', kernelTree, unionTree, found);
    umount(kernelAt, 0);
    await unmountUnion(unionAt, child);
    compare('upper', treeOf(join(below, 'ku'), ofOverlay), treeOf(join(unionBelow, 'uu'), ofOverlay), found);
    // Each goes on where the other one stopped.
    mount('overlay', kernelAt, 'overlay', 0, overlaid ? overCopy(unionBelow, directory) : data(below, 'u'));
    child = await mountUnion(unionAt, data(below, 'k'));
    compare("the union's upper mounted by the kernel", unionTree, treeOf(kernelAt, none), found);
    compare("the kernel's upper mounted by the union", kernelTree, treeOf(unionAt, none), found);
  } finally {
    for (const at of [kernelAt, unionAt]) forceUnmount(at);
    child.kill('SIGKILL');
    if (overlaid) forceUnmount(unionBelow);
  }
  return found;
}

function overlayOf(directory: string): string {
  return overlayWith([join(directory, 'l1'), join(directory, 'l2')], directory, age);
}

/** The kernel takes files for whiteouts in lower layers only: so there it mounts what the union has left, copied from the overlay. */
function overCopy(unionBelow: string, directory: string): string {
  execFileSync('cp', ['-a', join(unionBelow, 'uu'), join(directory, 'copy')]);
  return `lowerdir=${['copy', 'l1', 'l2'].map((name) => join(directory, name)).join(':')}`;
}

export function forceUnmount(at: string): void {
  try {
    umount(at, 2);
  } catch {
    // It is not mounted.
  }
}

/** Differences that are the kernel's freedom, each by its name: lseek(2) to the end of a directory, which POSIX leaves open, is refused by
 *  overlayfs, and answered by the kernel's half of FUSE without a question to the union. And a file that was opened before it was copied up is
 *  mapped by overlayfs as it was then, though it is read as it is now. */
function isFree(call: Call, kernel: unknown): boolean {
  return (call.kind === 'seekEnd' && kernel === EINVAL) || (call.kind === 'mapped' && kernel === STALE);
}

const EINVAL = -22;

const CHANGES_OF_OPEN: ReadonlySet<Kind> = new Set(['fchmod', 'fchown', 'fsetxattr', 'fremovexattr']);

/** A removed file of a lower layer that is still open is changed: the union makes a copy without a name. overlayfs makes one by the name that
 *  was removed: that is refused for the whiteout there (EEXIST), and what is no regular file is back in its directory. From here on they
 *  cannot be compared. */
function changesRemoved({ kind, slot }: Call, kernel: Side, union: Side): boolean {
  if (!CHANGES_OF_OPEN.has(kind)) return false;
  const [inKernel, inUnion] = [kernel, union].map(({ files }) => statOf(files.get(slot) ?? -1, '', AT_EMPTY_PATH));
  return typeof inKernel === 'object' && typeof inUnion === 'object' && inKernel.links > 0 && inUnion.links === 0;
}

/** The shortest list of calls, found by leaving out parts, that still makes a difference. */
export async function shorten(plan: Plan, differs: (plan: Plan) => Promise<boolean>): Promise<Plan> {
  let { calls, users } = plan;
  for (let part = Math.ceil(calls.length / 2); part >= 1; part = part === 1 ? 0 : Math.ceil(part / 2)) {
    for (let at = 0; at < calls.length; ) {
      const without = <T>(list: T[]): T[] => [...list.slice(0, at), ...list.slice(at + part)];
      const shorter = { ...plan, calls: without(calls), users: without(users) };
      if (await differs(shorter)) ({ calls, users } = shorter);
      else at += part;
    }
  }
  return { ...plan, calls, users };
}

export function clear(directory: string): void {
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory);
}
