/** Chain ids: a layer together with all below it. @see image-spec config.md, Layer ChainID */

/** sha256 as a digest. `node:crypto` is loaded on the first use: starting a container does without. */
export function digestOf(bytes: string | Uint8Array): string {
  const { hash } = process.getBuiltinModule('node:crypto');
  return `sha256:${hash('sha256', bytes, 'hex')}`;
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
