/** `tsbox start` */
import type { Session } from '../engine/api.ts';
import { TsboxError } from '../errors.ts';
import { UsageError } from './args.ts';
import { type Context, command } from './command.ts';
import { DETACH_KEYS_FLAG, serve } from './container-life.ts';
import { parseDetachKeys } from './detach.ts';
import { forEach } from './each.ts';
import { complain } from './output.ts';
import { checkFormat, EXPLAIN_FLAGS, explainer } from './plan-flags.ts';

export const verb = command({
  usage: '[OPTIONS] CONTAINER [CONTAINER...]',
  summary: 'Start one or more containers',
  count: [1, Number.POSITIVE_INFINITY],
  flags: {
    ...DETACH_KEYS_FLAG,
    ...EXPLAIN_FLAGS,
    attach: { kind: 'bool', short: 'a', help: 'Show the output and send signals on' },
    interactive: { kind: 'bool', short: 'i', help: "Our standard input is the container's" },
  },
  unsupported: 'checkpoint checkpoint-dir',
  async run(context, flags, names) {
    checkFormat(flags);
    const engine = await context.engine();
    const { startContainer, startDetached } = await import('../engine/start.ts');
    const options = await explainer(flags);
    if (!flags.attach && !flags.interactive) {
      const failed: string[] = [];
      const code = await forEach(names, async (name) => {
        failed.push(name);
        await startDetached(engine, name, options);
        failed.pop();
        return `${name}\n`;
      });
      if (failed.length > 0) complain(`tsbox: failed to start containers: ${failed.join(', ')}\n`);
      return code;
    }
    if (names.length > 1) throw new UsageError('you cannot start and attach multiple containers at once', 1);
    const start = async (size?: { rows: number; columns: number }) => {
      try {
        return await startContainer(engine, names[0]!, {
          ...options,
          attach: true,
          stdin: flags.interactive,
          ...(size !== undefined && { size }),
        });
      } catch (error) {
        // As Docker: not with the exit code that `run` would have.
        throw error instanceof TsboxError ? Object.assign(error, { exitCode: 1 }) : error;
      }
    };
    return attachAs(context, names[0]!, { stdin: flags.interactive, keys: flags['detach-keys'], proxy: true }, start);
  },
});

/** Attaches in the way that the container was made for: with a terminal or without.
 *  @param open starts the container or connects to it
 *  @returns the exit code */
export async function attachAs(
  context: Context,
  name: string,
  wanted: { stdin: boolean; keys: string; proxy: boolean; staysAttached?: boolean },
  open: (size?: { rows: number; columns: number }) => Promise<Session>,
): Promise<number> {
  const { inspectObject } = await import('../engine/inspect.ts');
  const { object } = inspectObject(await context.engine(), name, { type: 'container' });
  const { Config } = object as { Config: { Tty: boolean; OpenStdin: boolean } };
  const attachment = {
    tty: Config.Tty,
    stdin: wanted.stdin && Config.OpenStdin,
    detachKeys: parseDetachKeys(wanted.keys),
    sigProxy: wanted.proxy,
    staysAttached: wanted.staysAttached === true,
  };
  const { catchSignals, checkTerminal, terminalSize } = await import('./attached.ts');
  checkTerminal(attachment);
  const size = attachment.tty ? terminalSize() : undefined;
  const signals = catchSignals(attachment);
  const session = await open(size);
  if (size !== undefined) session.resize(size);
  return serve(context, session, attachment, signals);
}
