/** `images`, `history`, `tag`, `ps --size` and `system df -v` beside docker's, on the same images. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { requires } from '../requires.ts';
import { besideDocker, type Pair, type Said } from './beside-docker.ts';
import { REPOSITORY, sandbox } from './harness.ts';
import { makeLayout, skopeo, startRegistry } from './registry-daemon.ts';

const FIXTURES = join(REPOSITORY, 'rootfs-fixtures/build');
const [BUSYBOX, LAYERS] = [join(FIXTURES, 'busybox.tar'), join(FIXTURES, 'layers.tar')];

function needs(context: TestContext): boolean {
  return requires(context, 'root', 'overlay', 'command:dockerd', `file:${BUSYBOX}`, `file:${LAYERS}`);
}

/** Docker has no order among the repositories of an image, nor among images of one second. */
const sorted = ({ status, stdout, stderr }: Said) => ({ status, stderr, lines: stdout.split('\n').sort() });

/** Runs commands on both; their answers must be alike but for the order of lines. */
async function alike({ compare }: Pair, commands: readonly string[]): Promise<void> {
  for (const command of commands) {
    const [docker, tsbox] = await compare(...words(command));
    assert.deepEqual(sorted(tsbox), sorted(docker), command);
  }
}

/** `~` is a blank within a word. */
const words = (line: string) => line.split(' ').map((word) => word.replaceAll('~', ' '));

const NAMES = '{{.Repository}}:{{.Tag}}';

test("images: filters and patterns choose as docker's", async (context) => {
  if (!needs(context)) return;
  const pair = await besideDocker(context);
  const given = [
    `import --change LABEL~n=1~kind=test ${BUSYBOX} first:1`,
    'tag first:1 first:2',
    'tag first:1 team/tool:v1',
    'tag first:1 localhost:5000/a/b/c:x',
    `load --quiet --input ${LAYERS}`,
    'create --name maker --network none first:1 true',
    'commit --change LABEL~n=2 maker child:1',
    'commit --change LABEL~n=3 maker child:1',
    'commit --change LABEL~n=4 maker loose',
    'create --name user --network none loose true',
    'commit --change LABEL~n=5 user top:1',
    'rmi -f loose',
  ];
  for (const line of given) await pair.both(...words(line));
  const patterns = [
    'first',
    'first:1',
    'f*',
    '*',
    '*:1',
    '*/*',
    '*/*:*',
    'localhost:5000/*/*/*',
    'localhost:5000/a/b/c',
  ];
  patterns.push('[af]irst', '[^a]irst', '[!a]irst', 'firs?', '\\first', 'f\\irst:1', 'FIRST', '[z-a]irst', 'first:');
  patterns.push(':1', '**', 'team', '*tool');
  await alike(pair, [
    ...patterns.map((pattern) => `images --format ${NAMES} ${pattern}`),
    ...patterns.map((pattern) => `images --format ${NAMES} --filter reference=${pattern}`),
    `images --format ${NAMES} --filter reference=child --filter reference=team/*`,
    `images --format ${NAMES} --filter reference=child first`,
    ...['true', 'false'].flatMap((value) => [
      `images --no-trunc -q --filter dangling=${value}`,
      `images --no-trunc -q -a --filter dangling=${value}`,
    ]),
    'images -a --no-trunc -q',
    'images --no-trunc -q',
    ...['n', 'n=1', 'n=9', 'kind=test', 'n=1 --filter label=kind', 'n=2 --filter label=kind', 'N'].map(
      (label) => `images --format ${NAMES} --filter label=${label}`,
    ),
    ...['before', 'since'].flatMap((key) =>
      ['first:1', 'child:1', '{first:1#12}', 'sha256:{first:1}', 'layers', 'none', 'None'].map(
        (image) => `images --no-trunc -a --format {{.ID}} --filter ${key}=${image}`,
      ),
    ),
    `images --format ${NAMES} --filter since=first:1 --filter before=top:1 --filter label=n`,
    `images --format {{.Repository}}|{{.Tag}}|{{.Digest}}|{{.Size}}|{{.VirtualSize}}`,
    'images --format table~{{.Repository}}\\t{{.Tag}}\\t{{.Size}}',
    'images none',
    'images --filter none',
  ]);
});

