/**
 * Layers made by random calls on the kernel's overlay, their copy as one tree beside what the kernel shows of them, and random calls on that
 * tree, whose commit the kernel shows again. A program: `vfs-trees.ts SEED COUNT DIRECTORY`, in a mount
 * namespace of its own, as root of the host or of a user namespace.
 */
import { execFileSync } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { partToCommit, treeChanges, unionForm } from '../../src/engine/whole-tree.ts';
import { applyLayer } from '../../src/layer/apply.ts';
import { copyMerged } from '../../src/layer/copy-merged.ts';
import { packPart } from '../../src/layer/diff.ts';
import { ownersInside, ownersOutside } from '../../src/layer/owners.ts';
import type { IdMaps } from '../../src/spec/id-map.ts';
import type { RwLayer } from '../../src/store/rw-layers.ts';
import { mount, umount } from '../../src/sys/mount.ts';
import { isHostRoot } from '../../src/sys/own-ids.ts';
import { quickly } from '../../src/sys/quick.ts';
import { lgetxattr } from '../../src/sys/xattr.ts';
import { carryOut, describe, type Side } from '../union/calls.ts';
import { openRoot, planFor } from '../union/differential.ts';
import { attributes, snapshot } from '../unit/layer-support.ts';

const LAYERS = 4;
const CALLS = 60;
const MS_RDONLY = 1;
const IS_ROOT = isHostRoot();
const FORM = unionForm();
const OFF = IS_ROOT ? 'index=off,redirect_dir=off,metacopy=off' : 'userxattr';

/** The calls of a seed, without those that no layer could keep. @returns them, for the message of a failure */
function change(root: string, seed: number): string[] {
  const { calls, users } = planFor(seed, CALLS);
  const side: Side = { root: openRoot(root), files: new Map() };
  const told: string[] = [];
  for (const [index, call] of calls.entries()) {
    if (/overlay/.test(call.kind) || /overlay/.test(call.path + call.other)) continue;
    const outcome = carryOut(side, call, users[index]!);
    told.push(`${describe(call)} = ${String(outcome).slice(0, 40)}`);
  }
  for (const fd of side.files.values()) quickly.close(fd);
  closeSync(side.root);
  makeAnew(root, seed);
  // Names that a layer cannot have, and devices that would be whiteouts in it.
  execFileSync('find', [
    root,
    '-depth',
    '(',
    '-name',
    '.wh.*',
    '-o',
    '-type',
    's',
    ')',
    '-exec',
    'rm',
    '-rf',
    '{}',
    '+',
  ]);
  for (const device of Object.entries(lines(root)).filter(([, line]) => / device 0\b/.test(line))) {
    rmSync(Buffer.concat([Buffer.from(root), Buffer.from(device[0].slice(1), 'latin1')]));
  }
  return told;
}

/** A directory is removed, and one of its name made: by chance alone that is rare. */
function makeAnew(root: string, seed: number): void {
  const directories = Object.entries(lines(root)).filter(([, line]) => line.startsWith('4'));
  for (const [index, [name]] of directories.entries()) {
    if ((index + seed) % 3 !== 0) continue;
    const path = Buffer.concat([Buffer.from(root), Buffer.from(name.slice(1), 'latin1')]);
    // Gone with one above it.
    if (!existsSync(path)) continue;
    rmSync(path, { recursive: true });
    mkdirSync(path);
    writeFileSync(Buffer.concat([path, Buffer.from('/new')]), String(seed));
  }
}

/** Directories as the kernel would mount them, nearest first. One alone gets an empty one. */
function withOverlay<T>(
  directory: string,
  stack: readonly string[],
  upper: string | undefined,
  look: (at: string) => T,
): T {
  const [at, work, none] = ['merged', 'work', 'none'].map((name) => join(directory, name)) as [string, string, string];
  for (const path of [at, work, none]) mkdirSync(path, { recursive: true });
  const lowerdir = [...stack, ...(stack.length > 1 ? [] : [none])].join(':');
  const own = upper === undefined ? '' : `,upperdir=${upper},workdir=${work}`;
  mount('overlay', at, 'overlay', upper === undefined ? MS_RDONLY : 0, `${OFF},lowerdir=${lowerdir}${own}`);
  try {
    return look(at);
  } finally {
    umount(at, 0);
    rmSync(work, { recursive: true });
  }
}

/** A line a name. A file's number of names is that of those that can be seen. */
function lines(directory: string): Record<string, string> {
  const { '.': _, ...found } = snapshot(directory);
  const alone = (name: string, line: string) => {
    const [, rest, first] = /^(.*) links \d+ with (.*)$/s.exec(line) ?? [];
    if (rest === undefined) return line;
    return first === name ? rest : `${rest} is ${first}`;
  };
  return Object.fromEntries(Object.entries(found).map(([name, line]) => [name, alone(name, line)]));
}

function differences(wanted: Record<string, string>, found: Record<string, string>): string[] {
  const names = [...new Set([...Object.keys(wanted), ...Object.keys(found)])];
  return names
    .filter((name) => wanted[name] !== found[name])
    .map((name) => `${JSON.stringify(name)}: wanted ${wanted[name]}, found ${found[name]}`);
}

