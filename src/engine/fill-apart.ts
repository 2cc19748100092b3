/** The copy of its layers that an ordinary user's container gets under the storage driver vfs: its files belong to his subordinate ids, so
 *  root of a user namespace that has them makes it, a tsbox of its own. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { type ErrorCode, TsboxError } from '../errors.ts';
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

/** What the verb tree-fill prints when it fails, as JSON. */
export interface ToldError {
  code: ErrorCode;
  message: string;
  hint?: string | undefined;
}

/** Waits until the tree is made. Whoever makes it has the container's lock too: `rm` waits for it, also when this process was killed.
 *  @throws what was thrown there; then there is no half a copy */
export async function fillApart(store: Store, id: string, held: Lock): Promise<void> {
  const [program = '', ...args] = asNamespaceRoot(ownCommand(store, ['tree-fill', id]));
  await interruptible(async (signal) => {
    const copier = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit', held.descriptor] });
    const stop = () => copier.kill('SIGTERM');
    signal.addEventListener('abort', stop);
    const chunks: Buffer[] = [];
    copier.stdout!.on('data', (chunk: Buffer) => chunks.push(chunk));
    const [code] = await once(copier, 'close');
    signal.throwIfAborted();
    if (code !== 0) throw thrown(Buffer.concat(chunks).toString());
  });
}

/** @param told what the verb tree-fill printed */
function thrown(told: string): TsboxError {
  if (told === '')
    return new TsboxError('ERR_TSBOX_SYSCALL', "copy the container's files: the copy has ended too early");
  const { code, message, hint } = JSON.parse(told) as ToldError;
  return new TsboxError(code, message, hint === undefined ? {} : { hint });
}

/** The part of {@link fillApart} that root of the user namespace does. Interrupted when that ends. */
export async function fillForParent({ store }: Engine, id: string): Promise<void> {
  prctl(PR.PR_SET_PDEATHSIG, SIGNALS.get('TERM')!);
  await makeTree(store, id);
}
