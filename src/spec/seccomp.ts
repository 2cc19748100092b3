/**
 * Filters of system calls: Docker's profiles, and what becomes of one for a container on this host, which is the runtime's `linux.seccomp`.
 * Pure. Docker's own default is seccomp-default.json.
 * @see runtime-spec config-linux.md, Seccomp; seccomp(2)
 */
import { TsboxError } from '../errors.ts';
import type { OciSeccomp, OciSyscallRule } from './oci-runtime.ts';

/** `caps` by their full names, `arches` as Go calls them, `minKernel` as `4.8`. */
export interface ProfileCondition {
  caps?: readonly string[] | null;
  arches?: readonly string[] | null;
  minKernel?: string;
}

export interface ProfileRule extends Omit<OciSyscallRule, 'names'> {
  names?: readonly string[] | null;
  /** One name, in old profiles. */
  name?: string;
  includes?: ProfileCondition | null;
  excludes?: ProfileCondition | null;
}

/** A profile as Docker reads it: the runtime's form with conditions. */
export interface SeccompProfile {
  defaultAction: string;
  defaultErrnoRet?: number;
  architectures?: readonly string[] | null;
  archMap?: readonly { architecture: string; subArchitectures?: readonly string[] | null }[] | null;
  flags?: readonly string[] | null;
  syscalls?: readonly ProfileRule[] | null;
}

/** What the conditions of a profile ask for. */
export interface ProfileFacts {
  /** Node's name: `x64`, `arm64`. */
  arch: string;
  /** 100 times the first number and the second: 601 for 6.1. */
  kernel: number;
  /** The container's bounding set. */
  capabilities: readonly string[];
}

/** An architecture by the names of Node, of Go and of libseccomp. */
const ARCHITECTURES: Readonly<Record<string, { go: string; seccomp: string }>> = {
  x64: { go: 'amd64', seccomp: 'SCMP_ARCH_X86_64' },
  arm64: { go: 'arm64', seccomp: 'SCMP_ARCH_AARCH64' },
};

function version(text: string): number {
  const [, major = '0', minor = '0'] = /^(\d+)\.(\d+)/.exec(text) ?? [];
  return Number(major) * 100 + Number(minor);
}

/** All capabilities, one of the architectures, the kernel. */
function included(condition: ProfileCondition, facts: ProfileFacts, go: string): boolean {
  const { caps, arches, minKernel } = condition;
  if (arches != null && arches.length > 0 && !arches.includes(go)) return false;
  if (minKernel !== undefined && minKernel !== '' && facts.kernel < version(minKernel)) return false;
  return (caps ?? []).every((name) => facts.capabilities.includes(name));
}

/** Any of what it names. */
function excluded(condition: ProfileCondition, facts: ProfileFacts, go: string): boolean {
  const { caps, arches, minKernel } = condition;
  if (minKernel !== undefined && minKernel !== '' && facts.kernel >= version(minKernel)) return true;
  return (arches ?? []).includes(go) || (caps ?? []).some((name) => facts.capabilities.includes(name));
}

function conflict(first: string, second: string): TsboxError {
  const message = `'${first}' and '${second}' were specified in the seccomp profile, use either '${first}' or '${second}'`;
  return new TsboxError('ERR_TSBOX_SPEC', message, { exitCode: 125 });
}

function architectures(profile: SeccompProfile, native: string | undefined): readonly string[] {
  const { architectures = [], archMap = [] } = profile;
  if (architectures !== null && architectures.length > 0) {
    if (archMap !== null && archMap.length > 0) throw conflict('architectures', 'archMap');
    return architectures;
  }
  const own = archMap?.find((one) => one.architecture === native);
  return own === undefined ? [] : [own.architecture, ...(own.subArchitectures ?? [])];
}

function ruleNames(rule: ProfileRule): readonly string[] {
  const names = rule.names ?? [];
  const name = rule.name ?? '';
  if (name !== '' && names.length > 0) throw conflict('name', 'names');
  return name === '' ? names : [name];
}

/** The rules that hold for this container on this host.
 *  @throws ERR_TSBOX_SPEC when the profile contradicts itself, in Docker's words */
export function resolveProfile(profile: SeccompProfile, facts: ProfileFacts): OciSeccomp {
  const own = ARCHITECTURES[facts.arch];
  const go = own?.go ?? facts.arch;
  const syscalls = (profile.syscalls ?? []).flatMap((rule) => {
    const { includes, excludes, name: _, names: __, ...rest } = rule;
    const names = ruleNames(rule);
    if (excludes != null && excluded(excludes, facts, go)) return [];
    if (includes != null && !included(includes, facts, go)) return [];
    return [{ ...rest, names }];
  });
  return {
    defaultAction: profile.defaultAction,
    ...(profile.defaultErrnoRet === undefined ? {} : { defaultErrnoRet: profile.defaultErrnoRet }),
    architectures: architectures(profile, own?.seccomp),
    flags: profile.flags ?? [],
    syscalls,
  };
}
