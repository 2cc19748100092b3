/** The executor's outer half: what it opens before it starts the container, and what it leaves on record. Pure. @see docs/monitor.md */
import type { STDIN } from '../spec/linux.ts';
import type { Step } from './step.ts';
import { hole, type Text, text } from './text.ts';

export interface MonitorInput {
  /** `<run-root>/<id>`: lock, socket, state; removed at the end. */
  runDirectory: string;
  /** Docker's json-file; absent when nothing is to be kept. */
  log?: { path: string; maxSize: number; maxFiles: number };
  /** Absent when the process has a terminal. */
  stdin?: keyof typeof STDIN;
  /** Where the exit code is left for whoever comes later; absent for an exec. */
  exitRecord?: string;
}

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
    const { path, maxSize, maxFiles } = log;
    steps.push({ op: 'log', path, maxSize, maxFiles, why: 'what the container writes is kept here' });
  }
  if (stdin !== undefined) steps.push({ op: 'stdio', stdin: [stdin], why: 'standard output and error, kept apart' });
  steps.push(...birth);
  steps.push({ op: 'spawn', list: init, why: 'the new process goes its own way, through the list below' });
  const state = text`{"Pid":${hole('pid')},"Monitor":${hole('monitor')},"StartedAt":"${hole('now')}"}\n`;
  steps.push(...record(`${run}/state.json`, state, 'who is there since when'));
  return steps;
}

/** The end of the cleanup list. */
export function monitorCleanup(input: MonitorInput): Step[] {
  const { runDirectory: run, exitRecord } = input;
  const exit = text`{"Pid":${hole('pid')},"ExitCode":${hole('exit')},"FinishedAt":"${hole('now')}"}\n`;
  return [
    ...(exitRecord === undefined ? [] : record(exitRecord, exit, 'how it ended, for whoever asks later')),
    {
      op: 'remove_tree',
      path: run,
      why: 'nothing of a container that has ended stays in the run root',
      onError: { ENOENT: 'skip' },
    },
  ];
}
