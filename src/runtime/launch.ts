/** Hands a plan to the executor and waits until the command runs. */
import { closeSync, openSync, writeFileSync } from 'node:fs';
import { SyscallError } from '../errors.ts';
import type { Plan, Step } from '../plan/step.ts';
import { encodePlan } from '../plan/wire.ts';
import { requireBuiltFile } from '../sys/built-file.ts';
import { highDescriptor, socketPair, spawnProcess, waitPid } from '../sys/process.ts';
import { readOnlyProgram } from '../sys/program.ts';
import { FAILED, startError } from './failure.ts';
import { type FailedStep, type MonitorClient, monitorClient, type StepDone } from './session.ts';

export interface LaunchOptions {
  /** Where the encoded plan is put before it is run: `<run-root>/<id>/plan`. */
  planFile: string;
  /** Called for each step that the executor has run; asks it to report them. */
  onStep?: (list: readonly Step[], done: StepDone) => void;
  /** Called when a step has failed, before the executor has cleaned up: for what its cleaning may wait for. */
  onFailure?: () => void;
}

export interface Launched {
  client: MonitorClient;
  /** As the host sees it. */
  pid: number;
}

/** @throws ERR_TSBOX_EXECUTOR when it was not built */
export const executorPath = () => requireBuiltFile('tsbox-executor');

function startExecutor(planFile: string): { ours: number; pid: number } {
  const theirs: number[] = [];
  const give = (fd: number): number => {
    const high = highDescriptor(fd);
    theirs.push(high);
    return high;
  };
  let ours: number | undefined;
  try {
    const plan = give(openSync(planFile, 'r'));
    const none = give(openSync('/dev/null', 'r+'));
    const [first, second] = socketPair();
    ours = first;
    const socket = give(second);
    const program = give(readOnlyProgram(executorPath()));
    const pid = spawnProcess({
      path: `/proc/self/fd/${program}`,
      args: ['tsbox-executor', '3'],
      env: [],
      descriptors: [
        [none, 0],
        [none, 1],
        [2, 2],
        [plan, 3],
        [socket, 4],
      ],
    });
    return { ours, pid };
  } catch (error) {
    // What cleans up after it needs descriptors too.
    if (ours !== undefined) closeSync(ours);
    throw error instanceof SyscallError ? Object.assign(error, { exitCode: FAILED }) : error;
  } finally {
    for (const fd of theirs) closeSync(fd);
  }
}

/** Starts the executor on the plan's monitor and cleanup lists (the setup list has been run by then).
 *  @returns once the command has been executed
 *  @throws ERR_TSBOX_START naming the step that failed, when the executor has cleaned up; exit code 127 when the command was not
 *  found, 126 when it could not be executed, 125 otherwise
 *  @throws ERR_TSBOX_EXECUTOR when the executor ended without a word */
export async function launch(plan: Plan, options: LaunchOptions): Promise<Launched> {
  const encoded = encodePlan(plan, { trace: options.onStep !== undefined });
  writeFileSync(options.planFile, encoded.bytes, { mode: 0o600 });
  const { ours, pid: executor } = startExecutor(options.planFile);
  return new Promise((resolve, reject) => {
    let failed: FailedStep | undefined;
    let running = false;
    const client = monitorClient(ours, {
      started(pid) {
        running = true;
        resolve({ client, pid });
      },
      failed(step) {
        failed ??= step;
        options.onFailure?.();
      },
      step(done) {
        options.onStep?.(encoded.lists[done.list] ?? [], done);
      },
      closed() {
        waitPid(executor, false);
        if (running) return;
        reject(startError(encoded.lists, failed));
      },
    });
  });
}
