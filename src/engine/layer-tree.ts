/** Images by the layers that they share: a forest in which every layer stands once, on the one that it was made on. */
import { TsboxError } from '../errors.ts';
import type { ImageConfig } from '../spec/oci-image.ts';
import { chainIds } from '../store/chain.ts';
import { readImageConfig } from '../store/images.ts';
import { layerSize } from '../store/layers.ts';
import type { Store } from '../store/store.ts';
import type { ImageSummary } from './api.ts';
import type { Engine } from './open.ts';

export interface LayerNode {
  chainId: string;
  /** Bytes of file content. */
  size: number;
  /** The command that made it, as far as an image's history tells. */
  createdBy: string;
  /** How many of the images have this layer. */
  users: number;
  /** The images whose top layer this is. */
  images: ImageSummary[];
  /** The layers on this one. */
  above: LayerNode[];
}

export interface LayerTree {
  /** The base layers. */
  bases: LayerNode[];
  /** Images without any layer. */
  empty: ImageSummary[];
}

/** One that is removed meanwhile is left out.
 *  @param images in the order in which they, and what leads to them, stand in the tree */
export function layerTree({ store }: Engine, images: readonly ImageSummary[]): LayerTree {
  const nodes = new Map<string, LayerNode>();
  const tree: LayerTree = { bases: [], empty: [] };
  for (const image of images) {
    const config = configOf(store, image.id);
    if (config === undefined) continue;
    const commands = layerCommands(config);
    let below: LayerNode | undefined;
    for (const [index, chainId] of chainIds(config.rootfs.diff_ids).entries()) {
      let node = nodes.get(chainId);
      if (node === undefined) {
        node = {
          chainId,
          size: layerSize(store, chainId),
          createdBy: commands[index] ?? '',
          users: 0,
          images: [],
          above: [],
        };
        nodes.set(chainId, node);
        (below?.above ?? tree.bases).push(node);
      }
      node.users++;
      below = node;
    }
    (below?.images ?? tree.empty).push(image);
  }
  return tree;
}

function configOf(store: Store, id: string): ImageConfig | undefined {
  try {
    return readImageConfig(store, id);
  } catch (error) {
    if (error instanceof TsboxError && error.code === 'ERR_TSBOX_NOT_FOUND') return undefined;
    throw error;
  }
}

/** What made each layer, the base first. */
function layerCommands({ history }: ImageConfig): string[] {
  const steps = history ?? [];
  return steps.filter((step) => step.empty_layer !== true).map((step) => step.created_by || step.comment || '');
}
