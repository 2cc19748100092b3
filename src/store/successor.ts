/**
 * What is to happen when a container ends, beyond what its monitor does by itself. `<run-root>/<id>/successor.json` asks the monitor to go
 * on as `tsbox system after-exit`, and until the end that can be called off; the monitor renames it to `followed.json`: from there on
 * tsbox is in charge, which changes nothing without the container's lock.
 */
import { existsSync } from 'node:fs';
import { FOLLOWED_FILE, SUCCESSOR_FILE } from '../plan/monitor.ts';
import { writeFileAtomic } from '../sys/atomic.ts';
import { removeWholeTree } from '../sys/remove-tree.ts';
import { attempt, readObject } from './io.ts';
import { runDirectory, type Store } from './store.ts';

export interface Succession {
  /** Milliseconds for which the last restart was held back; 0 before the first. */
  Delay: number;
  /** The successor, once it waits. */
  Pid?: number;
  /** Of a container that is removed when it has ended: this time it stays, since somebody starts it again. */
  Keep?: boolean;
}

const asked = (store: Store, id: string) => `${runDirectory(store, id)}/${SUCCESSOR_FILE}`;
const followed = (store: Store, id: string) => `${runDirectory(store, id)}/${FOLLOWED_FILE}`;

export const isSuccessionAsked = (store: Store, id: string): boolean => existsSync(asked(store, id));
export const isFollowed = (store: Store, id: string): boolean => existsSync(followed(store, id));

function save(path: string, succession: Succession): void {
  attempt(`write ${path}`, () => writeFileAtomic(path, JSON.stringify(succession), { mode: 0o600 }));
}

export const askSuccession = (store: Store, id: string, what: Succession): void => save(asked(store, id), what);
export const saveFollowed = (store: Store, id: string, what: Succession): void => save(followed(store, id), what);

/** Has no effect once it is followed. */
export function callOffSuccession(store: Store, id: string): void {
  removeWholeTree(asked(store, id));
}

/** What is followed. What cannot be read counts as the first time. */
export function readFollowed(store: Store, id: string): Succession | undefined {
  if (!isFollowed(store, id)) return undefined;
  const { Delay, Pid, Keep } = readObject(followed(store, id)) ?? {};
  return {
    Delay: typeof Delay === 'number' ? Delay : 0,
    ...(typeof Pid === 'number' && { Pid }),
    ...(Keep === true && { Keep }),
  };
}
