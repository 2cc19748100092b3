/** Makes a container: its name, its layers, its files. All of it or nothing; it is there when its directory has its final name. */
import { existsSync, mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { TsboxError } from '../errors.ts';
import type { ContainerRecord, HostConfig } from '../spec/container.ts';
import { randomHex } from '../sys/random.ts';
import { removeWholeTree } from '../sys/remove-tree.ts';
import { recordText } from './containers.ts';
import { attempt, removeTree, withoutUmask } from './io.ts';
import { sharingStore } from './lock.ts';
import { checkName, generateName, nameConflict, recheckName, releaseName, reserveName } from './names.ts';
import { createRwLayer, type RwLayer, retireRwLayer } from './rw-layers.ts';
import { containerDirectory, imageFile, type Store, shortId, TEMPORARY } from './store.ts';

export interface CreatedContainer {
  /** With its final name. */
  record: ContainerRecord;
  rwLayer: RwLayer;
}

const GENERATED_TRIES = 50;

/** A fresh id: 64 hexadecimal digits. The first twelve are never all decimal: as a host name they would look like a number. */
export function newContainerId(): string {
  for (;;) {
    const id = randomHex(32);
    if (!/^[0-9]{12}/.test(id)) return id;
  }
}

/**
 * Makes a container on an image's top layer (none: an image without layers). No process, no mount. The image cannot be removed meanwhile.
 * @param wanted the record with its final ID; `Name` with its slash, a bare slash asks for a generated name
 * @throws ERR_TSBOX_CONFLICT in Docker's words when the name is taken; ERR_TSBOX_USAGE for a bad name; ERR_TSBOX_NOT_FOUND when the
 * image or its layer is gone; SyscallError, ENOSPC among them. After an error nothing of it is left
 */
export function createContainer(
  store: Store,
  wanted: ContainerRecord,
  hostConfig: HostConfig,
  topChainId: string | undefined,
): CreatedContainer {
  const given = wanted.Name.replace(/^\//, '');
  if (given !== '') checkName(given);
  for (let tries = 0; ; tries++) {
    const name = given === '' ? generateName() : given;
    const record = { ...wanted, Name: `/${name}` };
    const rwLayer = sharingStore(store, () => {
      if (!reserveName(store, name, record.ID)) return undefined;
      return makeUnderName(store, { record, hostConfig, topChainId, name });
    });
    if (rwLayer !== undefined) return { record, rwLayer };
    const holder = recheckName(store, name);
    if (holder === undefined || (given === '' && tries < GENERATED_TRIES)) continue;
    throw nameConflict(name, holder);
  }
}

interface NewContainer {
  record: ContainerRecord;
  hostConfig: HostConfig;
  topChainId: string | undefined;
  name: string;
}

function makeUnderName(store: Store, wanted: NewContainer): RwLayer {
  const { ID: id, Image: image } = wanted.record;
  let rwLayer: RwLayer | undefined;
  try {
    if (!existsSync(imageFile(store, image))) throw new TsboxError('ERR_TSBOX_NOT_FOUND', `No such image: ${image}`);
    rwLayer = createRwLayer(store, id, wanted.topChainId);
    attempt(`create container ${shortId(id)}`, () => withoutUmask(() => writeContainer(store, wanted)));
    return rwLayer;
  } catch (error) {
    removeWholeTree(`${store.containers}/${TEMPORARY}${id}`);
    if (rwLayer !== undefined) for (const path of retireRwLayer(store, id)) removeTree(path);
    releaseName(store, wanted.name, id);
    throw error;
  }
}

function writeContainer(store: Store, { record, hostConfig }: NewContainer): void {
  const half = `${store.containers}/${TEMPORARY}${record.ID}`;
  mkdirSync(half, 0o710);
  writeFileSync(`${half}/config.v2.json`, recordText(record), { mode: 0o600 });
  writeFileSync(`${half}/hostconfig.json`, JSON.stringify(hostConfig), { mode: 0o644 });
  renameSync(half, containerDirectory(store, record.ID));
}
