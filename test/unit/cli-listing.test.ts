import assert from 'node:assert/strict';
import test from 'node:test';
import { FLAG_ERROR } from '../../src/cli/args.ts';
import { containerRequest, environment, labels } from '../../src/cli/container-flags.ts';
import { referenceMatcher } from '../../src/cli/image-filters.ts';
import { imageRows } from '../../src/cli/images.ts';
import { listingText, parseFilters } from '../../src/cli/listing.ts';
import { containerRow, statusText } from '../../src/cli/ps.ts';
import type { ContainerSummary, ImageSummary } from '../../src/engine/api.ts';
import { NEVER } from '../../src/spec/container.ts';
import { hasLabel } from '../../src/spec/labels.ts';

const ID = '0123456789abcdef'.repeat(4);
const NOW = Date.parse('2024-05-01T12:00:00Z');

const state = {
  Status: 'exited' as const,
  Running: false,
  Paused: false,
  Restarting: false,
  OOMKilled: false,
  Dead: false,
  Pid: 0,
  ExitCode: 3,
  Error: '',
  StartedAt: '2024-05-01T11:00:00Z',
  FinishedAt: '2024-05-01T11:30:00Z',
};

const summary = {
  record: {
    ID,
    Created: '2024-05-01T10:00:00Z',
    Path: 'sh',
    Args: ['-c', 'echo "hi" there'],
    Name: '/web',
    Image: `sha256:${ID}`,
    Config: { Image: 'ubuntu', Labels: { b: '2', a: '1' } },
    MountPoints: {},
  },
  image: 'ubuntu',
  state,
  network: 'none',
} as unknown as ContainerSummary;

test('ps: a row has what Docker shows', () => {
  const row = containerRow(summary, { now: NOW, whole: false });
  assert.deepEqual(
    { ...row, CreatedAt: undefined },
    {
      Command: JSON.stringify(`sh -c 'echo "hi" th…`),
      CreatedAt: undefined,
      ID: '0123456789ab',
      Image: 'ubuntu',
      Labels: 'a=1,b=2',
      LocalVolumes: '0',
      Mounts: '',
      Names: 'web',
      Networks: 'none',
      Ports: '',
      RunningFor: '2 hours ago',
      Size: '0B',
      State: 'exited',
      Status: 'Exited (3) 30 minutes ago',
    },
  );
  assert.equal((row['Label'] as (key: string) => string)('b'), '2');
  const whole = containerRow(summary, { now: NOW, whole: true });
  assert.equal(whole['ID'], ID);
  assert.equal(whole['Command'], JSON.stringify(`sh -c 'echo "hi" there'`));
});

test('ps: the status is told in words', () => {
  assert.equal(statusText({ ...state, Running: true, Status: 'running' }, NOW), 'Up About an hour');
  assert.equal(
    statusText({ ...state, Running: true, Paused: true, Status: 'paused' }, NOW),
    'Up About an hour (Paused)',
  );
  assert.equal(statusText({ ...state, Status: 'created', StartedAt: NEVER, FinishedAt: NEVER }, NOW), 'Created');
  assert.equal(statusText({ ...state, Dead: true, Status: 'dead' }, NOW), 'Dead');
});

const image: ImageSummary = {
  id: `sha256:${ID}`,
  tags: ['ubuntu:22.04', 'localhost:5000/team/tool:v1'],
  digests: [`ubuntu@sha256:${'a'.repeat(64)}`],
  size: 77_912_345,
  created: '2024-05-01T10:00:00Z',
  labels: {},
  parent: '',
};

const rows = (
  of: ImageSummary,
  options: Partial<{ whole: boolean; digests: boolean; fits: (reference: string) => boolean }> = {},
): string[] =>
  imageRows(of, { now: NOW, whole: false, digests: false, fits: () => true, ...options }).map(
    ({ Repository, Tag, Digest, ID: id, Size }) => `${Repository} ${Tag} ${String(Digest).slice(0, 9)} ${id} ${Size}`,
  );

