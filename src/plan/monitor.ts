/** The executor's outer half: what it opens before it starts the container, and what it leaves on record. Pure. @see docs/monitor.md */
import type { STDIN } from '../spec/linux.ts';
import type { Step, StepOf } from './step.ts';
import { hole, type Text, text } from './text.ts';

export interface MonitorInput {
  /** `<run-root>/<id>`: lock, socket, state; removed at the end. */
  runDirectory: string;
  /** Docker's json-file; absent when nothing is to be kept. */
  log?: {
    path: string;
    maxSize: number;
    maxFiles: number;
    attrs: string;
    format: string;
    compress: boolean;
    buffer: number;
  };
  /** Absent when the process has a terminal. */
  stdin?: keyof typeof STDIN;
  /** Where the exit code is left for whoever comes later, at first and on the disk; absent for one that is removed then. */
  exitRecord?: { first: string; kept: string };
  /** Where and how start and end are told to whoever follows the events. */
  events?: EventPlace;
  /** What is told of each volume when the container has ended. */
  volumes?: readonly EventPlace[];
  /** The container is removed with its end. */
  removes?: boolean;
  /** What goes on in the monitor's place when the container has ended and SUCCESSOR_FILE is there. */
  successor?: readonly string[];
  /** A program that is started every so many milliseconds while the container runs; `early` of them in the first `until`, 0 for none. */
  repeat?: { every: number; early: number; until: number; args: readonly string[] };
  /** What comes after that record, unless something goes on. */
  end?: readonly Step[];
}

/** The journal of events, and what it says of a container or volume with each. */
export interface EventPlace {
  type: 'container' | 'volume';
  path: string;
  id: string;
  attributes: Readonly<Record<string, string>>;
}

/** Adds an event to the journal, as src/spec/events.ts reads it.
 *  @param exit whether the exit code is told */
export function eventStep(
  { type, path, id, attributes }: EventPlace,
  action: string,
  exit: 'exit' | 'none',
): StepOf<'write'> {
  const json = JSON.stringify({ type, action, id, attributes });
  const [head, tail] = [json.slice(0, -2), json.slice(-2, -1)];
  const comma = Object.keys(attributes).length > 0 ? ',' : '';
  const code = exit === 'exit' ? text`${comma}"exitCode":"${hole('exit')}"` : '';
  return {
    op: 'write',
    path,
    data: text`${head}${code}${tail},"time":"${hole('now')}"}\n`,
    flags: ['O_CREAT', 'O_APPEND'],
    mode: 0o600,
    why: 'whoever follows the events is told',
    onError: { ENOENT: 'skip', ENOSPC: 'skip', EDQUOT: 'skip', EROFS: 'skip', EACCES: 'skip', EISDIR: 'skip' },
  };
}

/** In the run directory; its being there means that the container's end is not the end. What is in it is for the successor. */
export const SUCCESSOR_FILE = 'successor.json';
/** Its name once the successor is in charge. */
export const FOLLOWED_FILE = 'followed.json';

const GONE = { ENOENT: 'skip' } as const;

/** A whole file that is never seen half: written beside its place, then renamed. */
function record(path: string, data: Text, why: string): Step[] {
  const half = `${path}.new`;
  return [
    { op: 'write', path: half, data, flags: ['O_CREAT', 'O_TRUNC'], mode: 0o644, why },
    { op: 'rename', from: half, to: path, why: 'seen whole or not at all' },
  ];
}

/** List 0: what comes before and just after the new process. `birth` says where that is born. */
export function monitorSteps(input: MonitorInput, birth: readonly Step[], init: readonly Step[]): Step[] {
  const { runDirectory: run, log, stdin } = input;
  const steps: Step[] = [
    { op: 'setsid', why: 'the monitor outlives the terminal that it was started from' },
    { op: 'flock', path: `${run}/lock`, why: 'held while the monitor lives: so others know' },
    { op: 'listen', path: `${run}/attach.sock`, why: 'attach, wait and resize come in here' },
  ];
  if (log !== undefined) {
    const compress = log.compress ? 1 : 0;
    steps.push({ op: 'log', ...log, compress, why: 'what the container writes is kept here' });
  }
  if (stdin !== undefined) steps.push({ op: 'stdio', stdin: [stdin], why: 'standard output and error, kept apart' });
  steps.push(...birth);
  steps.push({ op: 'spawn', list: init, why: 'the new process goes its own way, through the list below' });
  const state = text`{"Pid":${hole('pid')},"Monitor":${hole('monitor')},"StartedAt":"${hole('now')}"}\n`;
  steps.push(...record(`${run}/state.json`, state, 'who is there since when'));
  if (input.repeat !== undefined) {
    const { args } = input.repeat;
    steps.push({ op: 'repeat', ...input.repeat, args: [...args], why: 'is the container healthy?' });
  }
  if (input.events !== undefined) steps.push(eventStep(input.events, 'start', 'none'));
  return steps;
}

/** The end of the cleanup list. */
export function monitorCleanup(input: MonitorInput): Step[] {
  const { runDirectory: run, exitRecord, events, volumes = [], successor, end = [] } = input;
  return [
    ...(exitRecord === undefined ? [] : exitSteps(exitRecord)),
    ...(events === undefined ? [] : [eventStep(events, 'die', 'exit')]),
    ...volumes.map((volume) => eventStep(volume, 'unmount', 'none')),
    ...(successor === undefined ? [] : succession(run, successor)),
    ...end,
    {
      op: 'remove_tree',
      path: run,
      why: 'nothing of a container that has ended stays in the run root',
      onError: GONE,
    },
    ...(events !== undefined && input.removes === true ? [eventStep(events, 'destroy', 'none')] : []),
  ];
}

/** First in the run root, which can be written as long as there is a container; it stays there when the disk is full or has become read-only.
 *  Nobody reads it before the steps that follow, or before the monitor's lock is free: that one need not come all at once. */
function exitSteps({ first, kept }: NonNullable<MonitorInput['exitRecord']>): Step[] {
  const data = text`{"Pid":${hole('pid')},"ExitCode":${hole('exit')},"FinishedAt":"${hole('now')}"}\n`;
  const half = `${kept}.new`;
  const list: Step[] = [
    { op: 'copy', from: first, to: half, why: 'how it ended, where a reboot does not take it away' },
    { op: 'rename', from: half, to: kept, why: 'seen whole or not at all' },
    { op: 'unlink', path: first, why: 'it is on the disk' },
  ];
  const flags = ['O_CREAT', 'O_TRUNC'] as const;
  return [
    { op: 'write', path: first, data, flags, mode: 0o644, why: 'how it ended, for whoever asks later' },
    { op: 'together', list, why: 'what cannot be written to the disk stays where it is' },
  ];
}

function succession(run: string, args: readonly string[]): Step[] {
  return [
    { op: 'unlink', path: `${run}/state.json`, why: 'nobody is there any more', onError: GONE },
    {
      op: 'become',
      from: `${run}/${SUCCESSOR_FILE}`,
      to: `${run}/${FOLLOWED_FILE}`,
      args: [...args],
      why: 'tsbox goes on here, if there is a restart policy or the like; the steps below are not for that',
      onError: GONE,
    },
  ];
}
