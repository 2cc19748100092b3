/** `image prune`, `container prune`, `system prune` and `system df`: what goes, what is told, and that it is docker's where docker is right. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { humanSize } from '../../src/cli/human.ts';
import { openEngine } from '../../src/engine/open.ts';
import { newLease, releaseLease } from '../../src/store/leases.ts';
import { registerLayer, stageLayer } from '../../src/store/register.ts';
import { requires } from '../requires.ts';
import { filesLayer } from '../unit/store-fixture.ts';
import { besideDocker, type Said } from './beside-docker.ts';
import { REPOSITORY, type Sandbox, sandbox } from './harness.ts';
import { terminal } from './tmux.ts';

const BUSYBOX = join(REPOSITORY, 'rootfs-fixtures/build/busybox.tar');

function needs(context: TestContext): boolean {
  return requires(context, 'root', 'overlay', `file:${BUSYBOX}`);
}

/** Bytes of files in layers and of what containers have written and printed, as find(1) sees them: every inode once. */
function bytesOnDisk({ dataRoot }: Sandbox): number {
  const content = ['-path', '*/overlay2/*/diff/*', '!', '-path', '*-init/*', '!', '-path', '*/image/*'];
  const logs = ['-path', '*/containers/*-json.log*'];
  const where = ['(', '(', ...content, ')', '-o', '(', ...logs, ')', ')', '(', '-type', 'f', '-o', '-type', 'l', ')'];
  const found = execFileSync('find', [dataRoot, ...where, '-printf', '%i %s\n']).toString();
  const sizes = new Map(
    found
      .split('\n')
      .filter(Boolean)
      .map((line) => line.split(' ') as [string, string]),
  );
  return [...sizes.values()].reduce((sum, size) => sum + Number(size), 0);
}

/** Runs a prune and holds what it tells against the disk. @returns its other lines */
function prune(box: Sandbox, ...args: string[]): string[] {
  const before = bytesOnDisk(box);
  const lines = box.ok([...args, '--force']).split('\n');
  assert.equal(lines.pop(), `Total reclaimed space: ${humanSize(before - bytesOnDisk(box))}`);
  return lines.filter((line) => line !== '');
}

const names = (box: Sandbox, ...flags: string[]) =>
  box
    .ok(['images', ...flags, '--format', '{{.Repository}}:{{.Tag}}'])
    .split('\n')
    .filter(Boolean)
    .sort();

test('prune: the space told is the space that is free then, of images of every kind', async (context) => {
  if (!needs(context)) return;
  const box = sandbox(context);
  const [busybox] = [box.image('busybox'), box.image('layers'), box.image('many-layers')];
  box.ok([
    'run',
    '--name',
    'maker',
    '--network',
    'none',
    busybox,
    'sh',
    '-c',
    'head -c 100000 /dev/zero > /new; seq 1000',
  ]);
  await box.quick(['commit', 'maker', 'made:1']);
  await box.quick(['commit', '-m', 'again', 'maker', 'made:1']);
  assert.equal(prune(box, 'image', 'prune').length, 2, 'the one that has lost its name');
  assert.deepEqual(names(box), [busybox, 'layers:latest', 'made:1', 'many-layers:latest'].sort());
  prune(box, 'image', 'prune', '--all');
  assert.deepEqual(names(box), [busybox], 'the one that has a container');
  const id = await box.quick(['ps', '-aq', '--no-trunc']);
  assert.deepEqual(prune(box, 'container', 'prune'), ['Deleted Containers:', id]);
  assert.equal(prune(box, 'image', 'prune', '-a').length, 4);
  assert.equal(bytesOnDisk(box), 0);
});

