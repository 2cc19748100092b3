/** What this host is and can do, read from /proc. */
import { readFileSync, readlinkSync, statSync } from 'node:fs';
import { CAPABILITIES } from '../spec/capabilities.ts';
import type { CgroupHierarchy, CgroupMode, HostFacts } from '../spec/host.ts';
import { type IdMaps, parseMap } from '../spec/id-map.ts';
import { delegatedPlace } from './delegation.ts';

/** Mounts of cgroup hierarchies in a /proc/self/mountinfo, outermost first, one a hierarchy. @see proc_pid_mountinfo(5) */
export function parseHierarchies(mountinfo: string): CgroupHierarchy[] {
  const found: CgroupHierarchy[] = [];
  const seen = new Set<string>();
  for (const line of mountinfo.split('\n')) {
    if (!line.includes(' - cgroup')) continue;
    const [mountPart = '', typePart = ''] = line.split(' - ');
    const [type, , options = ''] = typePart.split(' ');
    const mount = unescapeMount(mountPart.split(' ')[4] ?? '');
    if (type !== 'cgroup' && type !== 'cgroup2') continue;
    const controllers = type === 'cgroup' ? options.split(',').filter(isController) : [];
    const key = `${type}:${controllers.join(',')}`;
    if (seen.has(key)) continue;
    seen.add(key);
    found.push({ mount, version: type === 'cgroup' ? 1 : 2, controllers });
  }
  return found;
}

function isController(option: string): boolean {
  return !MOUNT_OPTIONS.has(option) && !option.startsWith('release_agent=');
}

/** Superblock options of a version 1 hierarchy that are not controllers. */
const MOUNT_OPTIONS = new Set(['rw', 'ro', 'xattr', 'noprefix', 'clone_children', 'cpuset_v2_mode', 'favordynmods']);

/** Spaces, tabs, newlines and backslashes stand as octal escapes in mountinfo. */
export function unescapeMount(field: string): string {
  return field.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}

function cgroupMode(hierarchies: readonly CgroupHierarchy[]): CgroupMode {
  const hasV1 = hierarchies.some((one) => one.version === 1);
  const hasV2 = hierarchies.some((one) => one.version === 2);
  if (hasV1) return hasV2 ? 'hybrid' : 'legacy';
  return hasV2 ? 'unified' : 'none';
}

/** 601 for `6.1.0-18-amd64`; 0 when it is not a version. */
export function kernelVersion(release: string): number {
  const [, major = '0', minor = '0'] = /^(\d+)\.(\d+)/.exec(release) ?? [];
  return Number(major) * 100 + Number(minor);
}

/** A cgroup of version 2 that was handed over, as the hierarchy that an ordinary user has. */
export function handedOver(place: string): CgroupHierarchy {
  return { mount: place, version: 2, controllers: [], delegated: true };
}

function usableOf(there: readonly CgroupHierarchy[]): CgroupHierarchy[] {
  const unified = there.find((one) => one.version === 2);
  const place = unified === undefined ? undefined : delegatedPlace(unified.mount);
  return place === undefined ? [] : [handedOver(place)];
}

/** The facts with other hierarchies. */
export function withHierarchies(facts: HostFacts, hierarchies: readonly CgroupHierarchy[]): HostFacts {
  const { cpuset: _, ...rest } = facts;
  return { ...rest, hierarchies, cgroupMode: cgroupMode(hierarchies) };
}

/** Is the root none that a mount namespace begins with: no mount at all, a part of a file system, or not the first process's? All of them
 *  can be without a chroot(2), too: the answer is for who goes to where his mount namespace begins, and then is where he was. */
function isChrooted(mountinfo: string): boolean {
  const root = /^\d+ \d+ \S+ (\S+) \/ /m.exec(mountinfo)?.[1];
  if (root !== '/') return true;
  try {
    const [own, first] = ['/', '/proc/1/root/'].map((path) => statSync(path, { bigint: true }));
    return own!.ino !== first!.ino || own!.dev !== first!.dev;
  } catch {
    return false; // not for us to see
  }
}

/** `usable` leaves out the cgroup hierarchies in which an ordinary user can make nothing: what is left is a cgroup that was handed over.
 *  The facts that every start needs: four small files and, with version 1 cpusets, two more. */
export function hostFacts(what: 'usable' | 'there' = 'usable'): HostFacts {
  const uid = process.geteuid?.() ?? 0;
  const mountinfo = readFileSync('/proc/self/mountinfo', 'utf8');
  const there = parseHierarchies(mountinfo);
  const hierarchies = uid === 0 || what === 'there' ? there : usableOf(there);
  const status = readFileSync('/proc/self/status', 'utf8');
  const bounding = BigInt(`0x${/^CapBnd:\s*([0-9a-f]+)/m.exec(status)?.[1] ?? '0'}`);
  const cpuset = hierarchies.find((one) => one.controllers.includes('cpuset'));
  const facts: HostFacts = {
    uid,
    kernel: kernelVersion(readFileSync('/proc/sys/kernel/osrelease', 'utf8')),
    cgroupMode: cgroupMode(hierarchies),
    hostMode: cgroupMode(there),
    hierarchies,
    capabilities: CAPABILITIES.filter((_, number) => (bounding & (1n << BigInt(number))) !== 0n),
    ...(uid === 0 && isChrooted(mountinfo) && { chrooted: true }),
  };
  if (cpuset === undefined) return facts;
  const read = (name: string) => readFileSync(`${cpuset.mount}/${name}`, 'utf8').trim();
  return { ...facts, cpuset: { cpus: read('cpuset.cpus'), mems: read('cpuset.mems') } };
}

/** Is there something at `path`, and is it a directory? Follows symbolic links. */
export function pathKind(path: string): 'directory' | 'file' | 'absent' {
  try {
    return statSync(path).isDirectory() ? 'directory' : 'file';
  } catch {
    return 'absent';
  }
}

/** The maps of the process's user namespace; undefined when that is our own. */
export function mapsInUse(pid: number): IdMaps | undefined {
  const namespace = (process: number | 'self') => readlinkSync(`/proc/${process}/ns/user`);
  if (namespace(pid) === namespace('self')) return undefined;
  const read = (file: string) => parseMap(readFileSync(`/proc/${pid}/${file}`, 'utf8'));
  return { uids: read('uid_map'), gids: read('gid_map') };
}
