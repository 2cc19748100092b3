/** `volume ...` beside a real docker: the same words for the same commands. */
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { requires } from '../requires.ts';
import { besideDocker } from './beside-docker.ts';
import { REPOSITORY } from './harness.ts';

const ARCHIVE = join(REPOSITORY, 'rootfs-fixtures/build/busybox.tar');

test('volumes: create, ls, inspect, rm and their errors are in the words of docker', async (t) => {
  if (!requires(t, 'root', 'overlay', 'command:dockerd')) return;
  const pair = await besideDocker(t);
  const same = async (words: string) => pair.same('volume', ...words.split(' '));
  for (const words of [
    'create --label k=v --label z bb',
    'create x',
    'create a/b',
    'create --opt type=tmpfs --opt device=tmpfs --opt o=size=1m,uid=1000 tt',
    'create --opt type=tmpfs t2',
    'create --opt foo=bar t3',
    'create --opt type=none --opt device=/nosuch --opt o=bind t5',
    'create --opt type=tmpfs --opt device=tmpfs bb',
    'create --name v10',
    'create v9',
    'ls',
    'ls --filter dangling=maybe',
    'ls -q --filter label=k',
    'ls -q --filter label=k=v',
    'ls -q --filter driver=local --filter name=t',
    'ls -q --filter name=^v',
    'ls --format {{.Name}}:{{.Driver}}:{{.Scope}}:{{.Links}}:{{.Size}}:{{.Labels}} --filter name=v',
    'rm v9 nosuch v10',
    'ls',
  ]) {
    await same(words);
  }
  const both = (await pair.compare('volume', 'inspect', 'bb', 'nosuch', 'tt', 't5')).map(
    ({ status, stdout, stderr }) => {
      const found = JSON.parse(stdout) as Record<string, unknown>[];
      return {
        status,
        stderr,
        found: found.map((one) => ({ ...one, CreatedAt: typeof one['CreatedAt'], Mountpoint: '' })),
      };
    },
  );
  assert.deepEqual(both[1], both[0]);
  // With options a volume is not pruned; the newer client asks in other words, and the others keep their count.
  const pruned = await pair.compare('volume', 'prune', '-f', '--filter', 'label=k');
  assert.match(pruned[1].stdout, /^(Deleted Volumes:\nbb\n\n)Total reclaimed space: 0B\n$/);
  assert.equal(pruned[1].stdout, pruned[0].stdout);
  const name = await pair.same('volume', 'ls', '-q');
  assert.equal(name.stdout, 't5\ntt\n');
});

test('volumes: the mounts of a container are shown as by docker, field by field', async (t) => {
  if (!requires(t, 'root', 'overlay', 'command:dockerd')) return;
  const pair = await besideDocker(t);
  const source = join(pair.box.directory, 'source');
  mkdirSync(source);
  await pair.both('import', '--change', 'VOLUME /image', '--change', 'CMD ["sh"]', ARCHIVE, 'vol:img');
  const none = ['--network', 'none'];
  const mount = (text: string) => ['--mount', text];
  await pair.both(
    ...['create', '--name', 'one', ...none, '-v', 'named:/data', '-v', `${source}:/b:ro`, '-v', '/anon'],
    ...['-v', 'named:/n:ro,nocopy', '-v', `${source}:/z:z`, '-v', 'named:/tmp', '--tmpfs', '/t1:size=1m'],
    ...mount(`type=bind,src=${source},dst=/m,bind-propagation=rslave,readonly`),
    ...mount('type=tmpfs,dst=/t,tmpfs-size=1m'),
    ...mount('src=v9,dst=/mv'),
    ...mount('dst=/ma'),
    'vol:img',
  );
  // Docker cannot take the mounts of a container that has a tmpfs among them.
  const given = ['-v', 'named:/data', '-v', `${source}:/b:ro`, '-v', '/anon'];
  await pair.both('create', '--name', 'giver', ...none, ...given, 'vol:img');
  await pair.both('create', '--name', 'two', ...none, '--volumes-from', 'giver:ro', '-v', 'other:/data', 'vol:img');
  for (const name of ['one', 'two']) {
    const [theirs, ours] = (await pair.compare('inspect', name)).map(({ stdout }) => {
      const [{ Mounts, HostConfig, Config }] = JSON.parse(stdout);
      const anonymous = (text: string) => text.replace(/^.*\/volumes\//, '').replace(/[0-9a-f]{64}/, 'ID');
      const points = Mounts.map((point: { Name?: string; Source: string }) => ({
        ...point,
        ...(point.Name === undefined ? {} : { Name: anonymous(point.Name) }),
        Source: anonymous(point.Source),
      }));
      const { Binds, Mounts: asked, Tmpfs, VolumesFrom, VolumeDriver } = HostConfig;
      return {
        points: points.sort((a: { Destination: string }, b: { Destination: string }) =>
          a.Destination < b.Destination ? -1 : 1,
        ),
        asked: { Binds: Binds?.sort(), asked, Tmpfs, VolumesFrom, VolumeDriver },
        volumes: Config.Volumes,
      };
    });
    assert.deepEqual(ours, theirs, name);
  }
  const refused: string[][] = [
    ['-v', 'named:x'],
    ['-v', 'named:/'],
    ['-v', 'named:/x:foo'],
    ['-v', 'named:/x:ro,rshared'],
    ['-v', 'named:/x', '--tmpfs', '/x'],
    mount('type=bind,src=/no/such,dst=/x'),
    mount('type=volume,src=/bb,dst=/x'),
    ['--volumes-from', 'giver:foo'],
  ];
  for (const flags of refused) await pair.same('create', ...none, ...flags, 'vol:img');
  await pair.same('volume', 'rm', 'other');
  await pair.same('ps', '-a', '--filter', 'volume=/data', '--format', '{{.Names}} {{.LocalVolumes}}');
  await pair.same('ps', '-a', '--filter', 'volume=v9', '--format', '{{.Names}}');
});
