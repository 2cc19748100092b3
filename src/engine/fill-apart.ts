/** The copy of its layers that an ordinary user's container gets under the storage driver vfs: its files belong to his subordinate ids, so
 *  root of a user namespace that has them makes it, a tsbox of its own. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { type ErrorCode, SyscallError, TsboxError } from '../errors.ts';
import { errnoNumber, errnoOf, errnoOfText } from '../spec/errno.ts';
import { PR } from '../spec/linux.ts';
import { SIGNALS } from '../spec/signals.ts';
import type { Store } from '../store/store.ts';
import type { Lock } from '../sys/lock.ts';
import { asNamespaceRoot } from '../sys/own-ids.ts';
import { prctl } from '../sys/process.ts';
import { makeTree } from './fill-tree.ts';
import { interruptible } from './interrupt.ts';
import type { Engine } from './open.ts';
import { ownCommand } from './own-command.ts';
import { explained } from './rootless.ts';

/** What the verb tree-fill prints when it fails, as JSON. */
export interface ToldError {
  code: ErrorCode;
  message: string;
  hint?: string | undefined;
}

const WHAT = "copy the container's files";

/** Waits until the tree is made. Whoever makes it has the container's lock too: `rm` waits for it, also when this process was killed.
 *  @throws what was thrown there; then there is no half a copy */
export async function fillApart(store: Store, id: string, held: Lock): Promise<void> {
  const [program = '', ...args] = asNamespaceRoot(ownCommand(store, ['tree-fill', id]));
  await interruptible(async (signal) => {
    const copier = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe', held.descriptor] });
    signal.addEventListener('abort', () => copier.kill('SIGTERM'));
    // Without descriptors for them there are no pipes: then there is no process either.
    const [told, said] = [gathered(copier.stdout), gathered(copier.stderr)];
    const [code] = await once(copier, 'close').catch((error) => {
      throw new SyscallError('posix_spawn', `${WHAT}: start ${program}`, errnoOf(errnoNumber(error.code)));
    });
    signal.throwIfAborted();
    if (code !== 0) throw told() === '' ? notStarted(said()) : thrown(JSON.parse(told()));
  });
}

function gathered(stream: Readable | null | undefined): () => string {
  const chunks: Buffer[] = [];
  stream?.on('data', (chunk: Buffer) => chunks.push(chunk));
  return () => Buffer.concat(chunks).toString();
}

function thrown({ code, message, hint }: ToldError): TsboxError {
  return new TsboxError(code, message, hint === undefined ? {} : { hint });
}

/** It did not come to the copy, or was killed. @param said by the programs that lead to it: `tsbox-userns: fork: Resource temporarily unavailable` */
function notStarted(said: string): unknown {
  const line = said.split('\n', 1)[0] ?? '';
  if (line === '') return new TsboxError('ERR_TSBOX_SYSCALL', `${WHAT}: the copy has ended too early`);
  const errno = errnoOfText(line);
  const what = errno === undefined ? line : line.replace(/: [^:]*$/, '');
  return explained(new SyscallError('run', `${WHAT}: ${what}`, errno ?? errnoOf(errnoNumber('EPERM'))));
}

/** The part of {@link fillApart} that root of the user namespace does. Interrupted when that ends. */
export async function fillForParent({ store }: Engine, id: string): Promise<void> {
  prctl(PR.PR_SET_PDEATHSIG, SIGNALS.get('TERM')!);
  await makeTree(store, id);
}
