/** Every verb against Docker's own list of flags: each one works here or is refused by name. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { ALIASES, GROUPS, MANAGEMENT, UNSUPPORTED_VERBS, VERBS } from '../../src/cli/verbs.ts';

/** What `docker VERB --help` of Docker 28 lists, `name/short`. */
const DOCKER: Record<string, string> = {
  attach: 'detach-keys no-stdin sig-proxy',
  commit: 'author/a change/c message/m pause/p',
  'container prune': 'filter force/f',
  cp: 'archive/a follow-link/L quiet/q',
  create:
    'add-host annotation attach/a blkio-weight blkio-weight-device cap-add cap-drop cgroup-parent cgroupns cidfile cpu-count cpu-percent cpu-period cpu-quota cpu-rt-period cpu-rt-runtime cpu-shares/c cpus cpuset-cpus cpuset-mems device device-cgroup-rule device-read-bps device-read-iops device-write-bps device-write-iops disable-content-trust dns dns-option dns-search domainname entrypoint env/e env-file expose gpus group-add health-cmd health-interval health-retries health-start-interval health-start-period health-timeout hostname/h init interactive/i io-maxbandwidth io-maxiops ip ip6 ipc isolation kernel-memory label/l label-file link link-local-ip log-driver log-opt mac-address memory/m memory-reservation memory-swap memory-swappiness mount name network network-alias no-healthcheck oom-kill-disable oom-score-adj pid pids-limit platform privileged publish/p publish-all/P pull quiet/q read-only restart rm runtime security-opt shm-size stop-signal stop-timeout storage-opt sysctl tmpfs tty/t ulimit use-api-socket user/u userns uts volume/v volume-driver volumes-from workdir/w',
  diff: '',
  doctor: '',
  events: 'filter/f format since until',
  exec: 'detach/d detach-keys env/e env-file interactive/i privileged tty/t user/u workdir/w',
  export: 'output/o',
  history: 'format human/H no-trunc platform quiet/q',
  'image prune': 'all/a filter force/f',
  images: 'all/a digests filter/f format no-trunc quiet/q tree',
  import: 'change/c message/m platform',
  info: 'format/f',
  inspect: 'format/f size/s type',
  kill: 'signal/s',
  load: 'input/i platform quiet/q',
  login: 'password/p password-stdin username/u',
  logout: '',
  logs: 'details follow/f since tail/n timestamps/t until',
  'manifest inspect': 'insecure verbose/v',
  'network connect': 'alias driver-opt gw-priority ip ip6 link link-local-ip',
  'network create':
    'attachable aux-address config-from config-only driver/d gateway ingress internal ip-range ipam-driver ipam-opt ipv4 ipv6 label opt/o scope subnet',
  'network disconnect': 'force/f',
  'network inspect': 'format/f verbose/v',
  'network ls': 'filter/f format no-trunc quiet/q',
  'network prune': 'filter force/f',
  'network rm': 'force/f',
  pause: '',
  port: '',
  ps: 'all/a filter/f format last/n latest/l no-trunc quiet/q size/s',
  pull: 'all-tags/a disable-content-trust platform quiet/q',
  push: 'all-tags/a disable-content-trust quiet/q',
  rename: '',
  restart: 'signal/s timeout/t',
  rm: 'force/f link/l volumes/v',
  rmi: 'force/f no-prune platform',
  run: 'add-host annotation attach/a blkio-weight blkio-weight-device cap-add cap-drop cgroup-parent cgroupns cidfile cpu-count cpu-percent cpu-period cpu-quota cpu-rt-period cpu-rt-runtime cpu-shares/c cpus cpuset-cpus cpuset-mems detach/d detach-keys device device-cgroup-rule device-read-bps device-read-iops device-write-bps device-write-iops disable-content-trust dns dns-option dns-search domainname entrypoint env/e env-file expose gpus group-add health-cmd health-interval health-retries health-start-interval health-start-period health-timeout hostname/h init interactive/i io-maxbandwidth io-maxiops ip ip6 ipc isolation kernel-memory label/l label-file link link-local-ip log-driver log-opt mac-address memory/m memory-reservation memory-swap memory-swappiness mount name network network-alias no-healthcheck oom-kill-disable oom-score-adj pid pids-limit platform privileged publish/p publish-all/P pull quiet/q read-only restart rm runtime security-opt shm-size sig-proxy stop-signal stop-timeout storage-opt sysctl tmpfs tty/t ulimit use-api-socket user/u userns uts volume/v volume-driver volumes-from workdir/w',
  save: 'output/o platform',
  start: 'attach/a checkpoint checkpoint-dir detach-keys interactive/i',
  stats: 'all/a format no-stream no-trunc',
  stop: 'signal/s timeout/t',
  'system after-exit': '',
  'system df': 'format verbose/v',
  'system probe': '',
  'system prune': 'all/a filter force/f volumes',
  'system start': '',
  tag: '',
  unpause: '',
  top: '',
  update:
    'blkio-weight cpu-period cpu-quota cpu-rt-period cpu-rt-runtime cpu-shares/c cpus cpuset-cpus cpuset-mems kernel-memory memory/m memory-reservation memory-swap pids-limit restart',
  version: 'format/f',
  'volume create':
    'availability driver/d group label limit-bytes name opt/o required-bytes scope secret sharing topology-preferred topology-required type',
  'volume inspect': 'format/f',
  'volume ls': 'cluster filter/f format quiet/q',
  'volume prune': 'all/a filter force/f',
  'volume rm': 'force/f',
  wait: '',
};

