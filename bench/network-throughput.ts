/** How much iperf3 gets through, from container to container and from another host to a published port. */
import { spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { run } from './measure.ts';
import { type Host, IMAGE, type Inside, inside, say } from './network-hosts.ts';

const SECONDS = 2;
const PORT = 5201;

/** A way from a client to a server. */
export interface Way {
  readonly name: string;
  /** Where the client is, and whom it calls. */
  client(host: Host): { from: Inside; to: string };
}

const pidOf = ({ engine }: Host, name: string) => Number(say(engine, 'inspect', '--format', '{{.State.Pid}}', name));
const SERVER = 'server';
const NEIGHBOUR = 'neighbour';

/** The containers that the ways lead to and from. They sleep: iperf3 is the host's, in their network namespaces. */
export function startContainers({ engine }: Host): void {
  const start = (name: string, ...flags: string[]) =>
    say(engine, 'run', '--detach', '--name', name, ...flags, IMAGE, 'sleep', '1000000');
  start(SERVER, '--publish', `${PORT}:${PORT}`);
  start(NEIGHBOUR);
}

export function stopContainers({ engine }: Host): void {
  say(engine, 'rm', '--force', SERVER, NEIGHBOUR);
}

export const WAYS: readonly Way[] = [
  {
    name: 'container to container',
    client: (host) => ({
      from: inside(pidOf(host, NEIGHBOUR)),
      to: say(host.engine, 'inspect', '--format', '{{.NetworkSettings.IPAddress}}', SERVER),
    }),
  },
  { name: 'another host to a published port', client: ({ client, address }) => ({ from: client, to: address }) },
];

/** @returns Gbit/s that the server got */
export async function throughput(way: Way, host: Host): Promise<number> {
  const at = inside(pidOf(host, SERVER));
  const [program, ...args] = [...at, 'iperf3', '--server', '--one-off', '--port', String(PORT)] as const;
  const server = spawn(program, args, { stdio: 'ignore' });
  const ended = new Promise((fulfil) => server.once('close', fulfil));
  const { from, to } = way.client(host);
  try {
    while (!run({ argv: [...at, 'ss', '--listening', '--tcp', '--numeric'] }).stdout.includes(`:${PORT} `))
      await sleep(10);
    const { stdout } = run({
      argv: [...from, 'iperf3', '--client', to, '--port', String(PORT), '--time', String(SECONDS), '--json'],
    });
    const { end } = JSON.parse(stdout) as { end: { sum_received: { bits_per_second: number } } };
    return end.sum_received.bits_per_second / 1e9;
  } finally {
    server.kill();
    await ended;
  }
}
