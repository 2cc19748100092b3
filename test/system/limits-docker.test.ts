/** The same limits to docker and to tsbox: what each refuses, what each keeps, what an update changes. */
import { join } from 'node:path';
import test from 'node:test';
import { requires } from '../requires.ts';
import { besideDocker } from './beside-docker.ts';
import { REPOSITORY } from './harness.ts';

const REFUSED = [
  '-m 5m',
  '-m x',
  '-m -1',
  '-m 100m --memory-swap 50m',
  '--memory-swap 50m',
  '--memory-swap -2',
  '--memory-reservation 5m',
  '-m 100m --memory-reservation 200m',
  '--memory-swappiness 101',
  '--memory-swappiness x',
  '--cpus 0.5 --cpu-period 100000',
  '--cpus 0.5 --cpu-quota 10000',
  '--cpus 99',
  '--cpus x',
  '--cpus 0.0000000001',
  '--cpus -1',
  '--cpu-period 10',
  '--cpu-quota 10',
  '--cpuset-cpus 4095',
  '--cpuset-cpus x',
  '--cpuset-cpus 0-f',
  '--cpuset-cpus 1-0',
  '--cpuset-mems 500',
  '--pids-limit x',
  '--blkio-weight 70000',
  '--blkio-weight-device x',
  '--blkio-weight-device /dev/null:5',
  '--blkio-weight-device x:300',
  '--device-read-bps x:1mb',
  '--device-read-bps /dev/null',
  '--device-read-bps /dev/null:x',
  '--device-write-bps /dev/null:-1',
  '--device-write-iops /dev/null:1mb',
  '--oom-score-adj 2000',
];

const TAKEN = [
  '-m 1.5g',
  '-m 100m --memory-swap -1',
  '-m 100m --memory-swap=100m',
  '-m 0',
  '--memory-swappiness 50',
  '--cpus 1/2',
  '--cpus .25',
  '--cpu-quota -1',
  '--cpu-shares 1',
  '-c -5',
  '--cpuset-cpus 0',
  '--pids-limit -1',
  '--pids-limit 0',
  '--pids-limit 10',
  '--device-read-bps /dev/null:1mb --device-read-bps /dev/zero:5',
  '--device-write-iops /dev/null:10',
  '--oom-score-adj 500',
  '--cgroup-parent foo',
  '-m 100m --memory-reservation 50m --cpus 0.5 --cpu-shares 512 --cpuset-cpus 0 --pids-limit 10',
];

const FIELDS = [
  'Memory MemorySwap MemoryReservation MemorySwappiness OomKillDisable OomScoreAdj PidsLimit NanoCpus CpuPeriod CpuQuota',
  'CpuShares CpusetCpus CpusetMems CgroupParent BlkioWeight BlkioWeightDevice BlkioDeviceReadBps BlkioDeviceWriteBps',
  'BlkioDeviceReadIOps BlkioDeviceWriteIOps',
].flatMap((line) => line.split(' '));

const UPDATES = [
  '-m 100m',
  '-m 100m --memory-swap 200m',
  '-m 300m',
  '-m 50m',
  '--memory-swap -1',
  '-m 80m',
  '--cpus 0.5',
  '--cpu-period 10000',
  '--cpu-quota 5000',
  '--pids-limit 10',
  '--pids-limit 0',
  '--pids-limit -1',
  '--cpu-shares 100',
  '--cpuset-cpus 0',
  '--cpuset-cpus 4095',
  '--memory-reservation 20m',
  '-m 5m',
  '--cpu-quota -1',
];

test('limits: beside docker', async (t) => {
  if (!requires(t, 'root', 'overlay', 'command:dockerd')) return;
  const pair = await besideDocker(t);
  await pair.both('import', join(REPOSITORY, 'rootfs-fixtures/build/busybox.tar'), 'bb');
  const shown = FIELDS.map((field) => `${field}={{json .HostConfig.${field}}}`).join(' ');
  await t.test('what is refused, and in which words', async () => {
    for (const flags of REFUSED) await pair.same('create', ...flags.split(' '), 'bb', 'true');
  });
  await t.test('what is kept', async () => {
    for (const [index, flags] of TAKEN.entries()) {
      await pair.both('create', '--name', `kept${index}`, ...flags.split(' '), 'bb', 'true');
      await pair.same('inspect', '-f', shown, `kept${index}`);
    }
  });
  await t.test('update of one that runs', async () => {
    await pair.both('run', '-d', '--name', 'runs', '--network', 'none', 'bb', 'sleep', '1000');
    for (const flags of UPDATES) {
      await pair.same('update', ...flags.split(' '), 'runs');
      await pair.same('inspect', '-f', shown, 'runs');
    }
  });
  await t.test('stats of one that does not run', async () => {
    const format =
      '{{.Container}} {{.Name}} {{.ID}} {{.CPUPerc}} {{.MemUsage}} {{.NetIO}} {{.BlockIO}} {{.MemPerc}} {{.PIDs}}';
    await pair.same('stats', '--no-stream', '--format', format, 'kept0');
    await pair.same('stats', '--no-stream', 'kept0');
    await pair.same('stats', '--no-stream', '--format', 'json', 'kept1');
    await pair.same('stats', '--no-stream', 'kept1', 'nix');
  });
  await pair.clean();
});
