/** What a container is made with: Docker's `HostConfig`, from what the user asked for. */
import { existsSync } from 'node:fs';
import { TsboxError } from '../errors.ts';
import { parseCapabilities } from '../spec/capabilities.ts';
import type { HostConfig, RestartPolicy } from '../spec/container.ts';
import { logConfig } from '../spec/log-config.ts';
import { securityOptions } from '../spec/security-options.ts';
import type { ContainerRequest } from './api.ts';
import { bindSpecs } from './binds.ts';
import { checkNameOptions, nameOptions } from './name-options.ts';
import { checkIpcMode } from './namespaces.ts';
import { DEFAULT_MASKED_PATHS, DEFAULT_READONLY_PATHS } from './oci.ts';
import { checkRestartPolicy, parseRestartPolicy, restarts } from './restart-policy.ts';

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
  checkNameOptions(request);
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

/** Ports of one that has another's network are the other's. */
function portRequests(request: ContainerRequest): Pick<HostConfig, 'PortBindings' | 'PublishAllPorts'> {
  const { portBindings = {}, publishAllPorts = false, exposedPorts = [] } = request;
  const isGiven = publishAllPorts || Object.keys(portBindings).length > 0;
  if (request.network.startsWith('container:') && (isGiven || exposedPorts.length > 0)) {
    throw usage(`conflicting options: port ${isGiven ? 'publishing' : 'exposing'} and the container type network mode`);
  }
  const sctp = Object.keys(portBindings).find((port) => port.endsWith('/sctp'));
  if (sctp !== undefined) {
    const hint = 'Only tcp and udp are published.';
    throw new TsboxError('ERR_TSBOX_UNSUPPORTED', `publish ${sctp}: sctp is not supported`, { exitCode: 125, hint });
  }
  return {
    ...(Object.keys(portBindings).length > 0 && { PortBindings: portBindings }),
    ...(publishAllPorts && { PublishAllPorts: true }),
  };
}

/** What was asked for and has no effect. */
export function networkNotes({ NetworkMode, PortBindings = {} }: HostConfig): string[] {
  if (NetworkMode !== 'host' || Object.keys(PortBindings).length === 0) return [];
  return ['Published ports are discarded when using host network mode'];
}

function restartPolicy({ restart = 'no', autoRemove }: ContainerRequest): RestartPolicy {
  const policy = parseRestartPolicy(restart);
  if (autoRemove && restarts({ RestartPolicy: policy }))
    throw usage('conflicting options: cannot specify both --restart and --rm');
  checkRestartPolicy(policy);
  return policy;
}

/** What was asked for, for whoever makes another container like it; the mount points are in the record. */
function mountRequests(request: ContainerRequest): Pick<HostConfig, 'Binds' | 'Mounts' | 'Tmpfs' | 'VolumesFrom'> {
  const { mounts = [], tmpfs = {}, volumesFrom = [], volumeDriver } = request;
  const binds = bindSpecs(request);
  return {
    Binds: binds.length === 0 ? null : binds,
    ...(mounts.length > 0 && { Mounts: [...mounts] }),
    ...(Object.keys(tmpfs).length > 0 && { Tmpfs: { ...tmpfs } }),
    ...(volumesFrom.length > 0 && { VolumesFrom: [...volumesFrom] }),
    ...(volumeDriver !== undefined && { VolumeDriver: volumeDriver }),
  };
}

/** @param userns what the request and the engine's own choice come to
 *  @param links of the default network, as they are kept
 *  @throws ERR_TSBOX_USAGE on a value that Docker refuses too, in its words */
export function makeHostConfig(request: ContainerRequest, userns: string, links: readonly string[] = []): HostConfig {
  checkNamespaces(request);
  return {
    ...mountRequests(request),
    ContainerIDFile: '',
    LogConfig: logConfig(request.logDriver ?? '', request.logOptions ?? []),
    NetworkMode: request.network,
    ...nameOptions(request, links),
    AutoRemove: request.autoRemove,
    RestartPolicy: restartPolicy(request),
    ...portRequests(request),
    ...(request.init !== undefined && { Init: request.init }),
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

/** Which security modules the host has. */
export interface SecurityModules {
  apparmor: boolean;
  selinux: boolean;
}

export function securityModules(): SecurityModules {
  return { apparmor: hasAppArmor(), selinux: existsSync(SELINUX) };
}

/** Options of security modules that have no effect, as the host has no such module.
 *  @throws ERR_TSBOX_UNSUPPORTED where it has one: tsbox sets neither profiles nor labels, and what was asked for would be missing */
export function securityNotes(hostConfig: HostConfig, modules: SecurityModules): string[] {
  if (hostConfig.SecurityOpt === null) return [];
  const { apparmor, labels } = securityOptions(hostConfig.SecurityOpt);
  const label = labels.find((one) => one !== 'disable');
  const asked = [
    ...(apparmor === undefined || apparmor === 'unconfined'
      ? []
      : [{ option: `apparmor=${apparmor}`, module: 'AppArmor', isThere: modules.apparmor }]),
    ...(label === undefined ? [] : [{ option: `label=${label}`, module: 'SELinux', isThere: modules.selinux }]),
  ];
  return asked.map(({ option, module, isThere }) => {
    if (!isThere) return `${option} has no effect: this host has no ${module}`;
    throw new TsboxError(
      'ERR_TSBOX_UNSUPPORTED',
      `--security-opt ${option}: not supported on a host with ${module} yet`,
      {
        exitCode: 125,
      },
    );
  });
}

const SELINUX = '/sys/fs/selinux/enforce';

export function hasAppArmor(): boolean {
  return existsSync('/sys/kernel/security/apparmor/profiles');
}
