/**
 * What a container of docker and one of tsbox find of their networks (network-inside.ts), each engine in a network namespace of its own, so
 * that both give the same addresses. What differs on purpose is listed there, and has to differ; anything else that differs fails.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import test from 'node:test';
import { requires } from '../requires.ts';
import { REPOSITORY, type Sandbox } from './harness.ts';
import { type Docker, startDocker } from './images-setup.ts';
import { CASES, type Case, NETWORKS, SCRIPT, type Shown, sections } from './network-inside.ts';
import { networked } from './networks.ts';

const IMAGE = 'busybox:offline';

interface Engine {
  say(...args: string[]): Promise<string>;
  settings(container: string): Promise<Record<string, unknown>>;
}

const dockers = (docker: Docker): Engine => ({
  say: docker,
  // Its command line would leave out what its daemon is too old to say, and add what that does not know.
  settings: async (container) => {
    const { NetworkSettings } = (await docker.api('GET', `/containers/${container}/json`)) as {
      NetworkSettings: Record<string, unknown>;
    };
    return NetworkSettings;
  },
});

const tsboxs = (box: Sandbox): Engine => ({
  async say(...args) {
    const { status, stdout, stderr } = await box.start(args, { input: '' }).done;
    assert.equal(status, 0, `tsbox ${args.join(' ')}: ${stderr}`);
    return stdout.replace(/\n$/, '');
  },
  settings: async (container) =>
    JSON.parse(await box.quick(['inspect', '--format', '{{json .NetworkSettings}}', container])),
});

/** What both have, and the names of its ids. */
async function prepare({ say }: Engine): Promise<[id: string, name: string][]> {
  const networks = [];
  for (const words of NETWORKS) networks.push([await say('network', 'create', ...words), words.at(-1)!]);
  const first = await say('run', '--detach', '--name', 'first', '--network', 'user', IMAGE, 'sleep', '600');
  const builtin = await say('network', 'ls', '--no-trunc', '--filter', 'type=builtin', '--format', '{{.ID}} {{.Name}}');
  const ids = [...networks, ...builtin.split('\n').map((line) => line.split(' '))];
  return [
    [first.slice(0, 12), '(short id of first)'],
    ...ids.map(([id, name]) => [id!, `(id of ${name})`] as const),
  ] as [string, string][];
}

/** Starts a container, looks, and removes it. */
async function look({ say, settings }: Engine, each: Case, names: [string, string][]): Promise<Shown> {
  const id = await say('run', '--detach', '--name', 'looked-at', ...each.flags, IMAGE, 'sleep', '600');
  for (const network of each.connect ?? []) await say('network', 'connect', network, 'looked-at');
  if (each.disconnect !== undefined) await say('network', 'disconnect', each.disconnect, 'looked-at');
  const inside = await say('exec', 'looked-at', 'sh', '-c', SCRIPT);
  const shown = await settings('looked-at');
  await say('rm', '--force', 'looked-at');
  const own: [string, string][] = [
    [id, '(id)'],
    [id.slice(0, 12), '(short id)'],
  ];
  return { inside, settings: shown, names: new Map([...own, ...names]) };
}

test('networks beside docker: addresses, routes, files and inspect are the same inside', async (t) => {
  if (!requires(t, 'root', 'overlay', 'command:ip', 'command:nft', 'command:dockerd', 'command:iptables')) return;
  const box = networked(t);
  const docker = await startDocker(t, [], true);
  box.image();
  await docker('import', '--change', 'CMD ["sh"]', join(REPOSITORY, 'rootfs-fixtures/build/busybox.tar'), IMAGE);
  const engines = [dockers(docker), tsboxs(box)];
  const names = await Promise.all(engines.map(prepare));
  for (const each of CASES) {
    const { flags, connect = [], disconnect = '', differs, things } = each;
    await t.test([...flags, ...connect, disconnect].join(' ') || 'no flags', async () => {
      const [theirs, ours] = await Promise.all(engines.map((engine, index) => look(engine, each, names[index]!)));
      const seen = new Set<number>();
      const [expected, actual] = [sections(theirs!, differs, seen), sections(ours!, differs, seen)];
      if (things !== undefined) {
        for (const thing of Object.keys(expected)) {
          if ((things as readonly string[]).includes(thing)) continue;
          for (const one of [expected, actual] as Record<string, string[]>[]) delete one[thing];
        }
      }
      assert.deepEqual(actual, expected);
      assert.deepEqual([...seen].sort(), [...differs], 'what is listed as different is');
    });
  }
});
