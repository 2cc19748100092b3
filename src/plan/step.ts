/** Steps and plans: plain data. One step is one system call or one whole-file write, with the reason for it. */
import type { FLAGS, FlagKind, Kind, OPS, OpName } from './ops.ts';
import type { Text } from './text.ts';

type ArgType<K extends Kind> = K extends 'text'
  ? Text
  : K extends 'texts'
    ? readonly Text[]
    : K extends 'int' | 'mode'
      ? number
      : K extends 'mask'
        ? bigint
        : K extends 'ints'
          ? readonly number[]
          : K extends 'bytes'
            ? Uint8Array
            : K extends 'list'
              ? readonly Step[]
              : K extends FlagKind
                ? readonly (keyof (typeof FLAGS)[K]['set'])[]
                : never;

/** skip: go on as if it had worked. retry: try again for up to two seconds, then fail. */
export type OnError = Readonly<Record<string, 'skip' | 'retry'>>;

interface Common {
  /** One sentence for a reader. */
  readonly why: string;
  /** Where to read more, when the operation's own manual page does not say it. */
  readonly see?: string;
  /** What to do on a given errno name; without an entry the list fails. */
  readonly onError?: OnError;
}

export type StepOf<Name extends OpName> = { readonly op: Name } & {
  readonly [Arg in keyof (typeof OPS)[Name]['args']]: (typeof OPS)[Name]['args'][Arg] extends Kind
    ? ArgType<(typeof OPS)[Name]['args'][Arg]>
    : never;
} & Common;

export type Step = { [Name in OpName]: StepOf<Name> }[OpName];

/**
 * setup: on the host, before there is a process; run by TypeScript.
 * monitor: on the host, by the executor's outer half; its `spawn` step names the list that the new process runs.
 * cleanup: on the host, by the monitor, when the first process has ended or could not be started. It goes on after a failed step.
 */
export interface Plan {
  readonly setup: readonly Step[];
  readonly monitor: readonly Step[];
  readonly cleanup: readonly Step[];
}

/** The list that the new process runs: the one under the monitor's `spawn`. */
export function initList(plan: Plan): readonly Step[] {
  const spawn = plan.monitor.find((step) => step.op === 'spawn');
  return spawn?.list ?? [];
}
