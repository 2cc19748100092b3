/**
 * Keeps the plan of an `exec`, with and without a terminal, in the run directory of a container, for tsbox-replay, which runs it without
 * Node. It is compiled from files that may change while the container runs, so it names them and their looks: with one difference it
 * counts for nothing, and `exec` starts Node, which keeps another one. Nothing depends on its being there. There are two: one for the
 * container's user, and one for the user that was last asked for.
 */
import { closeSync, lstatSync, openSync, readlinkSync, writeFileSync } from 'node:fs';
import { compileEnter, type EnterInput } from '../plan/enter.ts';
import { beginReplay, type Fact, finishReplay, REPLAY_MAGIC, type Replay } from '../plan/replay.ts';
import { executorPath } from '../runtime/launch.ts';
import { capabilityMask } from '../spec/capabilities.ts';
import type { ContainerRecord } from '../spec/container.ts';
import { eventPlace } from '../store/events.ts';
import { containerDirectory, runDirectory, type Store } from '../store/store.ts';
import { mainScript } from '../sys/built-file.ts';
import { pwriteAll } from '../sys/file.ts';
import { tryLock } from '../sys/lock.ts';
import { randomHex } from '../sys/random.ts';
import { homeIsDefault, processEnv } from './merge.ts';

const FILES = ['exec.replay', 'exec-user.replay'] as const;

const replayFile = (store: Store, id: string, user: string) =>
  `${runDirectory(store, id)}/${FILES[user === '' ? 0 : 1]}`;

/** A change and a look at it within this time may leave no trace: the kernel's clock for files ticks every 1 to 10 ms. */
const BLUR_NS = 20_000_000n;

/** Makes the files, empty. Before the container's process is there: nobody makes a file in a run directory that is being removed. */
export function makeReplay(store: Store, id: string): void {
  for (const name of FILES) writeFileSync(`${runDirectory(store, id)}/${name}`, '', { mode: 0o600 });
}

/** @param input that of an exec without a terminal that changes nothing; its command and whose namespaces it joins do not matter
 *  @param user as it was asked for; empty for the container's own
 *  @returns undefined where no plan is kept: when it depends on the cgroup of who calls */
export function compileReplay(
  store: Store,
  record: ContainerRecord,
  input: Omit<EnterInput, 'events' | 'stdin'>,
  user = '',
): Replay | undefined {
  if (input.facts.hierarchies.some(({ delegated }) => delegated === true)) return undefined;
  const execID = randomHex(32);
  const events = eventPlace(store, record, { execID });
  const process = { ...input.process, args: [], terminal: false };
  const homeIsLast = homeIsDefault(record.Config);
  const home = homeIsLast ? process.env!.at(-1)!.slice('HOME='.length) : '';
  const shown = { ...process, terminal: true, env: processEnv(record.Config, home, [], true) };
  return beginReplay({
    id: record.ID,
    name: record.Name.slice(1),
    execID,
    executor: executorPath(),
    events,
    user,
    homeIsLast,
    plan: compileEnter({ ...input, process, events, stdin: 'STDIN_NULL' }),
    terminal: compileEnter({ ...input, process: shown, events }),
  });
}

/** Thrown and caught in here: what was read may have changed since. */
class Unclear extends Error {}

/** @param since no change after that time is overlooked */
function lookAt(path: string, since?: Date): Fact {
  const stat = lstatSync(path, { bigint: true, throwIfNoEntry: false });
  if (stat === undefined) return { kind: 'absent', path };
  const { dev, ino, size, mtimeNs, ctimeNs } = stat;
  if (since !== undefined && ctimeNs > BigInt(since.getTime()) * 1_000_000n - BLUR_NS) throw new Unclear();
  return { kind: 'same', path, dev, ino, size, mtimeNs, ctimeNs };
}

const linkAt = (path: string): Fact => ({ kind: 'link', path, text: readlinkSync(path) });

export interface Seen {
  pid: number;
  monitor: number;
  /** Where the container's own tree is: its users are looked up there. */
  root: string;
  /** Of the caller. */
  capabilities: readonly string[];
  /** When the first of the files was read. */
  since: Date;
  /** Whether nobody can have changed the container's record meanwhile. */
  locked: boolean;
}

function factsOf(store: Store, id: string, seen: Seen): Fact[] {
  if (!lstatSync(`${seen.root}/etc`).isDirectory()) throw new Unclear();
  const users = ['passwd', 'group'].map((name) => lookAt(`${seen.root}/etc/${name}`, seen.since));
  const record = seen.locked ? undefined : seen.since;
  return [
    lookAt(`${runDirectory(store, id)}/state.json`),
    { kind: 'absent', path: `${runDirectory(store, id)}/paused` },
    lookAt(`${containerDirectory(store, id)}/config.v2.json`, record),
    lookAt(`${containerDirectory(store, id)}/hostconfig.json`, record),
    ...users,
    lookAt(mainScript()),
    linkAt('/proc/self/ns/mnt'),
    linkAt('/proc/self/ns/user'),
  ];
}

/** Writes it, in place: a reader that comes meanwhile finds it locked, or without its first word. */
export function keepReplay(store: Store, replay: Replay, seen: Seen): void {
  try {
    const bytes = finishReplay(replay, seen, capabilityMask(seen.capabilities), factsOf(store, replay.id, seen));
    if (bytes === undefined) return;
    const path = replayFile(store, replay.id, replay.user);
    const held = tryLock(path);
    if (held === undefined) return; // somebody else is about to
    try {
      const fd = openSync(path, 'r+');
      try {
        const word = REPLAY_MAGIC.length;
        pwriteAll(fd, Buffer.alloc(word), 0, word, 0, path);
        pwriteAll(fd, bytes, word, bytes.length, word, path);
        pwriteAll(fd, bytes, 0, word, 0, path);
      } finally {
        closeSync(fd);
      }
    } finally {
      held.release();
    }
  } catch {
    // The container has ended, the disk is full, ...: the next exec starts Node.
  }
}
