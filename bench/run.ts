/**
 * `make bench`: from start to exit of `true` in a container without a network, tsbox beside docker, podman and bare runc, all in one run.
 * The runs are interleaved, so that whatever else the machine does meets all alike. usage: run.ts [RUNS]
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { cpus, release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Counts, count, median, time } from './measure.ts';
import { bare, docker, type Peer, type Prepare, podman, runc, tsbox, unguarded } from './peers.ts';
import { breakdown } from './phases.ts';
import { table } from './table.ts';

/** The least that tsbox promises, as parts of the peer's median. */
const PROMISES: Record<string, number> = { docker: 0.35, podman: 0.5 };
/** The most that what keeps a container in may cost of a start. */
const SECURITY_MS = 5;
const WARM_UP = 3;

async function prepareAll(work: string): Promise<Peer[]> {
  const peers: Peer[] = [];
  const all: Record<string, Prepare> = { tsbox, unguarded, docker, podman, runc, bare };
  for (const [name, prepare] of Object.entries(all)) {
    const peer = await prepare(join(work, name)).catch((error: Error) => error.message);
    if (typeof peer === 'string') console.log(`left out: ${name}: ${peer}`);
    else peers.push(peer);
  }
  return peers;
}

function measure(peers: readonly Peer[], runs: number): Map<Peer, number[]> {
  const times = new Map(peers.map((peer) => [peer, [] as number[]]));
  for (let number = -WARM_UP; number < runs; number++) {
    for (const peer of peers) {
      const taken = time(peer.command);
      if (number >= 0) times.get(peer)!.push(taken);
    }
  }
  return times;
}

async function countAll(peers: readonly Peer[]): Promise<Map<Peer, Counts>> {
  const counts = new Map<Peer, Counts>();
  for (const peer of peers) {
    try {
      counts.set(peer, await count(peer.command, peer.daemons));
    } catch (error) {
      console.log(`not counted: ${peer.name}: ${(error as Error).message}`);
    }
  }
  return counts;
}

function report(times: Map<Peer, number[]>, counts: Map<Peer, Counts>): void {
  const ours = [...times].find(([peer]) => peer.name === 'tsbox')?.[1];
  const rows = [...times].map(([peer, taken]) => {
    const part = ours === undefined ? undefined : median(ours) / median(taken);
    const least = ours === undefined ? undefined : Math.min(...ours) / Math.min(...taken);
    const promise = PROMISES[peer.name];
    const seen = counts.get(peer);
    return [
      peer.name,
      peer.version,
      median(taken).toFixed(1),
      Math.min(...taken).toFixed(1),
      part?.toFixed(2) ?? '',
      least?.toFixed(2) ?? '',
      promise === undefined || part === undefined ? '' : `${promise}: ${part <= promise ? 'kept' : 'MISSED'}`,
      seen === undefined ? '' : String(seen.processes),
      seen === undefined ? '' : String(seen.threads),
      seen === undefined ? '' : String(seen.syscalls),
    ];
  });
  const head = [
    '',
    'version',
    'median ms',
    'least ms',
    'tsbox/it',
    'of least',
    'promise',
    'processes',
    'threads',
    'syscalls',
  ];
  console.log(table([head, ...rows]));
}

/** What a start costs more than one without the seccomp filter, the fewer capabilities and the covered paths, and with all devices. */
function security(times: Map<Peer, number[]>): string | undefined {
  const of = (name: string) => [...times].find(([peer]) => peer.name === name)?.[1];
  const [confined, open] = [of('tsbox'), of('tsbox, unguarded')];
  if (confined === undefined || open === undefined) return undefined;
  const more = median(confined.map((taken, round) => taken - open[round]!));
  const least = Math.min(...confined) - Math.min(...open);
  const verdict = more <= SECURITY_MS ? 'kept' : 'MISSED';
  return `\nsecurity (run against run with no filter, all capabilities and devices, nothing covered): ${more.toFixed(1)} ms is the median of the differences, ${least.toFixed(1)} that of the least values; at most ${SECURITY_MS}: ${verdict}`;
}

const runs = Number(process.argv[2] ?? 30);
const work = mkdtempSync(join(tmpdir(), 'tsbox-bench-'));
let peers: Peer[] = [];
try {
  peers = await prepareAll(work);
  console.log(`true in a container: ${runs} runs each, interleaved; ${cpus().length} processors, Linux ${release()}`);
  const times = measure(peers, runs);
  report(times, await countAll(peers));
  console.log(security(times) ?? '');
  const ours = peers.find(({ name }) => name === 'tsbox');
  if (ours !== undefined) console.log(breakdown(ours.command, runs));
} finally {
  for (const peer of peers) await peer.close();
  rmSync(work, { recursive: true, force: true });
}