test('system df: RECLAIMABLE is what prune frees; each layer counts once', async (context) => {
  if (!needs(context)) return;
  const box = sandbox(context);
  const busybox = box.image('busybox');
  box.image('layers');
  await box.quick(['tag', busybox, 'other:1']);
  box.ok(['run', '--name', 'maker', '--network', 'none', busybox, 'sh', '-c', 'head -c 100000 /dev/zero > /new']);
  await box.quick(['commit', 'maker', 'made:1']);
  const rows = () =>
    box.ok(['system', 'df', '--format', '{{.Type}},{{.TotalCount}},{{.Active}},{{.Size}},{{.Reclaimable}}']);
  const [images = '', containers] = rows().split('\n');
  const [, total, active, size, reclaimable = ''] = images.split(',');
  assert.deepEqual([total, active], ['3', '1']);
  assert.equal(containers, 'Containers,1,0,100kB,100kB (100%)');
  assert.equal(size, humanSize(bytesOnDisk(box) - 100_000));
  const freed = (await box.quick(['image', 'prune', '-af'])).split('\n').at(-1);
  assert.equal(freed, `Total reclaimed space: ${reclaimable.split(' ')[0]}`);
  await box.quick(['system', 'prune', '-af']);
  assert.deepEqual(rows().split('\n'), [
    'Images,0,0,0B,0B',
    'Containers,0,0,0B,0B',
    'Local Volumes,0,0,0B,0B',
    'Build Cache,0,0,0B,0B',
  ]);
});

test('container prune: what runs stays; labels and age choose', async (context) => {
  if (!needs(context)) return;
  const box = sandbox(context);
  const image = box.image('busybox');
  for (const name of ['aa', 'bb', 'cc']) {
    await box.quick([
      'create',
      '--name',
      name,
      '--label',
      `name=${name}`,
      '--label',
      'kind=test',
      '--network',
      'none',
      image,
    ]);
  }
  box.ok(['run', '-d', '--name', 'runs', '--network', 'none', image, 'sleep', '1000']);
  const left = () => box.ok(['ps', '-a', '--format', '{{.Names}}']).split('\n').sort();
  assert.deepEqual(prune(box, 'container', 'prune', '--filter', 'until=1h'), []);
  assert.deepEqual(prune(box, 'container', 'prune', '--filter', 'label=name=x'), []);
  prune(box, 'container', 'prune', '--filter', 'label=name=aa', '--filter', 'label=kind');
  assert.deepEqual(left(), ['bb', 'cc', 'runs']);
  prune(box, 'container', 'prune', '--filter', 'label!=name=bb');
  assert.deepEqual(left(), ['bb', 'runs']);
  prune(box, 'container', 'prune', '--filter', 'until=2020-01-01');
  assert.deepEqual(left(), ['bb', 'runs']);
  prune(box, 'container', 'prune', '--filter', `until=${Math.ceil(Date.now() / 1000) + 1}`);
  assert.deepEqual(left(), ['runs']);
});

test('system prune: containers first, then the images that they had, and what interrupted pulls left', async (context) => {
  if (!needs(context)) return;
  const box = sandbox(context);
  box.ok(['run', '--name', 'done', '--network', 'none', box.image('busybox'), 'echo', 'hello']);
  const { store } = openEngine({ dataRoot: box.dataRoot, runRoot: box.runRoot });
  const lease = newLease();
  const { chainId } = await registerLayer(store, lease, undefined, filesLayer({ file: 'x'.repeat(5000) }));
  await stageLayer(store, lease, filesLayer({ half: 'x'.repeat(300) }));
  releaseLease(lease);
  const lines = prune(box, 'system', 'prune');
  assert.deepEqual([lines[0], ...lines.slice(2)], ['Deleted Containers:', 'Deleted Images:', `deleted: ${chainId}`]);
  assert.deepEqual(names(box), ['busybox:offline']);
  assert.equal(prune(box, 'system', 'prune', '--all').filter((line) => line.startsWith('untagged: ')).length, 1);
  assert.equal(bytesOnDisk(box), 0);
});