test('images: a row for each tag; with digests each has its own', () => {
  assert.deepEqual(rows(image), [
    'ubuntu 22.04 <none> 0123456789ab 77.9MB',
    'localhost:5000/team/tool v1 <none> 0123456789ab 77.9MB',
  ]);
  assert.deepEqual(rows(image, { digests: true }), [
    'ubuntu 22.04 sha256:aa 0123456789ab 77.9MB',
    'localhost:5000/team/tool v1 <none> 0123456789ab 77.9MB',
  ]);
});

test('images: without a tag there is the digest, without either <none>', () => {
  assert.deepEqual(rows({ ...image, tags: [] }), ['ubuntu <none> <none> 0123456789ab 77.9MB']);
  assert.deepEqual(rows({ ...image, tags: [] }, { digests: true }), ['ubuntu <none> sha256:aa 0123456789ab 77.9MB']);
  const two = [`ubuntu@sha256:${'a'.repeat(64)}`, `ubuntu@sha256:${'b'.repeat(64)}`];
  assert.equal(rows({ ...image, tags: [], digests: two }).length, 1);
  assert.equal(rows({ ...image, tags: [], digests: two }, { digests: true }).length, 2);
  assert.deepEqual(rows({ ...image, tags: [], digests: [] }), ['<none> <none> <none> 0123456789ab 77.9MB']);
});

test('images: patterns stay within a part of the name', () => {
  const fits: [string, string, boolean][] = [
    ['ubuntu', 'ubuntu:22.04', true],
    ['ubuntu:22.04', 'ubuntu:22.04', true],
    ['ubuntu:20*', 'ubuntu:22.04', false],
    ['u*', 'ubuntu:22.04', true],
    ['u*', 'u/x:1', false],
    ['*/*', 'team/x:1', true],
    ['ubunt?', 'ubuntu:1', true],
    ['[tu]buntu', 'ubuntu:1', true],
    ['u.untu', 'ubuntu:1', false],
    ['docker.io/library/ubuntu', 'ubuntu:1', true],
    ['localhost:5000/team/tool', 'localhost:5000/team/tool:v1', true],
    ['buntu', 'ubuntu:1', false],
    ['[^a]buntu', 'ubuntu:1', true],
    ['[!a]buntu', 'ubuntu:1', false],
    ['[x-a]buntu', 'ubuntu:1', false],
    ['u\\buntu:?', 'ubuntu:1', true],
    ['ubuntu@sha256:*', `ubuntu@sha256:${'a'.repeat(64)}`, true],
    ['', 'ubuntu:1', false],
  ];
  for (const [pattern, name, expected] of fits)
    assert.equal(referenceMatcher([pattern])(name), expected, `${pattern} ${name}`);
});

test('images: a pattern that is none is refused', () => {
  for (const pattern of ['[', 'u[', '[]', 'u\\', '[a-]']) {
    assert.throws(() => referenceMatcher([pattern]), { message: /^syntax error in pattern/, exitCode: 1 }, pattern);
  }
});

test('lists: JSON has its angle brackets and ampersands as Go has them', async () => {
  const text = await listingText({ headers: {}, columns: [], rows: [{ a: '<none> & "x"', b: 1 }] }, 'json');
  assert.equal(text, '{"a":"\\u003cnone\\u003e \\u0026 \\"x\\"","b":1}\n');
  assert.deepEqual(JSON.parse(text), { a: '<none> & "x"', b: 1 });
});

test('filters: the same key may come twice; an unknown one is refused', () => {
  const found = parseFilters(['name=a', 'NAME = b=c', 'id=1'], ['name', 'id']);
  assert.deepEqual(
    [...found],
    [
      ['name', ['a', 'b=c']],
      ['id', ['1']],
    ],
  );
  assert.throws(() => parseFilters(['x=1'], ['name']), { message: "invalid filter 'x'", exitCode: 1 });
  assert.throws(() => parseFilters(['name'], ['name']), { message: /expected name=value/, exitCode: FLAG_ERROR });
});

