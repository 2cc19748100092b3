/**
 * Names of containers. `names/<name>` is a symlink to the container's directory: symlink(2) fails when the name is taken, so making it
 * is the reservation. A link whose container is not there, or has another name, was left by a process that died, and counts for nothing.
 */
import { existsSync, readdirSync, readlinkSync, symlinkSync, unlinkSync } from 'node:fs';
import { isErrno, TsboxError } from '../errors.ts';
import { randomBytes } from '../sys/random.ts';
import { attempt, readIntact, unlessGone } from './io.ts';
import { withStore } from './lock.ts';
import { ADJECTIVES, SURNAMES } from './name-words.ts';
import { containerDirectory, isHexId, type Store } from './store.ts';

/** A name must fit into a file name. */
const NAME_MAX = 255;

/** Can `text` be a name? Then it is safe as a file name. */
export function isName(text: string): boolean {
  return /^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/.test(text) && text.length <= NAME_MAX;
}

/** @throws ERR_TSBOX_USAGE with Docker's message */
export function checkName(name: string): void {
  if (isName(name)) return;
  const rule =
    name.length > NAME_MAX ? `it has more than ${NAME_MAX} characters` : 'only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed';
  throw new TsboxError('ERR_TSBOX_USAGE', `Invalid container name (${name.slice(0, 300)}), ${rule}`);
}

/** A name of two words, like `patient_noether`; it may be taken. */
export function generateName(): string {
  const pick = (words: readonly string[]) => words[randomBytes(4).readUInt32LE() % words.length] ?? '';
  return `${pick(ADJECTIVES)}_${pick(SURNAMES)}`;
}

/** The container that a name leads to, whether or not it is there. */
export function nameTarget(store: Store, name: string): string | undefined {
  try {
    const id = readlinkSync(`${store.names}/${name}`).split('/').at(-1) ?? '';
    return isHexId(id) ? id : undefined;
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined;
    throw error;
  }
}

/** Reserves a name. The caller shares the store's lock. @returns whether it was free */
export function reserveName(store: Store, name: string, id: string): boolean {
  return attempt(`reserve the name ${name}`, () => {
    try {
      symlinkSync(`../containers/${id}`, `${store.names}/${name}`);
      return true;
    } catch (error) {
      if (isErrno(error, 'EEXIST')) return false;
      throw error;
    }
  });
}

/** Gives a name back, if it is this container's. */
export function releaseName(store: Store, name: string, id: string): void {
  if (nameTarget(store, name) !== id) return;
  unlessGone(`release the name ${name}`, () => unlinkSync(`${store.names}/${name}`));
}

/** Has the container that the link leads to another name? One whose record says none, being damaged, lost or of a form to come, keeps it. */
function isStale(store: Store, name: string): boolean {
  const id = nameTarget(store, name);
  if (id === undefined) return true;
  const text = readIntact(`${containerDirectory(store, id)}/config.v2.json`);
  if (text === undefined) return !existsSync(containerDirectory(store, id));
  try {
    const { Name } = JSON.parse(text) as { Name?: unknown };
    return typeof Name === 'string' && Name !== `/${name}`;
  } catch {
    return false;
  }
}

/** Removes the link of a taken name, if nobody has it. Nobody is about to have it either: this takes the store's lock.
 *  @returns the container whose name it is, or undefined when the name is free again */
export function recheckName(store: Store, name: string): string | undefined {
  return withStore(store, () => {
    if (!isStale(store, name)) return nameTarget(store, name);
    unlessGone(`release the name ${name}`, () => unlinkSync(`${store.names}/${name}`));
    return undefined;
  });
}

/** Names whose link counts for nothing. To be asked under the store's exclusive lock. */
export function staleNames(store: Store): string[] {
  return readdirSync(store.names).filter((name) => isStale(store, name));
}

/** @returns Docker's refusal */
export function nameConflict(name: string, id: string): TsboxError {
  return new TsboxError(
    'ERR_TSBOX_CONFLICT',
    `Conflict. The container name "/${name}" is already in use by container "${id}". ` +
      'You have to remove (or rename) that container to be able to reuse that name.',
    { hint: `Remove it with \`tsbox rm ${name}\`, or use another --name.` },
  );
}
