/** What store-overlay.test.ts runs in a mount namespace of its own: `store-mounted.ts PART [SEED]`. */
import {
  chmodSync,
  chownSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SyscallError } from '../../src/errors.ts';
import { interpret } from '../../src/runtime/interpret.ts';
import { newLease, releaseLease } from '../../src/store/leases.ts';
import { resolveInStack } from '../../src/store/lookup.ts';
import { openStore } from '../../src/store/open.ts';
import { registerLayer } from '../../src/store/register.ts';
import { createRwLayer, type RwLayer } from '../../src/store/rw-layers.ts';
import { close, OPEN, openat, openat2, RESOLVE } from '../../src/sys/file.ts';
import { makeNode } from '../../src/sys/node.ts';
import { llistxattr, lsetxattr } from '../../src/sys/xattr.ts';
import { removeContainerFiles } from '../remove-container.ts';
import { makeContainer, makeImage, sha256 } from '../unit/store-fixture.ts';
import { generator } from './store-random.ts';

const [part = '', seed = '0'] = process.argv.slice(2);
const root = mkdtempSync(join(tmpdir(), 'tsbox-mounted-'));
const store = openStore({ dataRoot: `${root}/data`, runRoot: `${root}/run` });

function withMount<T>(layer: RwLayer, work: (merged: string) => T): T {
  interpret(store.driver.mountSteps(layer));
  try {
    return work(layer.merged);
  } finally {
    interpret(store.driver.umountSteps(layer.mountId));
  }
}

async function many(): Promise<void> {
  const layers = Array.from({ length: 127 }, (_, index) => ({ nearest: String(index), [`file${index}`]: '' }));
  const image = await makeImage(store, layers);
  const { rwLayer } = makeContainer(store, image);
  withMount(rwLayer, (merged) => {
    console.log('layers', rwLayer.stack.length - 2);
    console.log('nearest', readFileSync(`${merged}/nearest`, 'utf8'));
    console.log('files', readdirSync(merged).filter((name) => /^(file\d+|nearest)$/.test(name)).length);
  });
}

async function write(): Promise<void> {
  const { record, rwLayer } = makeContainer(store, await makeImage(store, [{ a: '1' }]));
  withMount(rwLayer, (merged) => {
    writeFileSync(`${merged}/new`, '');
    console.log('upper', readdirSync(rwLayer.upper).join());
    try {
      removeContainerFiles(store, record.ID);
    } catch (error) {
      console.log('busy', error instanceof SyscallError && error.errnoName);
    }
  });
  removeContainerFiles(store, record.ID);
  console.log('gone', readdirSync(store.containers).length === 0);
}

type Random = () => number;
const NAMES = ['a', 'b', 'c'];
const TARGETS = ['a', '../b', '/a/b', '../../../c', '.', 'a/b/c', '/', 'nowhere', 'a/../c'];

/** Makes the directories above a file, never by way of a symlink. @returns false when something else stands there */
function makeParents(directory: string, names: readonly string[]): boolean {
  let path = directory;
  for (const name of names) {
    path = join(path, name);
    const stat = lstatSync(path, { throwIfNoEntry: false });
    if (stat === undefined) mkdirSync(path);
    else if (!stat.isDirectory()) return false;
  }
  return true;
}

/** Random files in a layer's directory: few names, so that layers meet. */
function scatter(directory: string, random: Random, isBase: boolean): void {
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!;
  for (let count = 0; count < 14; count++) {
    const names = Array.from({ length: 1 + Math.floor(random() * 3) }, () => pick(NAMES));
    const path = join(directory, ...names);
    if (!makeParents(directory, names.slice(0, -1)) || lstatSync(path, { throwIfNoEntry: false })) continue;
    const kind = Math.floor(random() * (isBase ? 4 : 6));
    if (kind === 0) writeFileSync(path, path);
    else if (kind === 1) symlinkSync(pick(TARGETS), path);
    else if (kind === 4) makeNode(path, 0o020000, 0, 0);
    else mkdirSync(path);
    if (kind === 5) lsetxattr(path, 'trusted.overlay.opaque', Buffer.from('y'));
  }
}

