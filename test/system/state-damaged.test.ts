/** Each kind of file that a data root and a run root have, damaged in turn: it is named by what would show it, and the rest goes on. */
import assert from 'node:assert/strict';
import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import test from 'node:test';
import { requires } from '../requires.ts';
import { type Sandbox, sandbox } from './harness.ts';

/** Not tsbox's: what images and containers have. */
const CONTENT = new Set(['diff', 'merged', 'work', '_data', 'shm']);
const DAMAGE: readonly ((text: Buffer) => string | Buffer)[] = [
  () => '',
  (text) => text.subarray(0, text.length / 2),
  () => 'null',
  () => '[{}]',
];

/** What rm itself reads or removes. */
const AS_DIRECTORIES = [
  'd/containers/ID/config.v2.json',
  'd/containers/ID/hostconfig.json',
  'd/image/overlay2/layerdb/mounts/ID/mount-id',
  'd/image/overlay2/layerdb/mounts/ID/parent',
  'd/overlay2/CONTAINER/link',
  'd/overlay2/CONTAINER/lower',
  'r/ID/state.json',
  'r/ID/successor.json',
];

function* filesBelow(directory: string): Generator<string> {
  for (const name of readdirSync(directory).sort()) {
    const path = join(directory, name);
    const found = lstatSync(path);
    if (found.isFile()) yield path;
    else if (found.isDirectory() && !CONTENT.has(name)) yield* filesBelow(path);
  }
}

const stateFiles = (box: Sandbox) => [...filesBelow(box.dataRoot), ...filesBelow(box.runRoot)];

/** The path without ids; those of a container's own layer are told from an image's. */
function kindOf(box: Sandbox, path: string): string {
  const layer = /\/overlay2\/([0-9a-f]{64})/.exec(path)?.[1] ?? 'none';
  const whose = existsSync(join(box.dataRoot, 'overlay2', `${layer}-init`)) ? 'CONTAINER' : 'ID';
  return relative(box.directory, path)
    .replace(layer, whose)
    .replaceAll(/[0-9a-f]{64}/g, 'ID')
    .replace(/\/seccomp\/.*/, '/seccomp/KEY')
    .replace(/\/volumes\/[^/]+/, '/volumes/NAME');
}

/** Of each kind the last one: what was made first is what must go on. */
function oneOfEachKind(box: Sandbox, earlier: ReadonlySet<string>): [kind: string, path: string][] {
  const kinds = new Map<string, string>();
  const files = stateFiles(box);
  for (const path of [...files.filter((one) => earlier.has(one)), ...files.filter((one) => !earlier.has(one))]) {
    kinds.set(kindOf(box, path), path);
  }
  return [...kinds];
}

const LISTS = [
  ['ps', '--all', '--no-trunc', '--format', '{{.ID}} {{.Names}}'],
  ['images', '--no-trunc', '--format', '{{.ID}} {{.Repository}}'],
  ['images', '--no-trunc', '--quiet'],
  ['volume', 'ls', '--quiet'],
  ['network', 'ls', '--no-trunc', '--format', '{{.ID}} {{.Name}}'],
] as const;

async function lists(box: Sandbox, what: string): Promise<{ lines: Set<string>; stderr: string }[]> {
  const all = [];
  for (const words of LISTS) {
    const { status, stdout, stderr } = await box.said([...words]);
    assert.equal(status, 0, `${what}: ${words.join(' ')}: ${stderr}`);
    all.push({ lines: new Set(stdout.split('\n').filter(Boolean)), stderr });
  }
  return all;
}

/** What is missing in a list is named beside it. */
async function compareLists(box: Sandbox, kind: string, path: string, before: readonly Set<string>[]): Promise<void> {
  const id = /[0-9a-f]{64}/.exec(path)?.[0];
  for (const [index, { lines, stderr }] of (await lists(box, kind)).entries()) {
    const missing = [...before[index]!].filter((line) => !lines.has(line));
    const isNamed = stderr.includes(path) || (id !== undefined && stderr.includes(id));
    assert.ok(missing.length === 0 || isNamed, `${kind}: ${LISTS[index]}: ${missing.join()} is not named: ${stderr}`);
    const hasOwn = (line: string) => (id !== undefined && line.includes(id)) || path.includes(`/volumes/${line}/`);
    const others = path.endsWith('/repositories.json') ? [] : missing.filter((line) => !hasOwn(line));
    assert.deepEqual(others, [], `${kind}: ${LISTS[index]}: the others are listed`);
  }
}

