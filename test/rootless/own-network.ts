/**
 * A network of the test's own: its process, and all that it starts, have a network namespace with the address 192.0.2.2, and a way out to
 * one other host, 198.51.100.1, which is a network namespace too. Nothing leaves them. /dev/net/tun is there for everybody, as on a
 * machine that was not locked up, and /etc/resolv.conf can be set: in a mount namespace of its own.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { CLONE } from '../../src/spec/linux.ts';
import { linkUp, unshare } from '../../src/sys/process.ts';
import { until } from '../system/harness.ts';

export const HOST = { address: '192.0.2.2', address6: '2001:db8::2' };
export const INTERNET = { address: '198.51.100.1', address6: '2001:db8:1::1' };

export interface OwnNetwork {
  /** A command on the other host. */
  there(...command: readonly string[]): { status: number | null; stdout: string };
  startThere(...command: readonly string[]): ChildProcess;
  /** The host's own. */
  resolvConf(text: string): void;
}

/** @returns what it printed @throws AssertionError unless it exits with 0 */
export function run(command: string, ...args: readonly string[]): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, { encoding: 'utf8', timeout: 20_000 });
  assert.equal(status, 0, `${command} ${args.join(' ')}: ${error?.message ?? stderr}`);
  return stdout;
}

/** Once in a test file. @param directory of the test's own, open to everybody */
export async function ownNetwork(context: TestContext, directory: string): Promise<OwnNetwork> {
  const before = readlinkSync('/proc/self/ns/net');
  unshare(CLONE.CLONE_NEWNET | CLONE.CLONE_NEWNS);
  const own = readlinkSync('/proc/self/ns/net');
  assert.notEqual(own, before);
  run('mount', '--make-rprivate', '/');
  run('mount', '-t', 'tmpfs', '-o', 'mode=755', 'tmpfs', '/dev/net');
  run('mknod', '/dev/net/tun', 'c', '10', '200');
  run('chmod', '666', '/dev/net/tun');
  const file = join(directory, 'resolv.conf');
  writeFileSync(file, `nameserver ${INTERNET.address}\n`, { mode: 0o644 });
  run('mount', '--bind', file, '/etc/resolv.conf');
  linkUp('lo');
  const child = spawn('unshare', ['--net', 'sleep', '600'], { stdio: 'ignore' });
  context.after(() => child.kill('SIGKILL'));
  const pid = String(child.pid);
  await until('another network namespace', () => readlinkSync(`/proc/${pid}/ns/net`) !== own);
  const inside = ['--target', pid, '--net', '--'];
  const script = `
ip link add eth0 type veth peer name eth0 netns ${pid}
ip address add ${HOST.address}/24 dev eth0; ip address add ${HOST.address6}/64 dev eth0 nodad; ip link set eth0 up
there() { nsenter ${inside.join(' ')} ip "$@"; }
there address add 192.0.2.1/24 dev eth0; there address add 2001:db8::1/64 dev eth0 nodad; there link set eth0 up
there link set lo up; there address add ${INTERNET.address}/32 dev lo; there address add ${INTERNET.address6}/128 dev lo
ip route add default via 192.0.2.1; ip -6 route add default via 2001:db8::1`;
  run('sh', '-ec', script);
  return {
    there(...command) {
      const { status, stdout } = spawnSync('nsenter', [...inside, ...command], { encoding: 'utf8', timeout: 20_000 });
      return { status, stdout };
    },
    startThere(...command) {
      const started = spawn('nsenter', [...inside, ...command], { stdio: 'ignore' });
      context.after(() => started.kill('SIGKILL'));
      return started;
    },
    resolvConf: (text) => writeFileSync(file, text),
  };
}

/** A DNS server on udp port 53 of `address`, to be run with `node -e`: every name is at `answer`. */
export function dnsScript(address: string, answer: string): string {
  const bytes = answer.split('.').join(',');
  return `const s = require('dgram').createSocket('udp4');
s.on('message', (m, from) => {
  let end = 12; while (m[end] !== 0) end += m[end] + 1;
  const type = m.readUInt16BE(end + 1), head = Buffer.from(m.subarray(0, end + 5));
  const found = type === 1 ? [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, ${bytes}] : [];
  head.writeUInt16BE(0x8180, 2); head.writeUInt16BE(found.length > 0 ? 1 : 0, 6); head.writeUInt16BE(0, 8); head.writeUInt16BE(0, 10);
  s.send(Buffer.concat([head, Buffer.from(found)]), from.port, from.address);
}).bind(53, '${address}')`;
}
