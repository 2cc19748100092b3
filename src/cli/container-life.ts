/** What the verbs that make, start and attach to containers have in common. */
import { closeSync, openSync, rmSync, writeSync } from 'node:fs';
import type { ContainerRequest, Session } from '../engine/api.ts';
import { TsboxError } from '../errors.ts';
import type { FlagTable } from './args.ts';
import type { Attachment, Signals } from './attached.ts';
import type { Context } from './command.ts';
import { DEFAULT_DETACH_KEYS } from './detach.ts';
import { lazyProgress } from './lazy-progress.ts';
import { complain, print } from './output.ts';

export const DETACH_KEYS_FLAG = {
  'detach-keys': { kind: 'string', default: DEFAULT_DETACH_KEYS, help: 'Keys that leave the container running' },
} as const satisfies FlagTable;

export const SIG_PROXY_FLAG = {
  'sig-proxy': { kind: 'bool', default: true, help: 'Send the signals that tsbox gets to the process' },
} as const satisfies FlagTable;

/** Creates the container; a pull shows its progress on standard error.
 *  @returns the container's id, written to `--cidfile` too
 *  @throws as createContainer does; then there is no cidfile */
export async function createFromFlags(
  context: Context,
  request: ContainerRequest,
  flags: { cidfile: string | undefined; quiet: boolean },
): Promise<string> {
  const engine = await context.engine();
  const { createContainer } = await import('../engine/create.ts');
  const cidfile = flags.cidfile ? openCidfile(flags.cidfile) : undefined;
  const progress = lazyProgress(2, flags.quiet);
  try {
    const { id, warnings } = await createContainer(engine, request, progress.update);
    await progress.finish();
    for (const warning of warnings) complain(`WARNING: ${warning}\n`);
    if (cidfile !== undefined) writeSync(cidfile, id);
    return id;
  } catch (error) {
    await progress.finish();
    if (flags.cidfile) rmSync(flags.cidfile, { force: true });
    throw error;
  } finally {
    if (cidfile !== undefined) closeSync(cidfile);
  }
}

/** Before the container is made, so that nothing is made when the file cannot be written. */
function openCidfile(path: string): number {
  try {
    return openSync(path, 'wx');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    throw new TsboxError(
      'ERR_TSBOX_CONFLICT',
      `container ID file found, make sure the other container isn't running or delete ${path}`,
      {
        hint: 'Another container may be using it. Remove the file, or give another name.',
      },
    );
  }
}

/** `--dry-run`. @returns the exit code */
export async function printPlan(
  context: Context,
  request: ContainerRequest,
  flags: { format: string | undefined; quiet: boolean },
): Promise<number> {
  const engine = await context.engine();
  const { previewContainer } = await import('../engine/create.ts');
  const progress = lazyProgress(2, flags.quiet);
  const { plan } = await previewContainer(engine, request, progress.update);
  await progress.finish();
  const { planText } = await import('./explain.ts');
  print(planText(plan, flags.format === 'json'));
  return 0;
}

/** Attends a container's own session; signals go to its first process. @returns the exit code */
export async function serve(
  context: Context,
  session: Session,
  attachment: Attachment,
  signals: Signals,
): Promise<number> {
  const { attend } = await import('./attached.ts');
  return attend(session, attachment, signals, async (signal) => {
    const { killContainer } = await import('../engine/stop.ts');
    killContainer(await context.engine(), session.id, signal);
  });
}