test('damaged state: each kind of file in turn, and the rest goes on', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const image = box.image();
  const good = await box.quick(['images', '--no-trunc', '--quiet', image]);
  box.ok(['run', '--detach', '--name', 'good', image, 'sleep', '1000']);
  await box.quick(['network', 'ls']);
  const earlier = new Set(stateFiles(box));
  box.ok(['run', '--name', 'maker', image, 'touch', '/made']);
  await box.quick(['commit', 'maker', 'bad']);
  await box.quick(['rm', 'maker']);
  await box.quick(['network', 'create', '--subnet', '10.231.0.0/24', 'bad']);
  await box.quick(['volume', 'create', '--opt', 'type=tmpfs', '--opt', 'device=tmpfs', 'bad']);
  const flags = ['--restart', 'always', '--health-cmd', 'true', '--health-interval', '1h', '--volume', 'bad:/v'];
  box.ok(['run', '--detach', '--name', 'bad', ...flags, 'bad', 'sleep', '1000']);
  box.ok(['exec', 'bad', 'true']);
  const before = (await lists(box, 'nothing damaged')).map(({ lines }) => lines);
  const kinds = oneOfEachKind(box, earlier);
  t.diagnostic(`${kinds.length} kinds: ${kinds.map(([kind]) => kind).join(' ')}`);
  assert.ok(kinds.length > 30);
  for (const [index, [kind, path]] of kinds.entries()) {
    const whole = readFileSync(path);
    writeFileSync(path, DAMAGE[index % DAMAGE.length]!(whole));
    await compareLists(box, kind, path, before);
    const { status, stderr } = box.tsbox(['run', '--rm', good, 'true']);
    assert.deepEqual([status, stderr], [0, ''], `${kind}: run`);
    writeFileSync(path, whole);
  }
  await t.test(
    'a container of which one file is damaged can be removed by its id, and nothing of it stays',
    async () => {
      const first = readdirSync(join(box.dataRoot, 'overlay2')).length;
      for (const [index, [kind]] of kinds.entries()) {
        const id = await box.quick(['create', 'bad']);
        const path = stateFiles(box).findLast((one) => kindOf(box, one) === kind && isOf(box, id, one));
        if (path !== undefined) writeFileSync(path, DAMAGE[index % DAMAGE.length]!(readFileSync(path)));
        await box.quick(['rm', '--force', id]);
        assert.ok(!existsSync(join(box.dataRoot, 'containers', id)), kind);
        assert.equal(readdirSync(join(box.dataRoot, 'overlay2')).length, first, kind);
      }
    },
  );
  await t.test(
    'one that runs and of which one file has become a directory can be removed, and nothing of it stays',
    async () => {
      const first = readdirSync(join(box.dataRoot, 'overlay2')).length;
      for (const kind of AS_DIRECTORIES) {
        const id = box.ok(['run', '--detach', ...flags, 'bad', 'sleep', '1000']);
        const path = stateFiles(box).findLast((one) => kindOf(box, one) === kind && isOf(box, id, one));
        assert.ok(path !== undefined, kind);
        rmSync(path);
        mkdirSync(join(path, 'below'), { recursive: true });
        await box.quick(['rm', '--force', id]);
        assert.ok(!existsSync(join(box.dataRoot, 'containers', id)), kind);
        assert.equal(readdirSync(join(box.dataRoot, 'overlay2')).length, first, kind);
      }
    },
  );
});

function isOf(box: Sandbox, id: string, path: string): boolean {
  const mount = readFileSync(join(box.dataRoot, 'image/overlay2/layerdb/mounts', id, 'mount-id'), 'utf8');
  return path.includes(id) || path.includes(mount);
}
