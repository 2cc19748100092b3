/** One of several processes at work on one store; run by store-races.test.ts: `store-worker.ts TASK DATA_ROOT SEED`. */
import { removeImage } from '../../src/engine/images.ts';
import { TsboxError } from '../../src/errors.ts';
import { renameContainer, retireContainer, withContainer } from '../../src/store/change-container.ts';
import { listContainers } from '../../src/store/containers.ts';
import { collectGarbage } from '../../src/store/gc.ts';
import { tag } from '../../src/store/image-changes.ts';
import { imageIds } from '../../src/store/images.ts';
import { removeTree } from '../../src/store/io.ts';
import { withStore } from '../../src/store/lock.ts';
import { openStore } from '../../src/store/open.ts';
import { removeUnusedLayers } from '../../src/store/unused-layers.ts';
import { makeContainer, makeImage } from '../unit/store-fixture.ts';
import { generator } from './store-random.ts';

const [task = '', dataRoot = '', seed = '0'] = process.argv.slice(2);
const store = openStore({ dataRoot, runRoot: `${dataRoot}-run` });
const engine = { store, options: { dataRoot, runRoot: store.runRoot } };
const random = generator(Number(seed));

/** What another process may bring about at any moment: somebody else was faster. */
const EXPECTED = new Set(['ERR_TSBOX_NOT_FOUND', 'ERR_TSBOX_CONFLICT']);

async function tolerant(work: () => unknown): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof TsboxError && EXPECTED.has(error.code))) throw error;
  }
}

/** A few images that share layers, so that processes meet. */
const layersOf = (number: number) =>
  Array.from({ length: 1 + (number % 3) }, (_, index) => ({
    [`dir/file${index}`]: `${index > 0 ? number : 'shared'}`,
  }));

/** Under the container's lock, as `rm` does it: of two at once the second would give back a name that is somebody else's by then. */
function remove(id: string): void {
  withContainer(store, id, () => retireContainer(store, id)).forEach(removeTree);
}

const pick = <T>(list: readonly T[]): T | undefined => list[Math.floor(random() * list.length)];

async function step(): Promise<void> {
  const number = Math.floor(random() * 6);
  const image = pick(imageIds(store));
  const container = pick(listContainers(store));
  const name = `name${Math.floor(random() * 5)}`;
  switch (Math.floor(random() * 9)) {
    case 0:
    case 1:
      await makeImage(store, layersOf(number), { names: [`image${number}`], salt: String(number) });
      break;
    case 2:
    case 3: {
      const made = await makeImage(store, layersOf(number), { names: [`image${number}`], salt: String(number) });
      makeContainer(store, made, random() < 0.5 ? name : '');
      break;
    }
    case 4:
      if (container !== undefined) remove(container.ID);
      break;
    case 5:
      if (container !== undefined) renameContainer(store, container.ID, name);
      break;
    case 6:
      if (image !== undefined) removeImage(engine, image, { force: random() < 0.5, noPrune: false });
      break;
    case 7:
      if (image !== undefined) tag(store, `tag${number}`, image);
      break;
    default: {
      if (random() < 0.5) collectGarbage(store);
      else withStore(store, removeUnusedLayers).waiting.forEach(removeTree);
    }
  }
}

switch (task) {
  case 'tags':
    for (let count = 0; count < 25; count++) tag(store, `p${seed}:${count}`, imageIds(store)[0] ?? '');
    break;
  case 'name':
    try {
      makeContainer(store, await makeImage(store, []), 'wanted');
      console.log('won');
    } catch (error) {
      console.log(error instanceof Error ? error.message : error);
    }
    break;
  case 'layers':
    for (let number = 0; number < 6; number++) {
      const { chainIds } = await makeImage(store, layersOf(number), {
        names: [`image${number}`],
        salt: String(number),
      });
      console.log(chainIds.join(' '));
    }
    break;
  case 'churn':
    for (let count = 0; count < 60; count++) await tolerant(step);
    break;
  default:
    throw new Error(`no such task: ${task}`);
}
