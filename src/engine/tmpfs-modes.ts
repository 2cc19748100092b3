/** A tmpfs has the mode of the directory that it covers, unless another was asked for; as runc does. */
import type { OciConfig, OciMount } from '../spec/oci-runtime.ts';
import { type Stack, statInStack } from '../store/lookup.ts';

/** Does one of the other mounts hold the place? Then the image does not say what is there. */
function isBelow(mounts: readonly OciMount[], { destination }: OciMount): boolean {
  return mounts.some((other) => other.destination !== destination && destination.startsWith(`${other.destination}/`));
}

/** The configuration with the modes. */
export function withTmpfsModes(config: OciConfig, stack: Stack): OciConfig {
  const mounts = config.mounts ?? [];
  const withMode = (mount: OciMount): OciMount => {
    const { type, options = [] } = mount;
    if (type !== 'tmpfs' || options.some((one) => one.startsWith('mode=')) || isBelow(mounts, mount)) return mount;
    const stat = statInStack(stack, mount.destination);
    if (stat?.isDirectory() !== true) return mount;
    return { ...mount, options: [...options, `mode=${(stat.mode & 0o7777).toString(8)}`] };
  };
  return { ...config, mounts: mounts.map(withMode) };
}
