/** What a container is made with: Docker's `HostConfig`, from what the user asked for. */
import { existsSync } from 'node:fs';
import { TsboxError } from '../errors.ts';
import { parseCapabilities } from '../spec/capabilities.ts';
import type { HostConfig } from '../spec/container.ts';
import { securityOptions } from '../spec/security-options.ts';
import type { ContainerRequest } from './api.ts';
import { checkIpcMode } from './namespaces.ts';
import { DEFAULT_MASKED_PATHS, DEFAULT_READONLY_PATHS } from './oci.ts';

const DEFAULT_SHM = 64 * 1024 * 1024;

/** Docker notes for SELinux that who sees the host's processes is not labelled, on hosts without SELinux too. */
function securityOpt(request: ContainerRequest): string[] | null {
  const given = [...request.securityOpt];
  const { labels } = securityOptions(given);
  const seesHost = request.privileged === true || request.pid === 'host' || request.ipc === 'host';
  if (seesHost && labels.length === 0) given.push('label=disable');
  // With `systempaths` alone docker's client sends a list that is empty.
  return given.length === 0 && request.systemPaths === undefined ? null : given;
}

/** What of /proc and /sys is covered or read-only. */
function systemPaths(request: ContainerRequest): Pick<HostConfig, 'MaskedPaths' | 'ReadonlyPaths'> {
  if (request.privileged === true) return { MaskedPaths: null, ReadonlyPaths: null };
  if (request.systemPaths === 'unconfined') return { MaskedPaths: [], ReadonlyPaths: [] };
  return { MaskedPaths: DEFAULT_MASKED_PATHS, ReadonlyPaths: DEFAULT_READONLY_PATHS };
}

function usage(message: string): TsboxError {
  return new TsboxError('ERR_TSBOX_USAGE', message, { exitCode: 125 });
}

/** What cannot be had together. */
function checkNamespaces(request: ContainerRequest): void {
  checkIpcMode(request.ipc ?? '');
  if (request.uts === 'host' && request.hostname !== undefined) {
    throw usage('conflicting options: hostname and the UTS mode');
  }
  for (const name of Object.keys(request.sysctls ?? {})) {
    const isNetwork = name.startsWith('net.');
    const message = `sysctl ${JSON.stringify(name)}`;
    if (isNetwork && request.network === 'host') throw usage(`${message} not allowed in host network namespace`);
    if (!isNetwork && request.ipc === 'host') throw usage(`${message} is not allowed in the hosts ipc namespace`);
  }
}

/** @param userns what the request and the engine's own choice come to
 *  @throws ERR_TSBOX_USAGE on a value that Docker refuses too, in its words */
export function makeHostConfig(request: ContainerRequest, userns: string): HostConfig {
  checkNamespaces(request);
  return {
    Binds: request.volumes.length === 0 ? null : [...request.volumes],
    ContainerIDFile: '',
    LogConfig: { Type: 'json-file', Config: {} },
    NetworkMode: request.network,
    AutoRemove: request.autoRemove,
    CapAdd: parseCapabilities(request.capAdd, 'CapAdd'),
    CapDrop: parseCapabilities(request.capDrop, 'CapDrop'),
    CgroupnsMode: request.cgroupns || 'private',
    GroupAdd: request.groupAdd === undefined ? null : [...request.groupAdd],
    IpcMode: request.ipc || 'private',
    PidMode: request.pid ?? '',
    Privileged: request.privileged === true,
    ReadonlyRootfs: request.readonlyRootfs,
    SecurityOpt: securityOpt(request),
    ShmSize: request.shmSize || DEFAULT_SHM,
    UsernsMode: userns,
    UTSMode: request.uts ?? '',
    ...(request.sysctls !== undefined && { Sysctls: { ...request.sysctls } }),
    ConsoleSize: [0, 0],
    ...systemPaths(request),
    ...request.resources,
    ...(request.oomScoreAdj !== undefined && { OomScoreAdj: request.oomScoreAdj }),
  };
}

/** Options of security modules that have no effect, each with the reason. */
export function securityNotes(hostConfig: HostConfig): string[] {
  if (hostConfig.SecurityOpt === null) return [];
  const { apparmor, labels } = securityOptions(hostConfig.SecurityOpt);
  const notes: string[] = [];
  if (apparmor !== undefined && apparmor !== 'unconfined' && !hasAppArmor()) {
    notes.push(`apparmor=${apparmor} has no effect: this host has no AppArmor`);
  }
  const label = labels.find((one) => one !== 'disable');
  if (label !== undefined && !existsSync(SELINUX)) {
    notes.push(`label=${label} has no effect: this host has no SELinux`);
  }
  return notes;
}

const SELINUX = '/sys/fs/selinux/enforce';

export function hasAppArmor(): boolean {
  return existsSync('/sys/kernel/security/apparmor/profiles');
}
