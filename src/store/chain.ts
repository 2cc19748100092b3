/** Chain ids: a layer together with all below it. @see image-spec config.md, Layer ChainID */

import { sha256Hex } from '../sys/sha256.ts';

/** sha256 as a digest. */
export function digestOf(bytes: string | Uint8Array): string {
  return `sha256:${sha256Hex(Buffer.from(bytes))}`;
}

/** Chain id of the layer `diffId` on `parent`; on nothing it is the diffID itself. */
export function chainIdOn(parent: string | undefined, diffId: string): string {
  return parent === undefined ? diffId : digestOf(`${parent} ${diffId}`);
}

/** Chain ids of an image's layers, the base first. */
export function chainIds(diffIds: readonly string[]): string[] {
  const chain: string[] = [];
  for (const diffId of diffIds) chain.push(chainIdOn(chain.at(-1), diffId));
  return chain;
}
