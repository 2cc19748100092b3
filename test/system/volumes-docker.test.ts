/** `volume ...` beside a real docker: the same words for the same commands. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { requires } from '../requires.ts';
import { besideDocker } from './beside-docker.ts';

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