test('images: what docker refuses is refused, with the same exit code', async (context) => {
  if (!needs(context)) return;
  const pair = await besideDocker(context);
  await pair.both('import', BUSYBOX, 'one:1');
  const commands = ['-f dangling=x', '-f x=1', '-f label!=x', '-f x', '[', 'one one', '--none'];
  for (const flags of commands) {
    const [docker, tsbox] = await pair.compare('images', ...flags.split(' '));
    assert.deepEqual([tsbox.status, tsbox.stdout], [docker.status, docker.stdout], flags);
    const first = (text: string) =>
      text
        .split('\n')[0]!
        .toLowerCase()
        .replace(/^'docker/, "'tsbox");
    const [expected, actual] = [first(docker.stderr), first(tsbox.stderr)];
    assert.equal(actual.replace(/ "\["$/, ''), expected, flags);
  }
});

test("images: digests have rows as docker's", async (context) => {
  if (!needs(context) || !requires(context, 'command:docker-registry', 'command:skopeo')) return;
  const { directory, host } = await startRegistry(context);
  const layout = makeLayout(directory, ['one', 'two']);
  for (const name of ['one:1', 'one:2', 'two:1', 'three:1']) {
    await skopeo(directory, 'copy', '--dest-tls-verify=false', `oci:${layout}:one`, `docker://${host}/${name}`);
  }
  const inspected = await skopeo(directory, 'inspect', '--tls-verify=false', `docker://${host}/one:1`);
  const { Digest: digest } = JSON.parse(inspected.toString());
  const pair = await besideDocker(context);
  const given = [`pull ${host}/one:1`, `pull ${host}/one:2`, `pull ${host}/two@${digest}`, `pull ${host}/three:1`];
  for (const line of [...given, `tag ${host}/one:1 plain:1`, `rmi ${host}/three@${digest}`])
    await pair.both(...words(line));
  const row = '{{.ID}}|{{.Repository}}|{{.Tag}}';
  await alike(pair, [
    `images --format ${row}`,
    `images --format ${row}|{{.Digest}} ${host}/one`,
    `images --digests --format ${row}`,
    'images --digests --format table~{{.Repository}}\\t{{.Tag}}\\t{{.Digest}}',
    `images --format ${row} ${host}/two`,
    `images --format ${row} ${host}/two@${digest}`,
    `images --digests --format ${row} ${host}/one`,
    'images -q',
    'images -q --no-trunc',
    'images -q --digests',
  ]);
  await pair.both('rmi', 'plain:1', `${host}/one:1`, `${host}/one:2`, `${host}/three:1`);
  await alike(pair, [
    `images --digests --format ${row}|{{.Digest}}`,
    `images --format ${row}`,
    'images -q --filter dangling=true',
    'images -q --filter dangling=false',
    'image prune -f',
    'images -q -a',
  ]);
});

test('images: the plain table, JSON, and the fields that docker leaves out', async (context) => {
  if (!requires(context, 'root', 'overlay')) return;
  const box = sandbox(context);
  assert.equal(await box.quick(['images']), 'REPOSITORY   TAG       IMAGE ID   CREATED   SIZE');
  const image = box.image('busybox');
  await box.quick(['tag', image, 'second:1']);
  await box.quick(['create', '--name', 'user', '--network', 'none', image]);
  await box.quick(['commit', '-m', 'same layers', 'user', 'child:1']);
  const row = '{{.Repository}} {{.SharedSize}} {{.UniqueSize}} {{.Containers}}';
  const size = await box.quick(['images', '--format', '{{.VirtualSize}}', 'child']);
  assert.equal(await box.quick(['images', '--format', row, 'second']), `second ${size} 0B 1`);
  assert.equal(await box.quick(['images', '--format', row, 'child']), `child ${size} 0B 0`);
  const json = JSON.parse(await box.quick(['images', '--format', 'json', 'child']));
  const fields = 'Containers CreatedAt CreatedSince Digest ID Repository SharedSize Size Tag UniqueSize VirtualSize';
  assert.deepEqual(Object.keys(json), fields.split(' '));
  assert.deepEqual([json.Containers, json.SharedSize, json.Digest, json.Tag], ['0', size, '<none>', '1']);
});

test('images --tree: each layer once, with the images above it', async (context) => {
  if (!requires(context, 'root', 'overlay')) return;
  const box = sandbox(context);
  const image = box.image('busybox');
  await box.quick(['tag', image, 'also:1']);
  for (const name of ['one', 'two']) {
    box.ok(['run', '--name', name, '--network', 'none', image, 'sh', '-c', `head -c 2000 /dev/zero > /${name}`]);
    await box.quick(['commit', name, name]);
  }
  box.image('layers');
  const ids = [...(await box.quick(['images', '--tree'])).matchAll(/\b[0-9a-f]{12}\b/g)].map(([id]) => id);
  assert.equal(new Set(ids).size, ids.length, 'nothing stands there twice');
  const text = (await box.quick(['images', '--tree'])).replaceAll(/\b[0-9a-f]{12}\b/g, 'ID');
  const lines = text.split('\n').map((line) => line.replace(/\s{2,}/g, '  ').trim());
  assert.deepEqual(lines, [
    'LAYERS AND IMAGES  IMAGE ID  SIZE  SHARED BY  CREATED BY',
    'layer ID  1.99MB  3 images  Imported from -',
    '├─ also:1, busybox:offline  ID  1.99MB',
    '├─ layer ID  2kB  sh -c head -c 2000 /dev/zero > /two',
    '│  └─ two:latest  ID  1.99MB',
    '└─ layer ID  2kB  sh -c head -c 2000 /dev/zero > /one',
    '└─ one:latest  ID  1.99MB',
    ...text
      .split('\n')
      .slice(7, 11)
      .map((line) => line.replace(/\s{2,}/g, '  ').trim()),
    '',
    text.split('\n').at(-1)!,
  ]);
  assert.match(text, /layer ID .* base: .*\nlayer ID .*\nlayer ID .*\n└─ layers:latest +ID +8.28MB\n/);
  assert.match(text, /\n4 images of 6 layers take \S+; without sharing it would be \S+\.$/);
  assert.match(await box.quick(['images', '--tree', 'one']), /\n1 image of 2 layers take \S+\.$/);
  assert.match(await box.quick(['images', '--tree', '--no-trunc', 'one']), /^layer sha256:[0-9a-f]{64} /m);
  for (const flag of ['--quiet', '--digests', '--format=x']) {
    assert.equal((await box.said(['images', '--tree', flag])).status, 125, flag);
  }
});

test("history: docker's rows, on its images and ours", async (context) => {
  if (!needs(context)) return;
  const pair = await besideDocker(context);
  await pair.both('load', '--quiet', '--input', LAYERS);
  await pair.both('import', '--message', 'what I did', BUSYBOX, 'one:1');
  await pair.both(
    'run',
    '--name',
    'maker',
    '--network',
    'none',
    'one:1',
    'sh',
    '-c',
    'echo\thello   there > /file; : a long line',
  );
  await pair.both('commit', '--message', 'second step', 'maker', 'two:1');
  await pair.both('create', '--name', 'again', '--network', 'none', 'two:1', 'true');
  await pair.both('commit', '--change', 'ENV A=1', 'again', 'three:1');
  const loaded = ['', '--no-trunc', '-q', '-q --no-trunc', '-H=false', '--human=false --no-trunc', '--format json'];
  loaded.push('--format {{.ID}}|{{.CreatedSince}}|{{.CreatedAt}}|{{.CreatedBy}}|{{.Size}}|{{.Comment}}');
  loaded.push('--format table~{{.ID}}\\t{{.Size}}\\t{{.CreatedAt}}', '--format table', '-q --format {{.Size}}');
  for (const flags of loaded) await pair.same('history', ...words(flags).filter(Boolean), 'layers');
  for (const image of ['one:1', 'two:1', 'three:1']) {
    await pair.same('history', '-q', '--no-trunc', image);
    await pair.same('history', '--no-trunc', '--format', '{{.ID}}|{{.CreatedBy}}|{{.Size}}|{{.Comment}}', image);
    await pair.same('history', '--format', '{{.CreatedBy}}|{{.Size}}', image);
  }
  await pair.both('rmi', '-f', 'two:1');
  await alike(pair, [
    'history -q --no-trunc three:1',
    'history none',
    'history None',
    'history {three:1#12} -q',
    'history abc',
  ]);
});

test("tag: names and errors are docker's", async (context) => {
  if (!needs(context)) return;
  const pair = await besideDocker(context);
  await pair.both('import', '--change', 'LABEL n=1', BUSYBOX, 'one:1');
  await pair.both('import', '--change', 'LABEL n=2', BUSYBOX, 'two:1');
  const digest = `sha256:${'a'.repeat(64)}`;
  for (const line of [
    'tag one:1 one',
    'tag one new:2',
    'tag {one:1} by-id:1',
    'tag {one:1#12} by-short:1',
    'tag sha256:{one:1} docker.io/library/full:1',
    'tag one:1 index.docker.io/team/x',
    'tag one:1 localhost:5000/a/b__c/d-e.f:T.a_g',
    'tag two:1 one:1',
    'tag one:1 two:1',
    'tag none x',
    'tag one:2 x',
    `tag one@${digest} x`,
    `tag one:1 x@${digest}`,
    'tag one:1 Upper',
    'tag one:1 x:!!',
    'tag one:1 x:',
    'tag one:1 -x',
    'tag one:1 a..b',
    `tag one:1 ${'b'.repeat(64)}`,
    `tag one:1 x:${'t'.repeat(129)}`,
    'tag None x',
  ]) {
    const [docker, tsbox] = await pair.compare(...words(line));
    assert.deepEqual([tsbox.status, tsbox.stdout], [docker.status, docker.stdout], line);
    const reason = (text: string) => text.replace(/^Error parsing reference: .* is not a valid repository\/tag: /, '');
    assert.equal(reason(tsbox.stderr), reason(docker.stderr), line);
    await alike(pair, ['images --no-trunc --format {{.ID}}|{{.Repository}}|{{.Tag}}']);
  }
});

test("ps --size and system df -v: docker's figures", async (context) => {
  if (!needs(context)) return;
  const pair = await besideDocker(context);
  await pair.both('import', BUSYBOX, 'one:1');
  await pair.both('load', '--quiet', '--input', LAYERS);
  const script = 'head -c 123456 /dev/zero > /a; ln /a /b; ln -s /a /c; rm /etc/passwd; mkdir /d; : > /d/empty';
  await pair.both('run', '--name', 'written', '--network', 'none', 'one:1', 'sh', '-c', script);
  await pair.both(
    'run',
    '-d',
    '--name',
    'runs',
    '--network',
    'none',
    'one:1',
    'sh',
    '-c',
    'echo 12345 > /x; sleep 1000',
  );
  await pair.both('exec', 'runs', 'sh', '-c', 'until [ -s /x ]; do sleep 0.1; done');
  await pair.both('create', '--name', 'fresh', '--network', 'none', 'layers', 'true');
  await pair.both('commit', 'written', 'two:1');
  await pair.both('tag', 'one:1', 'also:1');
  const image = '{{.ID}}|{{.Repository}}|{{.Tag}}|{{.Size}}|{{.SharedSize}}|{{.UniqueSize}}|{{.Containers}}';
  const container = '{{.ID}}|{{.Image}}|{{.LocalVolumes}}|{{.Size}}|{{.Names}}';
  await alike(pair, [
    'ps -a --format {{.Names}}|{{.Size}}',
    'ps -as --format {{.Names}}|{{.Size}}',
    'ps -as --format table~{{.Names}}\\t{{.Size}}',
    'ps -s --format {{.Size}}',
    'inspect -s --format {{.Name}}|{{.SizeRw}}|{{.SizeRootFs}} written fresh runs',
    'container inspect --size --format {{.Name}}|{{.SizeRw}}|{{.SizeRootFs}} written',
    'inspect --size --format {{.Size}} one:1 missing',
    `system df -v --format {{range~.Images}}${image}{{println}}{{end}}`,
    `system df -v --format {{range~.Containers}}${container}{{println}}{{end}}`,
    'system df --format {{.Type}}|{{.TotalCount}}|{{.Active}}|{{.Size}}',
    'system df --format table~{{.Type}}\\t{{.Size}}',
  ]);
  const [docker, tsbox] = await pair.compare('system', 'df', '-v', '--format', 'json');
  const keys = ({ stdout }: Said) =>
    Object.entries(JSON.parse(stdout) as Record<string, object[]>).map(([name, rows]) => [
      name,
      rows.length,
      Object.keys(rows[0] ?? {}),
    ]);
  const without = (list: unknown[]) => JSON.parse(JSON.stringify(list).replace('"Platform",', ''));
  assert.deepEqual(keys(tsbox), without(keys(docker)));
});