test('rm: the last container of an image that is gone takes its layers along', async (context) => {
  if (!needs(context)) return;
  const box = sandbox(context);
  for (const name of ['one', 'two'])
    await box.quick(['create', '--name', name, '--network', 'none', box.image('busybox')]);
  await box.quick(['rmi', '--force', await box.quick(['images', '-q'])]);
  await box.quick(['rm', 'one']);
  assert.ok(bytesOnDisk(box) > 1_000_000, 'the other one needs them');
  await box.quick(['rm', 'two']);
  assert.equal(bytesOnDisk(box), 0);
});

const QUESTION = 'Are you sure you want to continue? [y/N] ';
const WARNINGS: readonly [string, string][] = [
  ['image prune', 'WARNING! This will remove all dangling images.\n'],
  ['image prune -a', 'WARNING! This will remove all images without at least one container associated to them.\n'],
  ['container prune', 'WARNING! This will remove all stopped containers.\n'],
  [
    'system prune',
    'WARNING! This will remove:\n  - all stopped containers\n  - all networks not used by at least one container\n  - all dangling images\n  - layers that interrupted pulls have left\n\n',
  ],
  [
    'system prune -a --filter until=1h --filter label=x',
    'WARNING! This will remove:\n  - all stopped containers\n  - all networks not used by at least one container\n  - all images without at least one container associated to them\n\n' +
      '  Items to be pruned will be filtered with:\n  - label=x\n  - until=1h\n\n',
  ],
];

test('prune: asks, and takes nothing but y for a yes; without standard input it is no', async (context) => {
  if (!needs(context)) return;
  const box = sandbox(context);
  await box.quick(['create', '--name', 'stopped', '--network', 'none', box.image('busybox')]);
  for (const [line, warning] of WARNINGS) {
    for (const input of [undefined, '', '\n', 'n\n', 'yes\n', 'no y\n']) {
      const { status, stdout, stderr } = box.tsbox(line.split(' '), input === undefined ? {} : { input });
      assert.deepEqual([status, stdout, stderr], [0, warning + QUESTION, ''], `${line} ${JSON.stringify(input)}`);
    }
  }
  assert.equal((await box.quick(['ps', '-aq'])).split('\n').length, 1);
  const { stdout } = box.tsbox(['container', 'prune'], { input: ' Y \nn\n' });
  assert.match(stdout, /^WARNING! .*\n.*\[y\/N\] Deleted Containers:\n[0-9a-f]{64}\n\nTotal reclaimed space: 0B\n$/);
  assert.equal(await box.quick(['ps', '-aq']), '');
});

test('prune: in a terminal Ctrl-C is a no, and y a yes', async (context) => {
  if (!needs(context) || !requires(context, 'command:tmux')) return;
  const box = sandbox(context);
  await box.quick(['create', '--name', 'stopped', '--network', 'none', box.image('busybox')]);
  const tty = terminal(context, { env: box.env });
  tty.type('tsbox container prune; echo "ended with $?"');
  await tty.see(/\[y\/N\] $|\[y\/N\]$/m);
  tty.press('C-c');
  await tty.see(/\^C/);
  tty.type('echo "ended with $?"');
  await tty.see(/^ended with 130$/m);
  assert.notEqual(await box.quick(['ps', '-aq']), '');
  tty.type('clear; tsbox container prune');
  await tty.see(/\[y\/N\]$/m);
  tty.type('y');
  await tty.see(/^Total reclaimed space: 0B$/m);
  assert.equal(await box.quick(['ps', '-aq']), '');
});

