/** The end of a container in a store that has no engine above it. */
import { retireContainer } from '../src/store/change-container.ts';
import { removeTree } from '../src/store/io.ts';
import type { Store } from '../src/store/store.ts';

/** Of one that does not run, and that nobody starts. Throws as {@link retireContainer}. */
export function removeContainerFiles(store: Store, id: string): void {
  for (const path of retireContainer(store, id)) removeTree(path);
}
