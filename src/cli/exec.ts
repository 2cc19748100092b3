/** `tsbox exec` */

import type { ExecRequest } from '../engine/api.ts';
import { TsboxError } from '../errors.ts';
import { type FlagTable, type FlagValues, UsageError } from './args.ts';
import { command } from './command.ts';
import { environment } from './container-flags.ts';
import { DETACH_KEYS_FLAG } from './container-life.ts';
import { parseDetachKeys } from './detach.ts';
import { fileLines, LIFE_FLAGS } from './life-flags.ts';

export const EXEC_FLAGS = {
  ...DETACH_KEYS_FLAG,
  detach: { kind: 'bool', short: 'd', help: 'Leave the command running' },
  env: { kind: 'list', short: 'e', help: "Set an environment variable (NAME=value, or NAME for the caller's own)" },
  'env-file': LIFE_FLAGS['env-file'],
  interactive: { kind: 'bool', short: 'i', help: 'Keep standard input open' },
  privileged: { kind: 'bool', help: 'Give the command all capabilities' },
  tty: { kind: 'bool', short: 't', help: 'Give the command a terminal' },
  user: { kind: 'string', short: 'u', help: 'User, and group if wanted: name|uid[:group|gid]' },
  workdir: { kind: 'string', short: 'w', help: 'Working directory in the container' },
} as const satisfies FlagTable;

/** What flags and words ask for; of a terminal's size they know nothing. */
export function execRequest(
  flags: FlagValues<typeof EXEC_FLAGS>,
  container: string,
  words: readonly string[],
): ExecRequest {
  return {
    container,
    command: words,
    // As for a container: files count before what was given by itself.
    env: [...flags['env-file'].flatMap(linesOf), ...environment(flags.env)],
    tty: flags.tty,
    openStdin: flags.interactive,
    detach: flags.detach,
    privileged: flags.privileged,
    ...(flags.workdir !== undefined && { workdir: flags.workdir }),
    ...(flags.user !== undefined && { user: flags.user }),
  };
}

export const verb = command({
  usage: '[OPTIONS] CONTAINER COMMAND [ARG...]',
  summary: 'Run a command in a container that is running',
  count: [2, Number.POSITIVE_INFINITY],
  stopAtArgument: true,
  failure: 1,
  flags: EXEC_FLAGS,
  async run(context, flags, [container, ...words]) {
    const attachment = {
      tty: flags.tty,
      stdin: flags.interactive && !flags.detach,
      detachKeys: parseDetachKeys(flags['detach-keys']),
      sigProxy: true,
      staysAttached: true,
    };
    const { attend, catchSignals, checkTerminal, terminalSize } = await import('./attached.ts');
    checkTerminal(attachment);
    const size = flags.tty && !flags.detach ? terminalSize() : undefined;
    const engine = await context.engine();
    const { execContainer } = await import('../engine/exec.ts');
    const request = { ...execRequest(flags, container!, words), ...(size !== undefined && { size }) };
    if (flags.detach) {
      (await starting(true, execContainer(engine, request))).detach();
      return 0;
    }
    const signals = catchSignals(attachment);
    const session = await starting(false, execContainer(engine, request));
    return attend(session, attachment, signals, async (signal) => {
      process.kill(session.pid(), signal);
    });
  },
});

/** As Docker: what cannot be started ends with 126, also where `run` would say 125, and with 1 where nobody waits for its end. */
export async function starting<T>(detached: boolean, start: Promise<T>): Promise<T> {
  try {
    return await start;
  } catch (error) {
    if (!(error instanceof TsboxError) || error.exitCode === undefined || error.exitCode === 1) throw error;
    throw Object.assign(error, { exitCode: detached ? 1 : error.exitCode === 125 ? 126 : error.exitCode });
  }
}

/** @throws TsboxError in Docker's words, and with its exit code: not that of a flag */
function linesOf(path: string): string[] {
  try {
    return fileLines(path, process.env);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    throw new TsboxError('ERR_TSBOX_USAGE', error.message, { exitCode: 1, cause: error });
  }
}
