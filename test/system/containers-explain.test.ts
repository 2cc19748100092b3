/** `--explain`, `--dry-run` and `--format json` with real containers. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import test from 'node:test';
import { requires } from '../requires.ts';
import { runRootOf, type Sandbox, sandbox } from './harness.ts';

interface ShownStep {
  list: 'setup' | 'monitor' | 'init' | 'cleanup';
  number: number;
  op: string;
  why: string;
  errno?: number;
  error?: string;
}

/** Every path below the data root with its type, size, time of change and content of links. */
const tree = (box: Sandbox) =>
  spawnSync('find', [box.dataRoot, '-printf', '%P %y %s %T@ %C@ %l\n']).stdout.toString().split('\n').sort().join('\n');

test('explain', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const image = box.image();
  const kernelSays = /^ *(\d+) {2}(setup|monitor|init|cleanup) +(\S.*?) {2,}(\S.*)$/;
  await t.test('--dry-run changes nothing, and needs nothing but the image', async () => {
    const before = tree(box);
    const text = box.ok([
      'run',
      '--dry-run',
      '--rm',
      '-it',
      '-v',
      '/nowhere/at/all:/x',
      '--name',
      'planned',
      image,
      'nope',
    ]);
    const json = await box.quick(['create', '--dry-run', '--format', 'json', image]);
    assert.equal(tree(box), before);
    assert.deepEqual(runRootOf(box), []);
    assert.equal(await box.quick(['ps', '-aq']), '');
    const rows = text.split('\n').slice(1);
    for (const row of rows) assert.match(row, kernelSays);
    const calls = rows.map((row) => kernelSays.exec(row)![3]!);
    for (const call of [
      'mount("overlay"',
      'unshare(',
      'pivot_root(".", "."',
      'execve("nope"',
      'umount2(',
      'mkdir("/nowhere/at/all"',
    ]) {
      assert.ok(
        calls.some((one) => one.startsWith(call)),
        `${call} in\n${calls.join('\n')}`,
      );
    }
    const steps: ShownStep[] = JSON.parse(json);
    assert.deepEqual([...new Set(steps.map((step) => step.list))], ['setup', 'monitor', 'init', 'cleanup']);
    for (const step of steps) assert.ok(step.op !== '' && step.why !== '' && step.errno === undefined);
  });
  await t.test('--dry-run of an unknown image or a bad flag says what run would say', () => {
    const result = box.tsbox(['run', '--dry-run', 'not-there', 'true']);
    assert.equal(result.status, 125);
    assert.match(result.stderr, /not-there/);
  });
  await t.test('--explain prints the steps as they are run, apart from the output', () => {
    const { status, stdout, stderr } = box.tsbox(['run', '--rm', '--explain', image, 'echo', 'out']);
    assert.equal(status, 0);
    assert.equal(stdout, 'out\n');
    const rows = stderr
      .trimEnd()
      .split('\n')
      .slice(1)
      .map((row) => kernelSays.exec(row));
    assert.ok(
      rows.every((row) => row !== null),
      stderr,
    );
    const lists = rows.map((row) => row![2]);
    for (const list of ['setup', 'monitor', 'init', 'cleanup']) assert.ok(lists.includes(list), list);
    for (const list of new Set(lists)) {
      const numbers: number[] = rows.filter((row) => row![2] === list).map((row) => Number(row![1]));
      assert.deepEqual(
        numbers,
        numbers.map((_, index) => index + 1),
        `the steps of ${list} are numbered in order`,
      );
    }
    assert.ok(lists.indexOf('init') > lists.indexOf('setup') && lists.indexOf('cleanup') > lists.indexOf('init'));
  });
  await t.test('the same steps are shown before and when they are run', () => {
    const shown: ShownStep[] = JSON.parse(box.ok(['run', '--rm', '--dry-run', '--format', 'json', image, 'true']));
    const { stderr } = box.tsbox(['run', '--rm', '--explain', '--format', 'json', image, 'true']);
    const run: ShownStep[] = stderr
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    const key = ({ list, number, op }: ShownStep) => `${list} ${number} ${op}`;
    assert.deepEqual(run.map(key).sort(), shown.map(key).sort());
    assert.ok(run.every((step) => typeof step.errno === 'number'));
  });
  await t.test('a step that fails is marked with its errno', () => {
    const { status, stderr } = box.tsbox(['run', '--rm', '--explain', image, '/etc/passwd']);
    assert.equal(status, 126);
    assert.match(stderr, /execve\("\/etc\/passwd".* = -1 EACCES \(Permission denied\)/);
    assert.match(stderr, /cleanup +rmdir/);
    const setup = box.tsbox(['run', '--rm', '--explain', '-v', '/proc/no/where:/x', image, 'true']);
    assert.equal(setup.status, 125);
    assert.match(setup.stderr, /mkdir\("\/proc\/no".* = -1 ENOENT/);
  });
  await t.test('start --explain', async () => {
    await box.quick(['create', '--name', 'again', image, 'true']);
    const { status, stderr } = box.tsbox(['start', '-a', '--explain', 'again']);
    assert.equal(status, 0);
    assert.match(stderr, /init +execve\("true"/);
    await box.quick(['rm', 'again']);
  });
  await t.test('aligned on a wide screen, stacked on a narrow one', () => {
    const wide = box.ok(['run', '--dry-run', image, 'true'], { env: { COLUMNS: '140' } }).split('\n');
    for (const line of wide) assert.ok(line.length <= 140, line);
    const narrow = box.ok(['run', '--dry-run', image, 'true'], { env: { COLUMNS: '80' } }).split('\n');
    for (const line of narrow) assert.ok(line.length <= 80, line);
    assert.ok(join('', ...narrow).length > 0);
  });
});
