/**
 * The plan of `exec`, compiled and kept: `tsbox-replay` (native-bindings/replay/) fills in what differs from one exec to the next and
 * hands it to the executor, without Node. Pure. A line each, then the bytes of both plans:
 *
 *   TSBXEXEC 2
 *   container ID
 *   name NAME                              without its slash
 *   id EXEC-ID                             64 digits: wherever they stand in the plans and in the event, others are filled in
 *   user USER                              as it was asked for; empty for the container's own
 *   home last                              HOME is the last variable, and stays behind those that are added; or `home given`
 *   executor PATH
 *   events PATH                            the journal
 *   event TEXT                             what stands in a line of it before the action
 *   event TEXT                             and between the action and the time
 *   bounding MASK                          the caller's bounding set, hexadecimal
 *   same DEV INODE SIZE MTIME CTIME PATH   what the plan was compiled from; times in nanoseconds; symlinks are not followed
 *   absent PATH
 *   link TEXT PATH                         what a symlink says
 *   plan BYTES PLACES
 *   terminal BYTES PLACES                  the plan of a command with a terminal
 *
 * PLACES are where in the bytes the step `chdir` begins, and its path; where the step `exec` begins, its words and its variables; the `stdin`
 * of the step `stdio`, and with a terminal the rows of the step `pty`, which columns follow.
 */
import { eventPieces } from '../spec/events.ts';
import type { EventPlace } from './monitor.ts';
import type { Plan } from './step.ts';
import { encodePlan, type Places } from './wire.ts';

export const REPLAY_MAGIC = 'TSBXEXEC';
const VERSION = 2;

/** Something that must be as it was, or the plan counts for nothing. */
export type Fact =
  | { kind: 'same'; path: string; dev: bigint; ino: bigint; size: bigint; mtimeNs: bigint; ctimeNs: bigint }
  | { kind: 'absent'; path: string }
  | { kind: 'link'; path: string; text: string };

/** What does not change while the container runs. */
export interface ReplayInput {
  id: string;
  name: string;
  execID: string;
  executor: string;
  /** Those of its `exec_create`, `execID` among the attributes. */
  events: EventPlace;
  /** As it was asked for; empty for the container's own. */
  user: string;
  /** Is HOME the last variable, which nobody has set? */
  homeIsLast: boolean;
  /** Its command is empty, its standard input STDIN_NULL; whose namespaces it joins may be open yet. */
  plan: Plan;
  /** The same for a command with a terminal, of no size. */
  terminal: Plan;
}

/** Encoded, and where in the bytes is what. */
interface Form {
  readonly bytes: Buffer;
  readonly places: ReadonlyMap<string, number>;
}

/** Encoded as far as it can be before the container runs. */
export interface Replay {
  readonly id: string;
  readonly user: string;
  readonly head: readonly string[];
  readonly plan: Form;
  readonly terminal: Form;
}

function factLine(fact: Fact): string {
  if (fact.kind === 'absent') return `absent ${fact.path}`;
  if (fact.kind === 'link') return `link ${fact.text} ${fact.path}`;
  const { dev, ino, size, mtimeNs, ctimeNs, path } = fact;
  return `same ${dev} ${ino} ${size} ${mtimeNs} ${ctimeNs} ${path}`;
}

function placeOf(places: ReadonlyMap<string, number>, name: string): number {
  const at = places.get(name);
  if (at === undefined) throw new Error(`the plan of an exec has no ${name}`);
  return at;
}

function encode(plan: Plan): Form {
  const places: Places = new Map();
  return { bytes: encodePlan(plan, { places }).bytes, places };
}

function formLine(word: string, { bytes, places }: Form, last: string): string {
  const names = ['chdir', 'chdir.path', 'exec', 'exec.args', 'exec.env', last];
  return [word, bytes.length, ...names.map((name) => placeOf(places, name))].join(' ');
}

/** Encodes them. Pure, and nothing of it depends on the process that is joined. */
export function beginReplay(input: ReplayInput): Replay {
  const { id, user, name, execID, executor, events } = input;
  const head = [
    `${REPLAY_MAGIC} ${VERSION}`,
    `container ${id}`,
    `name ${name}`,
    `id ${execID}`,
    `user ${user}`,
    `home ${input.homeIsLast ? 'last' : 'given'}`,
    `executor ${executor}`,
    `events ${events.path}`,
    ...eventPieces(events).map((piece) => `event ${piece}`),
  ];
  return { id, user, head, plan: encode(input.plan), terminal: encode(input.terminal) };
}

/** @throws Error (a bug) when the plans are not those of `exec`
 *  @param run whose namespaces are joined: the container's first process and its monitor
 *  @param bounding the caller's bounding set
 *  @returns undefined when it cannot be written down: a path has a line feed in it */
export function finishReplay(
  { head, plan, terminal }: Replay,
  run: { pid: number; monitor: number },
  bounding: bigint,
  facts: readonly Fact[],
): Buffer | undefined {
  for (const { bytes, places } of [plan, terminal]) {
    bytes.writeBigInt64LE(BigInt(run.pid), placeOf(places, 'join.pid') + 1);
    bytes.writeBigInt64LE(BigInt(run.monitor), placeOf(places, 'join.parent') + 1);
  }
  const forms = [formLine('plan', plan, 'stdio.stdin'), formLine('terminal', terminal, 'pty.rows')];
  const lines = [...head, `bounding ${bounding.toString(16)}`, ...facts.map(factLine), ...forms];
  if (lines.some((line) => /[\n\0]/.test(line))) return undefined;
  return Buffer.concat([Buffer.from(`${lines.join('\n')}\n`), plan.bytes, terminal.bytes]);
}
