/** Layers on disk beside those that dockerd makes of the same archives. */
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { reassembleLayer } from '../../src/layer/tar-split-read.ts';
import { chainIds } from '../../src/store/chain.ts';
import { requires } from '../requires.ts';
import { configOf, dockerFiles, tarOf } from '../unit/engine-archives.ts';
import {
  apply,
  archive,
  collect,
  entryBytes,
  extendedHeader,
  type Made,
  paxRecord,
  run,
  scratch,
  sha256,
  snapshot,
} from '../unit/layer-support.ts';
import { type Docker, startDocker } from './images-setup.ts';

const FIXTURE = join(import.meta.dirname, '../../rootfs-fixtures/build/layers.tar');

/** The layers in dockerd's store, the base first: their directories and their tar-split files. */
async function theirs(docker: Docker, layers: readonly Buffer[]): Promise<{ diff: string; split: string }[]> {
  const root = await docker('info', '--format', '{{.DockerRootDir}}');
  return chainIds(layers.map(sha256)).map((chainId) => {
    const known = join(root, 'image/overlay2/layerdb', chainId.replace(':', '/'));
    const cacheId = readFileSync(join(known, 'cache-id'), 'utf8');
    return { diff: join(root, 'overlay2', cacheId, 'diff'), split: join(known, 'tar-split.json.gz') };
  });
}

/** dockerd keeps nothing of where the holes of a file were, so what it keeps does not give such a layer back. */
function isSparse(bytes: Buffer): boolean {
  return bytes.includes('GNU.sparse.');
}

/** What is in a layer, without what dockerd does otherwise: it leaves the root alone, begins the time in 1970, and gives whiteouts the
 *  time of day. That is also what directories have that nothing describes. */
function content(directory: string, since: bigint): Record<string, string> {
  const { '.': _, ...rest } = snapshot(directory);
  const undated = (text: string): string =>
    text
      .replace(/^(20000 \S+) \S+ device 0$/, '$1 whiteout')
      .replace(/(?<= )-[0-9]+(?= )/, '0')
      .replace(/(?<= )[0-9]{19}(?= |$)/, (time) => (BigInt(time) >= since && BigInt(time) < 2n ** 61n ? 'now' : time));
  return Object.fromEntries(Object.entries(rest).map(([name, text]) => [name, undated(text)]));
}

function attributesOf(directory: string): string {
  const script = 'find . -mindepth 1 -print0 | sort -z | xargs -0 -r getfattr -h -d -m - -e hex --';
  return run('bash', ['-c', script], { cwd: directory }).toString('latin1');
}

async function compare(t: TestContext, docker: Docker, layers: readonly Buffer[]): Promise<void> {
  const since = BigInt(Date.now() - 60_000) * 1_000_000n;
  const known = await theirs(docker, layers);
  const lowers: string[] = [];
  for (const [at, bytes] of layers.entries()) {
    const root = scratch(t);
    const ours = join(root, 'layer');
    mkdirSync(ours);
    await apply(bytes, ours, { lowers, tarSplit: join(root, 'split') });
    const { diff, split } = known[at]!;
    assert.deepEqual(content(ours, since), content(diff, since), `layer ${at}`);
    assert.equal(attributesOf(ours), attributesOf(diff), `layer ${at}`);
    // What one has unpacked and written down, the other gives back.
    assert.ok((await collect(reassembleLayer(diff, join(root, 'split')))).equals(bytes), `layer ${at}`);
    if (!isSparse(bytes)) assert.ok((await collect(reassembleLayer(ours, split))).equals(bytes), `layer ${at}`);
    lowers.unshift(ours);
  }
}

test('layer: the fixture on disk is what dockerd makes of it', async (t) => {
  if (!requires(t, 'root', 'command:dockerd', `file:${FIXTURE}`)) return;
  const docker = await startDocker(t);
  await docker('load', '-q', '-i', FIXTURE);
  const [manifest] = JSON.parse(run('tar', ['-xOf', FIXTURE, 'manifest.json']).toString()) as { Layers: string[] }[];
  await compare(
    t,
    docker,
    manifest!.Layers.map((name) => run('tar', ['-xOf', FIXTURE, name])),
  );
});

const link = (name: string, linkname: string): Made => ({ name, type: 'link', linkname });
const capability = Buffer.from('0100000200200000000000000000000000000000', 'hex');

/** Each a layer of its own. */
const ODD: Made[][] = [
  [{ name: '/', type: 'directory', mode: 0o711 }, { name: 'usr/perl', data: 'perl' }, link('usr/perl5', '/usr/perl')],
  [
    { name: 'a//b', data: 'x' },
    { name: './c/./d', data: 'x' },
    { name: 'e/', mode: 0o700 },
  ],
  [{ name: 's', type: 'symlink', linkname: '/nowhere' }, link('s2', 's'), { name: 'p', type: 'fifo' }, link('p2', 'p')],
  [{ name: 'no/parents/at/all', data: 'x' }, { name: 'no/parents/.wh.gone' }],
  [
    { name: '.wh.a' },
    { name: 'b/.wh..wh..opq' },
    { name: 'b/', mode: 0o750 },
    { name: 'c/.wh..wh..opq' },
    { name: 'c/f' },
  ],
  [{ name: '.wh.f' }, { name: 'f', data: 'a file over a whiteout' }],
  [
    { name: 'd/', mode: 0 },
    { name: 'd/f', data: 'x', mode: 0o6751, uid: 7, gid: 8 },
    { name: 'd/g/', mode: 0o1777, uid: 9 },
  ],
  [
    { name: 'ids', uid: 2 ** 31, gid: 2 ** 32 - 2 },
    { name: 'time', mtime: 2 ** 33, mtimeNsec: 123_456_789 },
  ],
  [
    { name: 'null', type: 'char', deviceMajor: 1, deviceMinor: 3, mode: 0o666 },
    { name: 'big', type: 'block', deviceMajor: 4095, deviceMinor: 1_048_575 },
    { name: 'white', type: 'char', mode: 0 },
  ],
  [
    { name: 'x', data: 'x', uid: 5, mode: 0o4755, xattrs: new Map([['security.capability', capability]]) },
    { name: 'y', xattrs: new Map([['user.y', Buffer.from([0, 10, 61, 255])]]) },
  ],
  [
    { name: 'caf\xe9\xff', data: 'bytes' },
    { name: `${'d'.repeat(120)}/${'n'.repeat(200)}`, data: 'long' },
  ],
  [],
];

test('layer: odd layers on disk are what dockerd makes of them', async (t) => {
  if (!requires(t, 'root', 'command:dockerd')) return;
  const root = scratch(t);
  const docker = await startDocker(t);
  const binary = Buffer.concat([
    extendedHeader('x', paxRecord('hdrcharset', 'BINARY'), paxRecord('path', Buffer.from([0x70, 0xff, 0xfe]))),
    entryBytes({ name: 'nominal', data: 'x' }),
    extendedHeader('L', `${'gnu/'.repeat(40)}f\0`),
    entryBytes({ name: 'nominal', data: 'x' }),
  ]);
  const layers = [...ODD.map((made) => archive(...made)), binary];
  writeFileSync(join(root, 'image.tar'), tarOf(dockerFiles(layers, ['odd:latest'], configOf(layers))));
  await docker('load', '-q', '-i', join(root, 'image.tar'));
  await compare(t, docker, layers);
});
