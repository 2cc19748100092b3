/** What a container uses at this moment, by the kernel's counts. @see cgroup-v2.rst; cgroup-v1/{cpuacct,memory,blkio-controller,pids}.rst */
import { readFileSync } from 'node:fs';
import type { HostFacts } from '../spec/host.ts';

export interface Usage {
  /** Nanoseconds of processor time since it was started. */
  cpu: number;
  /** Bytes without the file cache that could be given back at once, as Docker counts. */
  memory: number;
  /** Bytes: the container's limit, or what the machine has. */
  memoryLimit: number;
  /** Bytes read from and written to block devices. */
  read: number;
  written: number;
  /** Processes and threads. */
  pids: number;
  /** Bytes, by all interfaces but the loopback. */
  received: number;
  sent: number;
}

function content(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return ''; // a controller that is not there, or a container that has just ended
  }
}

/** The number in a line `key number`; 0 without it. */
const field = (text: string, key: string) => Number(new RegExp(`^${key} (\\d+)$`, 'm').exec(text)?.[1] ?? 0);

/** A limit: `max` and version 1's huge numbers are none. */
function limitOf(text: string, total: number): number {
  const limit = Number(text.trim() || 'NaN');
  return Number.isNaN(limit) || limit <= 0 || limit > total ? total : limit;
}

/** Sums of lines `8:0 Read 512`. */
function v1Bytes(text: string, kind: 'Read' | 'Write'): number {
  const lines = text.matchAll(new RegExp(`^\\d+:\\d+ ${kind} (\\d+)$`, 'gm'));
  return [...lines].reduce((sum, [, bytes]) => sum + Number(bytes), 0);
}

/** Sums of `key=bytes` in the lines of version 2's io.stat. */
function v2Bytes(text: string, key: string): number {
  return [...text.matchAll(new RegExp(`\\b${key}=(\\d+)`, 'g'))].reduce((sum, [, bytes]) => sum + Number(bytes), 0);
}

/** Bytes of the machine's memory. */
function memoryTotal(): number {
  return Number(/^MemTotal:\s+(\d+) kB/m.exec(content('/proc/meminfo'))?.[1] ?? 0) * 1024;
}

/** @see proc_pid_net(5), dev */
export function parseNetDev(text: string): Pick<Usage, 'received' | 'sent'> {
  const sums = { received: 0, sent: 0 };
  for (const line of text.split('\n').slice(2)) {
    const [name, rest] = line.split(':');
    if (rest === undefined || name?.trim() === 'lo') continue;
    const columns = rest.trim().split(/\s+/);
    sums.received += Number(columns[0]);
    sums.sent += Number(columns[8]);
  }
  return sums;
}

/** @param path of the container's cgroup below each hierarchy @param pid of its first process
 *  @param ownNetwork false when its interfaces are the host's: then nothing is counted, as with Docker */
export function usageOf(facts: HostFacts, path: string, pid: number, ownNetwork: boolean): Usage {
  const read = (controller: string, v1: string, v2: string): { text: string; version: 1 | 2 } => {
    const old = facts.hierarchies.find((one) => one.controllers.includes(controller));
    if (old !== undefined) return { text: content(`${old.mount}${path}/${v1}`), version: 1 };
    const unified = facts.hierarchies.find((one) => one.version === 2);
    return { text: unified === undefined ? '' : content(`${unified.mount}${path}/${v2}`), version: 2 };
  };
  const cpu = read('cpuacct', 'cpuacct.usage', 'cpu.stat');
  const memory = read('memory', 'memory.usage_in_bytes', 'memory.current');
  const stat = read('memory', 'memory.stat', 'memory.stat');
  const limit = read('memory', 'memory.limit_in_bytes', 'memory.max');
  const io = read('blkio', 'blkio.throttle.io_service_bytes_recursive', 'io.stat');
  const inactive = field(stat.text, stat.version === 1 ? 'total_inactive_file' : 'inactive_file');
  const used = Number(memory.text.trim() || 0);
  return {
    cpu: cpu.version === 1 ? Number(cpu.text.trim() || 0) : field(cpu.text, 'usage_usec') * 1000,
    memory: inactive < used ? used - inactive : used,
    memoryLimit: limitOf(limit.text, memoryTotal()),
    read: io.version === 1 ? v1Bytes(io.text, 'Read') : v2Bytes(io.text, 'rbytes'),
    written: io.version === 1 ? v1Bytes(io.text, 'Write') : v2Bytes(io.text, 'wbytes'),
    pids: Number(read('pids', 'pids.current', 'pids.current').text.trim() || 0),
    ...(ownNetwork ? parseNetDev(content(`/proc/${pid}/net/dev`)) : { received: 0, sent: 0 }),
  };
}
