/** What an earlier run has left, for those who have nothing to clean up as a rule: so it is loaded late. */
import type { Engine } from './open.ts';

/** For who holds the container's lock: processes, cgroups, mounts and the run directory go. @throws SyscallError */
export async function cleanUp(engine: Engine, id: string): Promise<void> {
  const { cleanLeftovers } = await import('./remove.ts');
  await cleanLeftovers(engine, id);
}
