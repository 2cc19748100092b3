/** The engine: a store and the options it was opened with. */
import { openStore } from '../store/open.ts';
import type { Store } from '../store/store.ts';
import type { EngineOptions } from './api.ts';

export interface Engine {
  readonly store: Store;
  readonly options: EngineOptions;
}

/** Opens the data root and the run root, which are made when they are not there. Cheap.
 *  @param notice as in {@link Store} @throws SyscallError */
export function openEngine(options: EngineOptions, notice?: (text: string) => void): Engine {
  return { store: openStore(notice === undefined ? options : { ...options, notice }), options };
}
