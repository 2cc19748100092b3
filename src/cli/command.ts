/** What a verb is: its grammar, its help, and the function that does it. */
import type { EngineOptions } from '../engine/api.ts';
import type { Engine } from '../engine/open.ts';
import type { FlagTable, FlagValues, Grammar } from './args.ts';

/** What a verb gets from the command line in front of it. */
export interface Context {
  /** Opens the engine when it is first asked for; help and wrong flags never do. */
  engine(): Promise<Engine>;
  /** What it would be opened with. */
  options(): Promise<EngineOptions>;
}

export interface Command<T extends FlagTable = FlagTable> extends Grammar<T> {
  /** What follows the verb in the usage line: `[OPTIONS] IMAGE [COMMAND] [ARG...]`. */
  readonly usage: string;
  /** One line, without a period. */
  readonly summary: string;
  /** How many arguments, at least and at most. */
  readonly count: readonly [number, number];
  /** Exit code for an error that has none of its own. 1 when absent. */
  readonly failure?: number;
  /** Without root it is run as root of a user namespace of the caller's: files get, or have, other owners than he is. */
  readonly ownsFiles?: boolean | ((flags: FlagValues<T>) => boolean);
  /** @returns the exit code */
  run(context: Context, flags: FlagValues<T>, args: string[]): Promise<number>;
}

/** A command whose handler sees its flags with their own types; for everyone else they are only flags. */
export function command<const T extends FlagTable>(definition: Command<T>): Command {
  return definition as unknown as Command;
}
