/**
 * `make bench-network`: what a network costs a start, and what gets through it, tsbox beside docker, interleaved, each in a network
 * namespace of its own. usage: network.ts [RUNS [ROUNDS]]
 */
import { cpus, release } from 'node:os';
import { join } from 'node:path';
import { which } from './engines.ts';
import { median, time } from './measure.ts';
import { dockerHost, type Host, IMAGE, say, tsboxHost } from './network-hosts.ts';
import { startContainers, stopContainers, throughput, WAYS, type Way } from './network-throughput.ts';
import { inOwnNamespaces } from './places.ts';
import { table } from './table.ts';

/** The most that `--network bridge` may take longer than `--network none`, beside containers that are there. */
const BRIDGE_MS = 12;
/** The least of docker's throughput. */
const THROUGHPUT = 0.95;
const WARM_UP = 2;

const NETWORKS = ['none', 'bridge', 'named'] as const;
type Network = (typeof NETWORKS)[number];
type Times = Map<Host, Record<Network, number[]>>;

async function hosts(work: string): Promise<Host[]> {
  const found: Host[] = [];
  for (const [name, start] of Object.entries({ tsbox: tsboxHost, docker: dockerHost })) {
    const host = await start(join(work, name)).catch((error: Error) => error.message);
    if (typeof host === 'string') console.log(`left out: ${name}: ${host}`);
    else found.push(host);
  }
  return found;
}

function starts(all: readonly Host[], runs: number): Times {
  const times: Times = new Map(all.map((host) => [host, { none: [], bridge: [], named: [] }]));
  for (let number = -WARM_UP; number < runs; number++) {
    for (const host of all) {
      for (const network of NETWORKS) {
        const { program, env } = host.engine;
        const taken = time({ argv: [...program, 'run', '--rm', '--network', network, IMAGE, 'true'], env });
        if (number >= 0) times.get(host)![network].push(taken);
      }
    }
  }
  return times;
}

/** Lines of a table: the same network beside none, run against run. */
function costs(what: string, times: Times, promise?: number): string[][] {
  return (['bridge', 'named'] as const).flatMap((network) =>
    [...times].map(([{ engine }, taken], at) => {
      const more = median(taken[network].map((ms, round) => ms - taken.none[round]!));
      const least = Math.min(...taken[network]) - Math.min(...taken.none);
      const judged =
        promise === undefined || network !== 'bridge' || engine.name !== 'tsbox'
          ? ''
          : `${promise} ms: ${more <= promise ? 'kept' : 'MISSED'}`;
      const figures = [median(taken.none), median(taken[network]), more, least].map((ms) => ms.toFixed(1));
      return [at === 0 ? `${network}, ${what}` : '', engine.name, ...figures, judged];
    }),
  );
}

async function gotThrough(way: Way, all: readonly Host[], rounds: number): Promise<string[][]> {
  const found = new Map(all.map((host) => [host, [] as number[]]));
  for (let round = -1; round < rounds; round++) {
    for (const host of all) {
      const got = await throughput(way, host);
      if (round >= 0) found.get(host)!.push(got);
    }
  }
  const docker = [...found].find(([{ engine }]) => engine.name === 'docker')?.[1];
  return [...found].map(([{ engine }, got], at) => {
    const part = engine.name === 'tsbox' && docker !== undefined ? median(got) / median(docker) : undefined;
    const judged = part === undefined ? '' : `${THROUGHPUT}: ${part >= THROUGHPUT ? 'kept' : 'MISSED'}`;
    const figures = [median(got), Math.min(...got), Math.max(...got)].map((gbits) => gbits.toFixed(1));
    return [at === 0 ? way.name : '', engine.name, ...figures, part?.toFixed(2) ?? '', judged];
  });
}

const [, , runs = '30', rounds = '5'] = process.argv;
const work = await inOwnNamespaces('--net');
let all: Host[] = [];
try {
  all = await hosts(work);
  const versions = all.map(({ engine }) => `${engine.name} ${engine.version}`).join(', ');
  console.log(
    `networks: ${runs} runs, interleaved; ${cpus().length} processors, Linux ${release()}; ${versions}\n` +
      'named: a network with names; alone: no other container is in a network, so that the rules come and go with it',
  );
  for (const { engine } of all) say(engine, 'network', 'create', 'named');
  const alone = starts(all, Number(runs));
  for (const host of all) startContainers(host);
  const beside = starts(all, Number(runs));
  const head = ['run true in', '', 'none ms', 'median ms', 'more', 'least more', 'promise'];
  console.log(`\n${table([head, ...costs('beside others', beside, BRIDGE_MS), ...costs('alone', alone)])}`);
  if (which('iperf3') === undefined) console.log('\nnot measured: throughput: iperf3 is not installed');
  else {
    const lines: string[][] = [];
    for (const way of WAYS) lines.push(...(await gotThrough(way, all, Number(rounds))));
    console.log(`\n${table([['iperf3', '', 'Gbit/s', 'least', 'most', 'tsbox/docker', 'promise'], ...lines])}`);
  }
  for (const host of all) stopContainers(host);
} finally {
  for (const host of all) await host.close();
}
