/** A container's files belong to ids of its user namespace: an ordinary user works on them as root of that. */
import { requireContainer } from '../store/containers.ts';
import { containerState } from '../store/state.ts';
import type { Engine } from './open.ts';

/** For root nothing. An ordinary user's process starts anew, with the same command line, as root of the user namespace of the container,
 *  or of one of the same ids when it does not run; then it does not come back. */
export async function asOwnerOf({ store, options }: Engine, container: string): Promise<void> {
  if (process.geteuid?.() === 0) return;
  const record = requireContainer(store, container);
  const { enterUserNamespace } = await import('./rootless.ts');
  const { Pid: pid } = containerState(store, record);
  enterUserNamespace(options, pid > 0 ? pid : undefined);
}
