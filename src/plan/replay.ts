/**
 * The plan of `exec`, compiled and kept: `tsbox-replay` (native-bindings/replay/) fills in what differs from one exec to the next and
 * hands it to the executor, without Node. Pure. A line each, then the bytes of the plan:
 *
 *   TSBXEXEC 1
 *   container ID
 *   name NAME                              without its slash
 *   id EXEC-ID                             64 digits: wherever they stand in the plan and in the event, others are filled in
 *   places STEP WORDS STDIN                where in the plan the step `exec` begins, its words, and the `stdin` of the step `stdio`
 *   executor PATH
 *   events PATH                            the journal
 *   event TEXT                             what stands in a line of it before the action
 *   event TEXT                             and between the action and the time
 *   bounding MASK                          the caller's bounding set, hexadecimal
 *   same DEV INODE SIZE MTIME CTIME PATH   what the plan was compiled from; times in nanoseconds; symlinks are not followed
 *   absent PATH
 *   link TEXT PATH                         what a symlink says
 *   plan BYTES
 */
import { eventPieces } from '../spec/events.ts';
import type { EventPlace } from './monitor.ts';
import type { Plan } from './step.ts';
import { encodePlan, type Places } from './wire.ts';

export const REPLAY_MAGIC = 'TSBXEXEC';
const VERSION = 1;

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
  /** Its command is empty, its standard input STDIN_NULL; whose namespaces it joins may be open yet. */
  plan: Plan;
}

/** Encoded as far as it can be before the container runs. */
export interface Replay {
  readonly id: string;
  readonly head: readonly string[];
  readonly bytes: Buffer;
  readonly places: ReadonlyMap<string, number>;
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

/** @throws Error (a bug) when the plan is not one of `exec` without a terminal */
export function beginReplay({ id, name, execID, executor, events, plan }: ReplayInput): Replay {
  const places: Places = new Map();
  const { bytes } = encodePlan(plan, { places });
  const [step, words, stdin] = ['exec', 'exec.args', 'stdio.stdin'].map((one) => placeOf(places, one));
  const head = [
    `${REPLAY_MAGIC} ${VERSION}`,
    `container ${id}`,
    `name ${name}`,
    `id ${execID}`,
    `places ${step} ${words} ${stdin}`,
    `executor ${executor}`,
    `events ${events.path}`,
    ...eventPieces(events).map((piece) => `event ${piece}`),
  ];
  return { id, head, bytes, places };
}

/** @param run whose namespaces are joined: the container's first process and its monitor
 *  @param bounding the caller's bounding set
 *  @returns undefined when it cannot be written down: a path has a line feed in it */
export function finishReplay(
  { head, bytes, places }: Replay,
  run: { pid: number; monitor: number },
  bounding: bigint,
  facts: readonly Fact[],
): Buffer | undefined {
  const integer = (name: string, value: number) => void bytes.writeBigInt64LE(BigInt(value), placeOf(places, name) + 1);
  integer('join.pid', run.pid);
  integer('join.parent', run.monitor);
  const lines = [...head, `bounding ${bounding.toString(16)}`, ...facts.map(factLine), `plan ${bytes.length}`];
  if (lines.some((line) => /[\n\0]/.test(line))) return undefined;
  return Buffer.concat([Buffer.from(`${lines.join('\n')}\n`), bytes]);
}
