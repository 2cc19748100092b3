/** All flags of `create`, which `run` has too, and what they ask of the engine together. */
import type { ContainerRequest } from '../engine/api.ts';
import type { FlagTable, FlagValues } from './args.ts';
import { CONTAINER_FLAGS, containerRequest } from './container-flags.ts';
import { ISOLATION_FLAGS, withIsolation } from './isolation-flags.ts';
import { LIFE_FLAGS, withLife } from './life-flags.ts';
import { NETWORK_FLAGS, withNetwork } from './network-flags.ts';
import { DRY_RUN_FLAG } from './plan-flags.ts';
import { PORT_FLAGS, withPorts } from './port-flags.ts';
import { RESOURCE_FLAGS, withResources } from './resource-flags.ts';
import { VOLUME_FLAGS, withVolumes } from './volume-flags.ts';

export const CREATE_FLAGS = {
  ...CONTAINER_FLAGS,
  ...ISOLATION_FLAGS,
  ...LIFE_FLAGS,
  ...NETWORK_FLAGS,
  ...PORT_FLAGS,
  ...RESOURCE_FLAGS,
  ...VOLUME_FLAGS,
  ...DRY_RUN_FLAG,
} as const satisfies FlagTable;

/** @param attached as for `containerRequest` @throws UsageError on a value that is none */
export async function requestOf(
  flags: FlagValues<typeof CREATE_FLAGS>,
  args: readonly string[],
  attached: boolean,
): Promise<ContainerRequest> {
  const asked = await withVolumes(withLife(containerRequest(flags, args, attached), flags), flags);
  const isolated = await withIsolation(asked, flags);
  return withResources(await withPorts(await withNetwork(isolated, flags), flags), flags);
}
