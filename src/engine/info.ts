/** What this host and this store are. */
import { readFileSync } from 'node:fs';
import { arch, cpus, hostname, release, totalmem } from 'node:os';
import { PLAN_VERSION } from '../plan/ops.ts';
import { imageIds } from '../store/images.ts';
import { fileSystemOf } from '../sys/file-system.ts';
import { hostFacts } from '../sys/probe.ts';
import { listContainers } from './list.ts';
import type { Engine } from './open.ts';
import { VERSION } from './version.ts';

function operatingSystem(): string {
  try {
    return /^PRETTY_NAME="?([^"\n]*)/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? 'Linux';
  } catch {
    return 'Linux';
  }
}

/** In Docker's words. */
function securityOptions(uid: number, remap: string | undefined): string[] {
  const filter = 'name=seccomp,profile=default'; // there is no container without libseccomp but those that ask for none
  if (uid !== 0) return [filter, 'name=rootless', 'name=userns'];
  return remap === undefined || remap === '' || remap === 'host' ? [filter] : [filter, 'name=userns'];
}

/** Docker's `info` as far as tsbox has the things that it tells of. */
export function engineInfo(engine: Engine): object {
  const containers = listContainers(engine, { all: true });
  const facts = hostFacts();
  const { driver } = engine.store;
  return {
    Containers: containers.length,
    ContainersRunning: containers.filter((one) => one.state.Running && !one.state.Paused).length,
    ContainersPaused: containers.filter((one) => one.state.Paused).length,
    ContainersStopped: containers.filter((one) => !one.state.Running).length,
    Images: imageIds(engine.store).length,
    Driver: driver.name,
    // As Docker: pairs of a name and a value.
    DriverStatus: [
      ['Backing Filesystem', fileSystemOf(engine.options.dataRoot)],
      ['Reason', driver.reason],
    ],
    LoggingDriver: 'json-file',
    SecurityOptions: securityOptions(facts.uid, engine.options.usernsRemap),
    CgroupDriver: facts.hierarchies.length === 0 ? 'none' : 'cgroupfs',
    CgroupVersion: facts.hostMode === 'unified' ? '2' : '1',
    CgroupMode: facts.hostMode,
    KernelVersion: release(),
    OperatingSystem: operatingSystem(),
    OSType: 'linux',
    Architecture: { x64: 'x86_64', arm64: 'aarch64' }[arch() as 'x64' | 'arm64'] ?? arch(),
    NCPU: cpus().length,
    MemTotal: totalmem(),
    Name: hostname(),
    DockerRootDir: engine.options.dataRoot,
    RunRoot: engine.options.runRoot,
    ServerVersion: VERSION,
  };
}

/** Versions of what takes part. Templates made for Docker find client and server too, which here are one. */
export function engineVersion(_engine: Engine): object {
  const versions = {
    Version: VERSION,
    PlanVersion: PLAN_VERSION,
    NodeVersion: process.version,
    Os: 'linux',
    Arch: { x64: 'amd64', arm64: 'arm64' }[arch() as 'x64' | 'arm64'] ?? arch(),
    KernelVersion: release(),
  };
  const value = { ...versions };
  return Object.defineProperties(versions, { Client: { value }, Server: { value } });
}