test('prune: wrong filters are refused before anything is asked or removed', async (context) => {
  if (!needs(context)) return;
  const box = sandbox(context);
  await box.quick(['create', '--name', 'stopped', '--network', 'none', box.image('busybox')]);
  const cases: readonly [string, number, RegExp][] = [
    ['--filter x=1', 1, /^tsbox: invalid filter 'x'$/m],
    ['--filter dangling=false', 1, /^tsbox: invalid filter 'dangling'$/m],
    ['--filter until=1x', 1, /^tsbox: failed to parse value as time or duration: "1x"$/m],
    ['--filter until=1h --filter until=2h', 1, /^tsbox: more than one until filter specified$/m],
    [
      '--filter label',
      125,
      /^tsbox: invalid argument "label" for "--filter" flag: bad format of filter \(expected name=value\)$/m,
    ],
    ['extra', 1, /accepts no arguments$/m],
  ];
  for (const verb of ['image prune', 'container prune', 'system prune']) {
    for (const [flags, code, message] of cases) {
      const { status, stdout, stderr } = box.tsbox([...verb.split(' '), '-f', ...flags.split(' ')]);
      assert.deepEqual([status, stdout], [code, ''], `${verb} ${flags}`);
      assert.match(stderr, message);
    }
  }
  assert.match(
    (await box.said(['system', 'prune', '-f', '--volumes', '--filter', 'until=1h'])).stderr,
    /^tsbox: ERROR: The "until" filter is not supported with "--volumes"$/m,
  );
  assert.equal((await box.quick(['ps', '-aq'])).split('\n').length, 1);
});

test('prune: killed at any moment, the next one frees the rest', async (context) => {
  if (!needs(context)) return;
  const box = sandbox(context);
  box.image('busybox');
  for (let delay = 80; delay <= 400; delay += 80) {
    await box.quick(['load', '--input', join(REPOSITORY, 'rootfs-fixtures/build/many-layers.tar')]);
    const { child, done } = box.start(['image', 'prune', '-af']);
    setTimeout(() => child.kill('SIGKILL'), delay);
    await done;
    await box.quick(['images', '-a']);
    prune(box, 'system', 'prune', '-a');
    assert.equal(bytesOnDisk(box), 0, `after ${delay} ms`);
  }
});

/** Lines without an order among images, which docker does not have. */
const sorted = ({ status, stdout, stderr }: Said) => ({ status, stderr, lines: stdout.split('\n').sort() });

test("prune: what goes and what is told is docker's", async (context) => {
  if (!needs(context) || !requires(context, 'command:dockerd')) return;
  const { both, compare } = await besideDocker(context);
  const alike = async (...args: string[]) => {
    const [docker, tsbox] = await compare(...args);
    assert.deepEqual(sorted(tsbox), sorted(docker), args.join(' '));
  };
  for (const n of ['1', '2', '3']) await both('import', '--change', `LABEL n=${n} kind=test`, BUSYBOX, `image:${n}`);
  await both('tag', 'image:3', 'third:latest');
  await both('run', '--name', 'changed', '--network', 'none', '--label', 'n=1', 'image:1', 'touch', '/new');
  await both('commit', 'changed', 'child:1');
  await both('run', '--name', 'written', '--network', 'none', 'child:1', 'sh', '-c', 'head -c 5000 /dev/zero > /file');
  await both('commit', 'written', 'grandchild:1');
  await both('commit', '-m', 'again', 'written', 'grandchild:1');
  await alike('image', 'prune', '-f');
  await alike('image', 'prune', '-f');
  await alike('container', 'prune', '-f', '--filter', 'until=1h');
  await alike('container', 'prune', '-f', '--filter', 'label=n=1');
  await alike('image', 'prune', '-f', '-a', '--filter', 'label=n=2', '--filter', 'label=kind');
  await alike('image', 'prune', '-f', '-a', '--filter', 'label!=kind=test');
  await alike('image', 'prune', '-f', '-a', '--filter', 'until=24h');
  await alike('image', 'prune', '-f', '-a', '--filter', 'label!=n=3');
  await alike('images', '-a', '--no-trunc', '--format', '{{.ID}} {{.Repository}} {{.Tag}}');
  await alike('system', 'prune', '-f', '-a', '--filter', 'label=none');
  await alike('container', 'prune', '-f');
  await alike('image', 'prune', '-f', '-a');
  await alike('system', 'df');
});
