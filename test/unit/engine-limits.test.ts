/** Limits as they are asked for: how values are read, what a host that cannot do it makes of them. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { parseBytes, parseCpus, parseInteger, resourceValues } from '../../src/cli/resource-values.ts';
import { checkLimits, parseCpuList, withDefaultSwap } from '../../src/engine/limits.ts';
import type { LimitSupport } from '../../src/spec/host.ts';
import type { Resources } from '../../src/spec/resources.ts';
import { parseNetDev } from '../../src/sys/cgroup-usage.ts';

const MIB = 1024 * 1024;

const ABLE: LimitSupport = {
  memory: true,
  swap: true,
  reservation: true,
  swappiness: true,
  oomKillDisable: true,
  pids: true,
  shares: true,
  quota: true,
  cpuset: true,
  weight: true,
  weightDevice: true,
  throttle: true,
  processors: 4,
  cpus: '0-3',
  mems: '0',
};
const UNABLE = Object.fromEntries(
  Object.entries(ABLE).map(([name, value]) => [name, value === true ? false : value]),
) as unknown as LimitSupport;

test('limits: a host that can do nothing leaves out what Docker leaves out, and says so in its words', () => {
  const rate = [{ Path: '/dev/sda', Rate: 1 }];
  const asked: Partial<Resources> = {
    Memory: 64 * MIB,
    MemoryReservation: 32 * MIB,
    MemorySwappiness: 10,
    OomKillDisable: true,
    PidsLimit: 5,
    CpuShares: 512,
    CpuPeriod: 10_000,
    CpusetCpus: '0',
    BlkioWeight: 300,
    BlkioWeightDevice: [{ Path: '/dev/sda', Weight: 10 }],
    BlkioDeviceReadBps: rate,
    BlkioDeviceWriteBps: rate,
    BlkioDeviceReadIOps: rate,
    BlkioDeviceWriteIOps: rate,
  };
  const { resources, warnings } = checkLimits(asked, UNABLE, false);
  assert.deepEqual(resources, { MemorySwap: -1, MemorySwappiness: null, OomKillDisable: null, PidsLimit: null });
  const lacks = (what: string) => `Your kernel does not support ${what}`;
  const mounted = 'or the cgroup is not mounted.';
  assert.deepEqual(warnings, [
    lacks(`memory limit capabilities ${mounted} Limitation discarded.`),
    lacks(`memory swappiness capabilities ${mounted} Memory swappiness discarded.`),
    lacks(`memory soft limit capabilities ${mounted} Limitation discarded.`),
    lacks('OomKillDisable. OomKillDisable discarded.'),
    lacks(`PIDs limit capabilities ${mounted} PIDs limit discarded.`),
    lacks(`CPU shares ${mounted} Shares discarded.`),
    lacks('CPU CFS scheduler. CPU period/quota discarded.'),
    lacks(`cpuset ${mounted} Cpuset discarded.`),
    lacks(`Block I/O weight ${mounted} Weight discarded.`),
    lacks(`Block I/O weight_device ${mounted} Weight-device discarded.`),
    lacks(`BPS Block I/O read limit ${mounted} Block I/O BPS read limit discarded.`),
    lacks(`BPS Block I/O write limit ${mounted} Block I/O BPS write limit discarded.`),
    lacks(`IOPS Block read limit ${mounted} Block I/O IOPS read limit discarded.`),
    lacks(`IOPS Block write limit ${mounted} Block I/O IOPS write limit discarded.`),
  ]);
});

test('limits: --cpus is refused where the kernel cannot do it, not left out', () => {
  assert.throws(
    () => checkLimits({ NanoCpus: 1e9 }, UNABLE, false),
    /^TsboxError: NanoCPUs can not be set, as your kernel/,
  );
});

test('limits: without swap accounting memory is limited without swap', () => {
  const { resources, warnings } = checkLimits({ Memory: 64 * MIB }, { ...ABLE, swap: false }, false);
  assert.deepEqual(resources, { Memory: 64 * MIB, MemorySwap: -1 });
  assert.equal(warnings.length, 1);
});

test('limits: swap that nobody spoke of is as much as the memory', () => {
  assert.equal(withDefaultSwap({ Memory: 10 }).MemorySwap, 20);
  assert.equal(withDefaultSwap({ Memory: 10, MemorySwap: -1 }).MemorySwap, -1);
  assert.equal(withDefaultSwap({}).MemorySwap, undefined);
});

test('limits: bytes', () => {
  const good: [string, number][] = [
    ['0', 0],
    ['512', 512],
    ['64m', 64 * MIB],
    ['64MB', 64 * MIB],
    ['64 MiB', 64 * MIB],
    ['1.5g', 1536 * MIB],
    ['.5k', 512],
    ['7b', 7],
  ];
  for (const [text, bytes] of good) assert.equal(parseBytes(text), bytes, text);
  for (const text of ['', 'x', '-1', '1x', '1kbb', '1mbit', 'm', '1.2.3m', '- 1'])
    assert.throws(() => parseBytes(text), text);
});

test('limits: processors are exact fractions', () => {
  const good: [string, number][] = [
    ['0.5', 500_000_000],
    ['1/2', 500_000_000],
    ['.25', 250_000_000],
    ['2.', 2e9],
    ['1e-1', 100_000_000],
    ['-1', -1e9],
    ['0.000000001', 1],
  ];
  for (const [text, nano] of good) assert.equal(parseCpus(text), nano, text);
  assert.throws(() => parseCpus('1/3'), /value is too precise/);
  assert.throws(() => parseCpus('0.0000000001'), /value is too precise/);
  for (const text of ['', '.', 'x', '1/0', '1,5', '0x1']) assert.throws(() => parseCpus(text), /failed to parse/);
});

test('limits: integers are those of Go', () => {
  assert.deepEqual(
    ['-5', '+5', '0x10', '010'].map((text) => parseInteger(text)),
    [-5, 5, 16, 8],
  );
  assert.throws(() => parseInteger('5m'), /strconv\.ParseInt: parsing "5m": invalid syntax/);
  assert.throws(() => parseInteger('9223372036854775808'), /value out of range/);
  assert.throws(() => parseInteger('-1', 0n, 65535n), /strconv\.ParseUint: parsing "-1": invalid syntax/);
});

test('limits: lists of processors', () => {
  assert.deepEqual([...parseCpuList('0-2,5')!], [0, 1, 2, 5]);
  for (const text of ['x', '1-0', '0-f', '-1', '1-', '1--2']) assert.equal(parseCpuList(text), undefined, text);
});

test('limits: flags that are not given are not in the request', () => {
  assert.deepEqual(resourceValues({ memory: '64m', 'device-read-bps': [], 'memory-swappiness': '-1' }), {
    Memory: 64 * MIB,
  });
});

test('stats: bytes of all interfaces but the loopback', () => {
  const text = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:     999       1    0    0    0     0          0         0      999       1    0    0    0     0       0          0
  eth0:    1500      10    0    0    0     0          0         0      700       8    0    0    0     0       0          0
  eth1:       5       1    0    0    0     0          0         0        6       1    0    0    0     0       0          0
`;
  assert.deepEqual(parseNetDev(text), { received: 1505, sent: 706 });
  assert.deepEqual(parseNetDev(''), { received: 0, sent: 0 });
});