test('filters: a label by its key or by its value', () => {
  assert.equal(hasLabel({ a: '1' }, 'a'), true);
  assert.equal(hasLabel({ a: '1' }, 'a=1'), true);
  assert.equal(hasLabel({ a: '1' }, 'a=2'), false);
  assert.equal(hasLabel({}, 'toString'), false);
});

const flags = {
  'cap-add': [],
  'cap-drop': ['ALL'],
  cidfile: undefined,
  'disable-content-trust': true,
  entrypoint: '',
  env: ['A=1'],
  hostname: undefined,
  interactive: true,
  isolation: 'default',
  'log-driver': undefined,
  'log-opt': [],
  label: ['a=1=2', 'b'],
  ip: undefined,
  ip6: undefined,
  'mac-address': undefined,
  name: undefined,
  network: ['none'],
  platform: undefined,
  pull: 'missing',
  quiet: false,
  privileged: false,
  'read-only': false,
  rm: true,
  'security-opt': [],
  'stop-signal': undefined,
  tty: false,
  user: '1:2',
  userns: undefined,
  volume: ['/a:/b:ro'],
  workdir: undefined,
};

test('run: the request holds what was given and leaves out what was not', () => {
  assert.deepEqual(containerRequest(flags, ['ubuntu', 'ls', '-t'], true), {
    image: 'ubuntu',
    command: ['ls', '-t'],
    env: ['A=1'],
    labels: { a: '1=2', b: '' },
    tty: false,
    openStdin: true,
    attached: true,
    autoRemove: true,
    readonlyRootfs: false,
    volumes: ['/a:/b:ro'],
    network: 'none',
    endpoints: [{ network: 'none' }],
    capAdd: [],
    capDrop: ['ALL'],
    privileged: false,
    securityOpt: [],
    pull: 'missing',
    user: '1:2',
    entrypoint: '',
  });
  assert.throws(() => containerRequest({ ...flags, pull: 'perhaps' }, ['x'], true), /invalid pull option/);
  assert.throws(
    () => containerRequest({ ...flags, isolation: 'hyperv' }, ['x'], true),
    /linux only supports 'default'/,
  );
  assert.throws(() => containerRequest({ ...flags, 'disable-content-trust': false }, ['x'], true), /not supported/);
  for (const label of ['', '=x'])
    assert.throws(() => containerRequest({ ...flags, label: [label] }, ['x'], true), /empty name/);
  assert.throws(
    () => containerRequest({ ...flags, label: ['d e=f'] }, ['x'], true),
    /label 'd e' contains whitespaces/,
  );
  assert.throws(() => containerRequest({ ...flags, 'mac-address': 'x' }, ['x'], true), /not a valid mac address/);
  const twice = { ...flags, network: ['a', 'none', 'name=a,alias=b'] };
  assert.throws(() => containerRequest(twice, ['x'], true), /network "a" is specified multiple times/);
  const empty = containerRequest({ ...flags, name: '', hostname: '', pull: '' }, ['x'], true);
  assert.deepEqual([empty.name, empty.hostname, empty.pull], [undefined, undefined, 'missing']);
});

test('labels: a name of one word, in containers, networks and volumes', () => {
  assert.deepEqual(labels(['a=b=c', 'k', ' x=a b']), { a: 'b=c', k: '', ' x': 'a b' });
  assert.throws(() => labels(['=x']), {
    message: `invalid argument "=x" for "--label" flag: invalid label '=x': empty name`,
  });
  assert.throws(() => labels(['a b=c'], '-l, --label'), {
    message: `invalid argument "a b=c" for "-l, --label" flag: label 'a b' contains whitespaces`,
  });
});

test("run: a bare variable has the caller's value, or stays bare", () => {
  assert.deepEqual(environment(['A=1', 'B', 'C', 'D='], { B: 'b' }), ['A=1', 'B=b', 'C', 'D=']);
  assert.throws(() => environment(['=x']), /invalid environment variable: =x/);
});