/** What the kernel finds on the mount, with the mount as the root; follows like openat2(2) with RESOLVE_IN_ROOT. */
function byKernel(rootFd: number, merged: string, path: string): string {
  try {
    const fd = openat2(rootFd, path, OPEN.PATH, RESOLVE.IN_ROOT);
    try {
      const place = `/proc/self/fd/${fd}`;
      const content = statSync(place).isDirectory() ? 'directory' : readFileSync(place, 'utf8');
      return content.replace(merged, '');
    } finally {
      close(fd);
    }
  } catch (error) {
    if (error instanceof SyscallError) return error.errnoName === 'ENOTDIR' ? 'ENOENT' : error.errnoName;
    throw error;
  }
}

function byLookup(stack: string[], path: string): string {
  try {
    const found = resolveInStack(stack, path);
    if (found === undefined) return 'ENOENT';
    return found.stat.isDirectory() ? 'directory' : readFileSync(found.host, 'utf8');
  } catch (error) {
    if (error instanceof SyscallError) return error.errnoName;
    throw error;
  }
}

async function compare(): Promise<void> {
  const random = generator(Number(seed));
  let [compared, found] = [0, 0];
  for (let round = 0; round < 40; round++) {
    const lease = newLease();
    let top: string | undefined;
    for (let index = 0; index < 4; index++) {
      const layer = await registerLayer(store, lease, top, async ({ dir, tarSplit }) => {
        scatter(dir, random, index === 0);
        writeFileSync(tarSplit, '');
        return { diffId: sha256(`${round} ${index}`), archiveSize: 0, size: 0 };
      });
      top = layer.chainId;
    }
    releaseLease(lease);
    const layer = createRwLayer(store, String(round), top);
    scatter(layer.upper, random, false);
    withMount(layer, (merged) => {
      const rootFd = openat(-100, merged, OPEN.PATH | OPEN.DIRECTORY);
      for (const one of NAMES) {
        for (const two of ['', '/', ...NAMES.map((name) => `/${name}`), '/..']) {
          for (const three of ['', ...NAMES.map((name) => `/${name}`)]) {
            const path = `/${one}${two}${three}`;
            const [kernel, ours] = [byKernel(rootFd, merged, path), byLookup(layer.stack, path)];
            if (kernel !== ours)
              throw new Error(`seed ${seed}, round ${round}: ${path}: the kernel finds ${kernel}, the lookup ${ours}`);
            compared++;
            if (kernel !== 'ENOENT') found++;
          }
        }
      }
      close(rootFd);
    });
  }
  console.log(`${compared} ${found}`);
}

async function init(): Promise<void> {
  const lease = newLease();
  const layer = await registerLayer(store, lease, undefined, async ({ dir, tarSplit }) => {
    for (const [path, mode] of [
      ['dev', 0o700],
      ['etc', 0o1751],
      ['proc', 0o555],
    ] as const) {
      mkdirSync(`${dir}/${path}`);
      chmodSync(`${dir}/${path}`, mode);
    }
    chownSync(`${dir}/etc`, 7, 8);
    lsetxattr(`${dir}/etc`, 'user.note', Buffer.from('kept'));
    for (const file of ['hosts', 'own']) writeFileSync(`${dir}/etc/${file}`, file, { mode: 0o640 });
    chmodSync(`${dir}/etc/own`, 0o644);
    chownSync(`${dir}/etc/hosts`, 9, 9);
    writeFileSync(tarSplit, '');
    return { diffId: sha256('init'), archiveSize: 0, size: 0 };
  });
  releaseLease(lease);
  withMount(createRwLayer(store, 'init', layer.chainId), (merged) => {
    for (const path of ['dev', 'etc', 'etc/hosts', 'etc/own', 'proc']) {
      const { mode, uid, gid } = lstatSync(`${merged}/${path}`);
      console.log([path, mode.toString(8), `${uid}:${gid}`, ...llistxattr(`${merged}/${path}`)].join(' '));
    }
  });
}

const parts: Record<string, () => Promise<void>> = { many, write, compare, init };
try {
  await parts[part]!();
} finally {
  rmSync(root, { recursive: true, force: true });
}
