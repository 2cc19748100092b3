/** What dist/main.js starts the bundle with: a code cache of the verb's own, which the first call that ends well writes. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import test, { type TestContext } from 'node:test';

const DIST = resolve(import.meta.dirname, '../../dist');
const TSBOX = resolve(import.meta.dirname, '../../bin/tsbox');

/** A copy of dist/ as the build leaves it, and what starts it. */
function freshDist(t: TestContext) {
  const directory = mkdtempSync(join(tmpdir(), 'tsbox-boot-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const dist = join(directory, 'dist');
  const bundle = readdirSync(DIST)
    .find((name) => name.endsWith('.cjs'))!
    .slice(0, -'.cjs'.length);
  for (const name of ['main.js', 'package.json', `${bundle}.cjs`, `${bundle}.cache`]) {
    cpSync(join(DIST, name), join(dist, name));
  }
  const env = { ...process.env, TSBOX_ROOT: join(directory, 'root'), TSBOX_RUN_ROOT: join(directory, 'run') };
  const tsbox = (...args: string[]) =>
    spawnSync(process.execPath, ['--', join(dist, 'main.js'), ...args], { env }).status;
  const caches = () =>
    readdirSync(dist)
      .filter((name) => name.startsWith(`${bundle}.`) && name.split('.').length === 3)
      .map((name) => name.split('.')[1]);
  const cache = (verb: string) => join(dist, `${bundle}.${verb}.cache`);
  const isTaken = (verb: string, ...options: string[]) => {
    const script = `const { readFileSync } = require('node:fs'); const [bundle, cache] = process.argv.slice(1);
      const options = { filename: bundle, cachedData: readFileSync(cache) };
      console.log(new (require('node:vm').Script)(readFileSync(bundle, 'latin1'), options).cachedDataRejected === false);`;
    const paths = [join(dist, `${bundle}.cjs`), cache(verb)];
    return spawnSync(process.execPath, [...options, '-e', script, ...paths], { encoding: 'utf8' }).stdout === 'true\n';
  };
  return { tsbox, caches, cache, isTaken };
}

const unbuilt = { skip: !existsSync(DIST) && 'not built' };

test('boot: a verb that is often called gets a cache of its own, which V8 takes', unbuilt, (t) => {
  const { tsbox, caches, cache, isTaken } = freshDist(t);
  assert.equal(tsbox('container', 'ps'), 0);
  assert.deepEqual(caches(), ['ps']);
  const options = /young=(--\S+)/.exec(readFileSync(TSBOX, 'utf8'))!.slice(1);
  assert.ok(
    isTaken('ps') && isTaken('ps', ...options),
    'V8 compares its options too; those of bin/tsbox must not count',
  );
  const bytes = readFileSync(cache('ps'));
  assert.equal(tsbox('ps', '-a'), 0);
  assert.deepEqual(readFileSync(cache('ps')), bytes, 'it is written once');
  assert.equal(tsbox('-D', 'images'), 0);
  assert.deepEqual(caches().sort(), ['images', 'ps']);
});

test('boot: what is no such verb, only its help, or goes wrong leaves no cache', unbuilt, (t) => {
  const { tsbox, caches } = freshDist(t);
  assert.equal(tsbox('--version'), 0);
  assert.equal(tsbox('volume', 'ls'), 0);
  assert.equal(tsbox('help', 'ps'), 0);
  assert.equal(tsbox('ps', '--help'), 0);
  assert.notEqual(tsbox('ps', '--foo'), 0);
  assert.deepEqual(caches(), []);
});

test('boot: a cache of another V8 is not believed, and made anew', unbuilt, (t) => {
  const { tsbox, cache, isTaken } = freshDist(t);
  tsbox('ps');
  const other = readFileSync(cache('ps'));
  other.writeUInt32LE(0, 4); // a hash of the version
  writeFileSync(cache('ps'), other);
  assert.ok(!isTaken('ps'));
  assert.equal(tsbox('ps'), 0);
  assert.ok(isTaken('ps'));
});
