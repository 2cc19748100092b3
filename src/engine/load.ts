/** `load`: images from an archive or a layout into the store. */
import { plainText } from '../registry/refusal.ts';
import { defaultPlatform } from '../spec/platform.ts';
import { DEFAULT_TAG, familiarString, isTag, type Reference } from '../spec/reference.ts';
import { digestOf } from '../store/chain.ts';
import { noteImage } from '../store/events.ts';
import { putImage, setReferences } from '../store/image-changes.ts';
import type { Locked } from '../store/lock.ts';
import { imageOf, readOrSetAside } from '../store/references.ts';
import { shortId } from '../store/store.ts';
import { withLease } from '../store/take-back.ts';
import type { OnProgress } from './api.ts';
import { openArchive } from './archive-read.ts';
import { type ArchivedImage, readImageArchive } from './image-archive.ts';
import { installLayers } from './install-layers.ts';
import { interruptible } from './interrupt.ts';
import type { Engine } from './open.ts';

export interface LoadOptions {
  /** A tar file, compressed or not, or the directory of an OCI layout; standard input when absent. */
  input?: string;
}

/** Layers from a disk: one for each core that a small machine has. */
const PARALLEL = 2;

/** Loads all images that an archive has. Nothing is changed before the whole archive was found to be in order, its layers' content apart.
 *  @returns Docker's lines: `Loaded image: x:y` for each name, `Loaded image ID: sha256:..` for one without
 *  @throws ERR_TSBOX_DAMAGED, ERR_TSBOX_LIMIT, ERR_TSBOX_UNSUPPORTED, SyscallError; images before the one that failed stay loaded */
export function loadImages(engine: Engine, { input }: LoadOptions, onProgress: OnProgress): Promise<string[]> {
  return interruptible(async (signal) => {
    const archive = await openArchive(input, engine.options, signal);
    try {
      const lines: string[] = [];
      for (const image of await readImageArchive(archive, defaultPlatform(), engine.options.limits)) {
        lines.push(...(await loadImage(engine, image, onProgress, signal)));
        if (image.references.length === 0 && image.calledThere !== undefined) {
          onProgress({ kind: 'text', text: howToName(image.calledThere, digestOf(image.config)) });
        }
      }
      return lines;
    } finally {
      archive.close();
    }
  });
}

/** What to do with an image whose name is none here. */
function howToName(calledThere: string, id: string): string {
  const tag = isTag(calledThere) ? calledThere : DEFAULT_TAG;
  const name = plainText(calledThere);
  return `The archive calls it "${name}", which names no repository. Name it: tsbox tag ${shortId(id)} NAME:${tag}`;
}

function loadImage(
  { store, options }: Engine,
  image: ArchivedImage,
  onProgress: OnProgress,
  signal: AbortSignal,
): Promise<string[]> {
  return withLease(store, async (lease) => {
    const sources = image.layers.map((layer) => ({
      ...layer,
      what: `load layer ${layer.diffId}`,
      label: shortId(layer.diffId),
      known: true,
    }));
    await installLayers(store, lease, sources, {
      parallel: PARALLEL,
      statuses: { reading: 'Loading layer' },
      limits: options.limits,
      onProgress,
      signal,
    });
    let lines = [`Loaded image ID: ${digestOf(image.config)}`];
    putImage(store, image.config, {
      lease,
      name(locked, id) {
        if (image.references.length > 0) lines = nameImage(locked, image.references, id);
      },
    });
    noteImage(store, 'load', digestOf(image.config));
    return lines;
  });
}

/** Gives the image all its names. @returns Docker's lines */
function nameImage(locked: Locked, references: readonly Reference[], id: string): string[] {
  const before = readOrSetAside(locked);
  setReferences(locked, references, id);
  return references.flatMap((reference) => {
    const name = familiarString(reference);
    const old = imageOf(before, reference);
    const loaded = `Loaded image: ${name}`;
    if (old === undefined || old === id) return [loaded];
    return [`The image ${name} already exists, renaming the old one with ID ${old} to empty string`, loaded];
  });
}
