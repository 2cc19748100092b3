/** The program as a user starts it: exit codes and messages. Most in this process; what is about the process starts one. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import test, { after, before } from 'node:test';
import { inProcess } from '../in-process.ts';

const DIST = resolve(import.meta.dirname, '../../dist');
const MAIN = resolve(import.meta.dirname, '../../src/cli/main.ts');
let directory = '';

before(() => {
  directory = mkdtempSync(join(tmpdir(), 'tsbox-cli-'));
});
after(() => rmSync(directory, { recursive: true, force: true }));

const tsbox = (...args: string[]) =>
  inProcess({ dataRoot: join(directory, 'root'), runRoot: join(directory, 'run') }, args);

function started(...args: string[]) {
  const env = { ...process.env, TSBOX_ROOT: join(directory, 'root'), TSBOX_RUN_ROOT: join(directory, 'run') };
  const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, ...args], {
    env,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  return { status, stdout, stderr };
}

test('main: the process writes where it should and ends with the exit code', () => {
  assert.deepEqual(started('foo'), {
    status: 1,
    stdout: '',
    stderr: "tsbox: 'foo' is not a tsbox command.\nSee 'tsbox --help'.\n",
  });
  assert.equal(started('run', '--foo', 'x').status, 125);
  const { status, stdout, stderr } = started('ps', '-q', '--format', 'json');
  assert.deepEqual([status, stdout, stderr], [0, '', '']);
});

test('main: the bundle is ASCII, and V8 takes the code cache that the build made', {
  skip: !existsSync(DIST) && 'not built',
}, () => {
  const name = readdirSync(DIST).find((file) => file.endsWith('.cjs'))!;
  const bundle = readFileSync(join(DIST, name));
  assert.ok(bundle.every((byte) => byte < 0x80));
  // In a process of its own: what was compiled before is taken from V8's memory.
  const script = `const { readFileSync } = require('node:fs'); const [bundle, cache] = process.argv.slice(1);
    const options = { filename: bundle, cachedData: readFileSync(cache) };
    console.log(new (require('node:vm').Script)(readFileSync(bundle, 'latin1'), options).cachedDataRejected);`;
  const paths = [join(DIST, name), join(DIST, name.replace(/cjs$/, 'cache'))];
  assert.equal(spawnSync(process.execPath, ['-e', script, ...paths], { encoding: 'utf8' }).stdout, 'false\n');
});

const refusals: [string[], number, string][] = [
  [['foo'], 1, "tsbox: 'foo' is not a tsbox command.\nSee 'tsbox --help'.\n"],
  [['build'], 1, "tsbox: build: not supported yet\nSee 'tsbox --help'.\n"],
  [['container', 'foo'], 1, "tsbox: 'container foo' is not a tsbox command.\nSee 'tsbox --help'.\n"],
  [['constructor'], 1, "tsbox: 'constructor' is not a tsbox command.\nSee 'tsbox --help'.\n"],
  [['run', '--foo', 'x'], 125, "tsbox: unknown flag: --foo\nSee 'tsbox run --help'.\n"],
  [['run', '--kernel-memory', '1g', 'x'], 125, "tsbox: --kernel-memory: not supported yet\nSee 'tsbox run --help'.\n"],
  [
    ['container', 'run', '--gpus', 'all', 'x'],
    125,
    "tsbox: --gpus: not supported yet\nSee 'tsbox container run --help'.\n",
  ],
  [['run'], 1, "tsbox: 'tsbox run' requires at least 1 argument\nSee 'tsbox run --help'.\n"],
  [['ps', 'x'], 1, "tsbox: 'tsbox ps' accepts no arguments\nSee 'tsbox ps --help'.\n"],
  [
    ['ps', '--data-root', '/x'],
    125,
    "tsbox: unknown flag: --data-root\nhint: --data-root stands before the command: tsbox --data-root ...\nSee 'tsbox ps --help'.\n",
  ],
  [['--foo', 'ps'], 125, "tsbox: unknown flag: --foo\nSee 'tsbox --help'.\n"],
  [['-H', 'tcp://x', 'ps'], 125, "tsbox: -H: not supported yet\nSee 'tsbox --help'.\n"],
  [['--explain', 'ps'], 125, null as never],
];

for (const [args, status, stderr] of refusals) {
  test(`main: tsbox ${args.join(' ')}`, async () => {
    const result = await tsbox(...args);
    assert.equal(result.status, status);
    assert.equal(result.stdout, '');
    if (stderr !== null) assert.equal(result.stderr, stderr);
  });
}

test('main: -it without a terminal is refused before anything is made', () => {
  const { status, stderr } = started('run', '-it', 'x');
  assert.equal(status, 1);
  assert.match(stderr, /^tsbox: the input device is not a TTY\n/);
});

test('main: help goes to standard output and succeeds, however it is asked for', async () => {
  const plain = await tsbox();
  assert.equal(plain.status, 0);
  assert.match(plain.stdout, /^Usage: {2}tsbox \[OPTIONS\] COMMAND\n/);
  assert.equal((await tsbox('--help')).stdout, plain.stdout);
  assert.equal((await tsbox('help')).stdout, plain.stdout);
  const run = await tsbox('run', '--help');
  assert.match(run.stdout, /^Usage: {2}tsbox run \[OPTIONS\] IMAGE \[COMMAND\] \[ARG\.\.\.\]\n/);
  assert.equal((await tsbox('help', 'run')).stdout, run.stdout);
  assert.match((await tsbox('container')).stdout, /^Usage: {2}tsbox container COMMAND\n/);
  assert.match((await tsbox('ps', '-h')).stdout, /^Usage: {2}tsbox ps/);
});

test('main: the container in a failing run gives 125, elsewhere 1', async () => {
  const run = await tsbox('run', '--pull', 'never', 'nosuch');
  assert.equal(run.status, 125);
  assert.match(run.stderr, /^tsbox: No such image: nosuch/i);
  const history = await tsbox('history', 'nosuch');
  assert.equal(history.status, 1);
});

test('main: an empty store has empty lists', async () => {
  assert.equal((await tsbox('ps')).stdout, 'CONTAINER ID   IMAGE     COMMAND   CREATED   STATUS    PORTS     NAMES\n');
  assert.equal((await tsbox('image', 'ls')).stdout, 'REPOSITORY   TAG       IMAGE ID   CREATED   SIZE\n');
});

test('main: one name that is wrong does not keep the others from being tried', async () => {
  const { status, stdout, stderr } = await tsbox('inspect', 'x', 'y'); // no beginnings of an id
  assert.equal(status, 1);
  assert.equal(stdout, '[]\n');
  assert.equal(stderr.match(/no such object/gi)?.length, 2);
});

test('main: --debug shows where an error comes from', async () => {
  assert.doesNotMatch((await tsbox('history', 'nosuch')).stderr, / at /);
  assert.match((await tsbox('--debug', 'history', 'nosuch')).stderr, / at /);
});

test('main: --debug names the place in src/, of the bundle too', { skip: !existsSync(DIST) && 'not built' }, () => {
  const env = { ...process.env, TSBOX_ROOT: join(directory, 'root'), TSBOX_RUN_ROOT: join(directory, 'run') };
  const argv = ['--', join(DIST, 'main.js'), '--debug', 'history', 'nosuch'];
  const { stderr } = spawnSync(process.execPath, argv, { env, encoding: 'utf8' });
  assert.match(stderr, /^ +at src\/store\/images\.ts:\d+:\d+$/m);
});

test('main: nobody reading standard output is no error to talk about', () => {
  const env = { ...process.env, TSBOX_ROOT: join(directory, 'root'), TSBOX_RUN_ROOT: join(directory, 'run') };
  // The reader has ended long before tsbox writes.
  const script = '(sleep 0.3; "$0" "$1" --help; echo "status $?" >&2) | :';
  const { stderr } = spawnSync('sh', ['-c', script, process.execPath, MAIN], { env, encoding: 'utf8' });
  assert.equal(stderr, 'status 141\n');
});
