/** Containers whose record cannot be read: damaged, lost, or of a form to come. Nobody knows what they use, so anything may be theirs,
 *  and what is theirs stays. */
import { TsboxError } from '../errors.ts';
import type { ContainerRecord } from '../spec/container.ts';
import { listContainers } from '../store/containers.ts';
import { type Store, shortId } from '../store/store.ts';

export interface UnknownUser {
  /** Of the container. */
  id: string;
  /** Names the file. */
  error: TsboxError;
}

export interface Users {
  /** The youngest first. */
  known: ContainerRecord[];
  unknown: UnknownUser[];
}

/** All containers, those that cannot be read apart. To be asked under the store's lock by who removes what they may use. */
export function allUsers(store: Store): Users {
  const unknown: UnknownUser[] = [];
  const known = listContainers(store, (id, error) => unknown.push({ id, error }));
  return { known, unknown };
}

/** Why something is not removed. @param what verb and object */
export function mayBeUsed(what: string, { id, error }: UnknownUser): TsboxError {
  const isDamaged = error.code === 'ERR_TSBOX_DAMAGED';
  const hint = isDamaged ? `Remove that container (tsbox rm -f ${id}), or mend the file.` : error.hint;
  return new TsboxError(
    error.code,
    `${what}: what container ${shortId(id)} uses is not known: ${error.message}`,
    hint === undefined ? { cause: error } : { cause: error, hint },
  );
}
