/** What must be true of a store whatever has happened to the processes that use it. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, lstatSync, readdirSync, readlinkSync } from 'node:fs';
import { reassembleLayer } from '../../src/layer/tar-split-read.ts';
import { containerIds, listContainers, readHostConfig, requireContainer } from '../../src/store/containers.ts';
import { verifiedImage } from '../../src/store/image-changes.ts';
import { imageIds, readImage } from '../../src/store/images.ts';
import { readText } from '../../src/store/io.ts';
import { layerChain, layerIds, readLayer } from '../../src/store/layers.ts';
import { namesByImage, readReferences } from '../../src/store/references.ts';
import { rwLayer } from '../../src/store/rw-layers.ts';
import type { Store } from '../../src/store/store.ts';

/** Is true at any moment that the lock is free, killed processes or not. */
export function assertWhole(store: Store): void {
  const ids = imageIds(store);
  for (const id of ids) {
    const image = verifiedImage(store, id);
    assert.equal(readImage(store, id).chainId, image.chainId);
    if (image.chainId !== undefined) layerChain(store, image.chainId);
  }
  for (const id of layerIds(store)) {
    for (const layer of layerChain(store, id)) {
      assert.equal(readlinkSync(`${store.overlay}/l/${layer.link}`), `../${layer.cacheId}/diff`);
      readdirSync(layer.diffDir);
    }
  }
  for (const entries of readReferences(store).values()) {
    for (const id of entries.values()) assert.ok(ids.includes(id), `a name leads to ${id}, which is not there`);
  }
  const names = new Set<string>();
  for (const record of listContainers(store, (id, error) => assert.fail(`${id}: ${error.message}`))) {
    assert.equal(names.has(record.Name), false, `two containers are called ${record.Name}`);
    names.add(record.Name);
    readHostConfig(store, record.ID);
  }
}

/** Is true besides when garbage has been collected and nobody is at work. */
export function assertTidy(store: Store): void {
  assertWhole(store);
  const directories = new Set(['l']);
  const links = new Set<string>();
  const isLink = (link: string | undefined) => link !== undefined && readdirSync(`${store.overlay}/l`).includes(link);
  for (const id of layerIds(store)) {
    const [layer] = layerChain(store, id);
    directories.add(layer!.cacheId);
    links.add(layer!.link);
  }
  for (const id of containerIds(store)) {
    let layer: ReturnType<typeof rwLayer>;
    try {
      layer = rwLayer(store, id);
    } catch {
      // `rm` was killed after the layers, or between the two: what is left is removed by the next `rm`.
      const half = readText(`${store.images}/layerdb/mounts/${id}/init-id`);
      if (half === undefined || !existsSync(`${store.overlay}/${half}`)) continue;
      directories.add(half);
      const link = readText(`${store.overlay}/${half}/link`);
      if (isLink(link)) links.add(link!);
      continue;
    }
    directories.add(layer.mountId).add(layer.initId);
    // The first thing that `rm` takes away is the short name of the upper layer: it may have been killed then.
    if (isLink(layer.link)) links.add(layer.link);
    links.add(layer.initLink);
    for (const directory of layer.stack) readdirSync(directory);
    const { Name } = requireContainer(store, id);
    assert.equal(requireContainer(store, Name).ID, id);
  }
  assert.deepEqual(readdirSync(store.overlay).sort(), [...directories].sort());
  assert.deepEqual(readdirSync(`${store.overlay}/l`).sort(), [...links].sort());
  assert.equal(readdirSync(store.names).length, containerIds(store).length);
  assert.deepEqual(readdirSync(`${store.images}/layerdb/tmp`), []);
}

/** Every layer of the store, in use or not, gives back the very bytes that it was made of. */
export async function assertComplete(store: Store): Promise<void> {
  for (const id of layerIds(store)) {
    const { diffDir, tarSplit, diffId } = readLayer(store, id);
    const hash = createHash('sha256');
    for await (const chunk of reassembleLayer(diffDir, tarSplit)) hash.update(chunk);
    assert.equal(`sha256:${hash.digest('hex')}`, diffId, `layer ${id}`);
  }
}

/** Every path of the data root with type and mode. What is random or depends on the time has the name of what it is: two stores with
 *  the same images and containers have the same shape. */
export function shape(store: Store): string[] {
  const known = new Map<string, string>();
  for (const id of layerIds(store)) {
    const { cacheId, link } = readLayer(store, id);
    known.set(cacheId, `<layer ${id}>`).set(link, `<link ${id}>`);
  }
  for (const { ID: id, Name: name } of listContainers(store)) {
    const { mountId, link, initLink } = rwLayer(store, id);
    known.set(id, `<${name}>`).set(mountId, `<rw ${name}>`).set(link, `<link ${name}>`).set(initLink, `<init ${name}>`);
  }
  for (const [id, { tags }] of namesByImage(readReferences(store))) known.set(id.slice(7), `<image ${tags.join()}>`);
  return readdirSync(store.dataRoot, { recursive: true, encoding: 'utf8' })
    .map((path) => {
      const { mode } = lstatSync(`${store.dataRoot}/${path}`);
      return `${path.replace(/[0-9a-f]{64}|[A-Z2-7]{26}/g, (name) => known.get(name) ?? name)} ${mode.toString(8)}`;
    })
    .sort();
}

/** Two lists of paths are the same; if not, only what differs is told. */
export function assertSame(actual: readonly string[], expected: readonly string[], what = ''): void {
  const without = (list: readonly string[], other: readonly string[]) => {
    const known = new Set(other);
    return list.filter((line) => !known.has(line)).slice(0, 30);
  };
  const difference = { more: without(actual, expected), less: without(expected, actual) };
  assert.deepEqual(
    difference,
    { more: [], less: [] },
    what === '' ? undefined : `${what}\n${JSON.stringify(difference, null, 2)}`,
  );
}