/** Ours alone. */
const OWN = ['explain', 'dry-run', 'format', 'doctor --quiet'];

const words = (text: string) => text.split(' ').filter((word) => word !== '');

for (const [name, load] of Object.entries(VERBS)) {
  test(`verbs: ${name} has each of Docker's flags or refuses it by name`, async () => {
    const { verb } = await load();
    const unsupported = words(verb.unsupported ?? '');
    const known = new Map([
      ...Object.entries(verb.flags).map(([flag, { short }]) => [flag, short] as const),
      ...unsupported.map((word) => word.split('/') as [string, string | undefined]),
    ]);
    for (const [flag = '', short] of words(DOCKER[name]!).map((word) => word.split('/'))) {
      assert.ok(known.has(flag), `--${flag} is unknown`);
      assert.equal(known.get(flag), short, `the short form of --${flag}`);
    }
    const docker = words(DOCKER[name]!).map((word) => word.split('/')[0]);
    for (const flag of Object.keys(verb.flags)) {
      assert.ok(
        docker.includes(flag) || OWN.includes(flag) || OWN.includes(`${name} --${flag}`),
        `--${flag} is none of Docker's`,
      );
    }
  });

  test(`verbs: no two flags of ${name} have the same name or letter`, async () => {
    const { verb } = await load();
    const names = Object.entries(verb.flags).flatMap(([flag, { short, aliases = [] }]) => [flag, short, ...aliases]);
    const all = [...names, ...words(verb.unsupported ?? '').flatMap((word) => word.split('/'))];
    const given = all.filter((flag) => flag !== undefined);
    assert.deepEqual(
      given.filter((flag, at) => given.indexOf(flag) !== at),
      [],
    );
  });
}

test('verbs: each is in the main help once, and every other spelling leads to one', () => {
  const short = Object.keys(VERBS).filter((name) => !name.includes(' '));
  assert.deepEqual(Object.values(GROUPS).flat().sort(), short.sort());
  assert.deepEqual(Object.keys(MANAGEMENT).sort(), Object.keys(ALIASES).sort());
  for (const name of Object.keys(VERBS).filter((each) => each.includes(' '))) {
    const [group = '', word = ''] = name.split(' ');
    assert.equal(ALIASES[group]?.[word], name, `${name} cannot be called`);
  }
  for (const names of Object.values(ALIASES)) for (const verb of Object.values(names)) assert.ok(verb in VERBS, verb);
  for (const verb of UNSUPPORTED_VERBS) assert.ok(!(verb in VERBS), verb);
});
