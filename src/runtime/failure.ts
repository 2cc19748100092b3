/** From the executor's report of a failed step to an error for a person. Pure. */
import { SyscallError, TsboxError } from '../errors.ts';
import { callText } from '../plan/explain.ts';
import type { Step, StepOf } from '../plan/step.ts';
import { show } from '../plan/text.ts';
import { errnoOf } from '../spec/errno.ts';
import type { FailedStep } from './session.ts';

const [ENOENT, ENOTDIR, ENOEXEC, ENOTCONN] = [2, 20, 8, 107];

/** ENOTCONN of a file. */
export const UNSERVED_HINT =
  'The process that served the files of the container has ended (storage driver fuse). What was written is kept: "tsbox restart" mounts it again.';

/** Exit codes as shells and Docker give them. */
const [NOT_FOUND, NOT_EXECUTABLE] = [127, 126];
/** Of what could not be started. */
export const FAILED = 125;

function execError(step: StepOf<'exec'>, errno: number): TsboxError {
  const command = show(step.args[0] ?? '');
  const { name, text } = errnoOf(errno);
  const missing = errno === ENOENT || errno === ENOTDIR;
  const reason = missing && !command.includes('/') ? 'executable file not found in $PATH: ' : '';
  const details: { exitCode: number; hint?: string } = { exitCode: missing ? NOT_FOUND : NOT_EXECUTABLE };
  if (missing && command.includes('/')) {
    details.hint =
      'If the file is there, the interpreter that its first line names, or its dynamic loader, is missing in the image.';
  }
  if (errno === ENOEXEC)
    details.hint = 'The file is built for another architecture, or a script lacks its first line (#!/bin/sh).';
  if (errno === ENOTCONN) details.hint = UNSERVED_HINT;
  return new TsboxError('ERR_TSBOX_START', `exec ${JSON.stringify(command)}: ${reason}${name} (${text})`, details);
}

/** The error behind a `failed` frame. */
export function stepError(step: Step | undefined, failed: FailedStep): TsboxError {
  if (step === undefined || failed.errno === 0) {
    const detail = failed.detail ?? 'it was killed';
    return new TsboxError('ERR_TSBOX_START', `start the container: ${detail}`, { exitCode: FAILED });
  }
  if (step.op === 'exec') return execError(step, failed.errno);
  const what = failed.detail === undefined ? callText(step) : `${callText(step)}: ${failed.detail}`;
  return new SyscallError(step.op, `start the container: ${what}`, errnoOf(failed.errno), { exitCode: FAILED });
}

/** The error behind what a client was told before the command ran. @param lists as the plan was encoded */
export function startError(lists: readonly (readonly Step[])[], failed: FailedStep | undefined): TsboxError {
  const list = lists[failed?.list ?? -1];
  if (failed !== undefined && list !== undefined) return stepError(list[failed.index], failed);
  return new TsboxError('ERR_TSBOX_EXECUTOR', 'the executor ended before the command was started');
}
