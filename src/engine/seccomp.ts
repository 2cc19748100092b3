/** Which filter of system calls a container has, and its program: from the cache, or compiled and then kept there. */
import type { SeccompFilter } from '../plan/credentials.ts';
import { capabilityMask } from '../spec/capabilities.ts';
import type { HostConfig } from '../spec/container.ts';
import type { HostFacts } from '../spec/host.ts';
import { DEFAULT_PROFILE_DIGEST } from '../spec/seccomp-digest.ts';
import { securityOptions } from '../spec/security-options.ts';
import { cachedFilter, keepFilter } from '../store/seccomp-cache.ts';
import { libseccompVersion } from '../sys/seccomp-version.ts';
import type { Engine } from './open.ts';

const DIGITS = 16;

async function digestOf(profile: string): Promise<string> {
  const { createHash } = await import('node:crypto');
  return createHash('sha256').update(profile).digest('hex');
}

/** @param profile the text of one's own; undefined for the default */
async function compile(profile: string | undefined, facts: HostFacts, capabilities: readonly string[]) {
  const [{ resolveProfile }, { compileSeccomp, seccompFlags }] = await Promise.all([
    import('../spec/seccomp.ts'),
    import('../sys/libseccomp.ts'),
  ]);
  const parsed =
    profile === undefined
      ? (await import('../spec/seccomp-default.ts')).DEFAULT_PROFILE
      : (await import('../spec/seccomp-schema.ts')).readSeccompProfile(profile);
  const { arch } = process;
  const resolved = resolveProfile(parsed, { arch, kernel: facts.kernel, capabilities });
  return { program: compileSeccomp(resolved), flags: seccompFlags(resolved.flags ?? []) };
}

/** The filter of a container's processes; undefined when it has none.
 *  @param keep false for a look that changes nothing
 *  @throws ERR_TSBOX_UNSUPPORTED without libseccomp, ERR_TSBOX_SPEC when the profile is none */
export async function seccompFilter(
  engine: Engine,
  hostConfig: HostConfig,
  facts: HostFacts,
  capabilities: readonly string[],
  keep = true,
): Promise<SeccompFilter | undefined> {
  if (hostConfig.Privileged) return undefined;
  const { seccomp } = securityOptions(hostConfig.SecurityOpt ?? []);
  if (seccomp === 'unconfined') return undefined;
  const own = seccomp === 'default' || seccomp === 'builtin' ? undefined : seccomp;
  const digest = own === undefined ? DEFAULT_PROFILE_DIGEST : await digestOf(own);
  const mask = capabilityMask(capabilities).toString(16);
  const key = [digest.slice(0, DIGITS), mask, process.arch, facts.kernel, libseccompVersion()].join('-');
  const known = cachedFilter(engine.store, key);
  if (known !== undefined) return known;
  const compiled = await compile(own, facts, capabilities);
  if (keep) keepFilter(engine.store, key, compiled);
  return compiled;
}
