/** The flags that show the plan, and what they print. */
import type { StepEvent } from '../engine/api.ts';
import { FLAG_ERROR, type FlagTable, UsageError } from './args.ts';

export const EXPLAIN_FLAGS = {
  explain: { kind: 'bool', help: 'Print each step of the plan as it is run' },
  format: { kind: 'string', help: "With --explain or --dry-run: 'json' for the plan as JSON" },
} as const satisfies FlagTable;

export const DRY_RUN_FLAG = {
  'dry-run': { kind: 'bool', help: 'Print the plan and change nothing' },
} as const satisfies FlagTable;

/** @throws UsageError when `--format` is none, or says how to print a plan that was not asked for */
export function checkFormat(flags: { format: string | undefined; explain?: boolean; 'dry-run'?: boolean }): void {
  if (flags.format === undefined) return;
  if (flags.format !== 'json') {
    throw new UsageError(`invalid argument ${JSON.stringify(flags.format)} for "--format" flag: not json`, FLAG_ERROR);
  }
  if (flags.explain !== true && flags['dry-run'] !== true) {
    throw new UsageError('--format is about the plan: it needs --explain or --dry-run', FLAG_ERROR);
  }
}

/** What to do with each step as it is run; nothing when `--explain` was not asked for. */
export async function explainer(flags: {
  format: string | undefined;
  explain: boolean;
}): Promise<{ explain?: (event: StepEvent) => void }> {
  if (!flags.explain) return {};
  const { explainAsRun } = await import('./explain.ts');
  return { explain: explainAsRun(flags.format === 'json') };
}