/** Without the root, whose attributes a layer has not. */
function ownAttributes(directory: string): string {
  return attributes(directory).replace(/^# file: \.\n(.+\n)*\n?/, '');
}

/** What has capabilities; no program has to be in it. */
function capable(directory: string, found: Record<string, string>): Set<string> {
  const has = (name: string) =>
    lgetxattr(Buffer.from(`${directory}/${name}`, 'latin1'), 'security.capability') !== undefined;
  return new Set(Object.keys(found).filter(has));
}

/** What is to be seen in a directory. */
interface View {
  lines: Record<string, string>;
  capable: ReadonlySet<string>;
}

/** What `diff` should say, worked out from the lines: kind, path. */
function wantedChanges({ lines: before, capable: was }: View, { lines: after, capable: is }: View): string[] {
  const isDirectory = (line: string) => line.startsWith('4');
  const facts = (line: string) => {
    const [mode, owner, time, ...rest] = line.split(' ');
    return isDirectory(line)
      ? `${mode} ${owner}`
      : [mode, owner, time, /^1[02]\d{4} /.test(line) ? rest[0] : '', /device \d+/.exec(line)].join(' ');
  };
  const parent = (name: string) => name.slice(0, name.lastIndexOf('/'));
  const isGone = (name: string) =>
    after[name] === undefined && (parent(name) === '.' || isDirectory(after[parent(name)] ?? ''));
  return [
    ...Object.keys(after).flatMap((name) =>
      before[name] === undefined
        ? [`A ${name}`]
        : facts(before[name]) === facts(after[name]!) && was.has(name) === is.has(name)
          ? []
          : [`C ${name}`],
    ),
    ...Object.keys(before)
      .filter(isGone)
      .map((name) => `D ${name}`),
  ].sort();
}

const MAPS: IdMaps = {
  uids: [{ containerID: 0, hostID: 100_000, size: 65_536 }],
  gids: [{ containerID: 0, hostID: 200_000, size: 65_536 }],
};

async function check(seed: number, directory: string): Promise<string[]> {
  mkdirSync(directory);
  const stack: string[] = [];
  for (let number = 0; number < LAYERS; number++) {
    const layer = join(directory, `layer${number}`);
    mkdirSync(layer);
    withOverlay(directory, stack, layer, (at) => change(at, seed * LAYERS + number));
    stack.unshift(layer);
  }
  const [before, beforeAttributes, beforeCapable] = withOverlay(directory, stack, undefined, (at) => {
    const found = lines(at);
    return [found, ownAttributes(at), capable(at, found)] as const;
  });
  const own = join(directory, 'container');
  const upper = join(own, 'diff');
  mkdirSync(upper, { recursive: true });
  // Every other one as a container of root with a user namespace has it.
  const owners = seed % 2 === 0 || !IS_ROOT ? undefined : MAPS;
  for (const _ of copyMerged(stack, upper, { form: FORM, owners: owners && ownersOutside(owners) }));
  writeFileSync(join(own, 'copied'), '');
  const wrong: string[] = [];
  const say = (what: string, list: readonly string[]) => wrong.push(...list.map((line) => `${what}: ${line}`));
  const layer = { upper, below: stack, whole: true, ...(owners && { owners }) } as unknown as RwLayer;
  say(
    'changed before anything was',
    [...treeChanges(layer)].filter(({ kind }) => kind !== '=').map(({ kind, path }) => `${kind} ${path}`),
  );
  if (owners === undefined) {
    say('copy', differences(before, lines(upper)));
    if (ownAttributes(upper) !== beforeAttributes)
      say('copy', [`attributes: ${beforeAttributes}\nare ${ownAttributes(upper)}`]);
  }
  await sleep(20);
  const calls = change(upper, seed + 1_000_000);
  const after = lines(upper);
  if (owners === undefined) {
    const found = [...treeChanges(layer)]
      .filter(({ kind }) => kind !== '=')
      .map(({ kind, path }) => `${kind} ./${path}`);
    const wanted = wantedChanges(
      { lines: before, capable: beforeCapable },
      { lines: after, capable: capable(upper, after) },
    );
    say('diff', [
      ...wanted.filter((one) => !found.includes(one)).map((one) => `lacks ${one}`),
      ...found.filter((one) => !wanted.includes(one)).map((one) => `has ${one}`),
    ]);
  }
  const top = join(directory, 'top');
  mkdirSync(top);
  const inside = owners && ownersInside(owners);
  const tar = packPart(
    upper,
    partToCommit(layer, () => false),
    { owners: inside },
  );
  await applyLayer(tar, top, { whiteouts: FORM, lchown: true });
  const asInside = (line: string) =>
    line.replace(
      /^(\d+) (\d+):(\d+)/,
      (_, mode, uid, gid) => `${mode} ${inside?.uid(Number(uid)) ?? uid}:${inside?.gid(Number(gid)) ?? gid}`,
    );
  const [shown, shownAttributes] = withOverlay(
    directory,
    [top, ...stack],
    undefined,
    (at) => [lines(at), ownAttributes(at)] as const,
  );
  say(
    'commit',
    differences(Object.fromEntries(Object.entries(after).map(([name, line]) => [name, asInside(line)])), shown),
  );
  if (owners === undefined && shownAttributes !== ownAttributes(upper))
    say('commit', [`attributes: ${ownAttributes(upper)}\nare ${shownAttributes}`]);
  rmSync(directory, { recursive: true });
  return wrong.length === 0 ? [] : [...wrong, ...calls];
}

const [first = 1, count = 1] = process.argv.slice(2).map(Number);
quickly.umask(0o022);
for (let seed = first; seed < first + count; seed++) {
  const wrong = await check(seed, join(process.argv[4]!, `seed${seed}`));
  if (wrong.length > 0) {
    process.stdout.write(`seed ${seed}\n${wrong.join('\n')}\n`);
    process.exit(1);
  }
}
process.stdout.write('ok\n');
