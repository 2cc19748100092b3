/** What tests require must be what `make test` installs. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import test from 'node:test';

const REPOSITORY = resolve(import.meta.dirname, '../..');

/** Commands that come with the package of another one. */
const COMES_WITH: Record<string, string> = {
  docker: 'dockerd',
  findmnt: 'unshare',
  setpriv: 'unshare',
  busybox: 'busybox-static',
  setfattr: 'getfattr',
};

const rows = readFileSync(join(REPOSITORY, 'scripts/packages.txt'), 'utf8')
  .split('\n')
  .filter((line) => line !== '' && !line.startsWith('#'))
  .map((line) => line.split(/\s+/));

test('packages: every line has a group, a package, a proof and a reason, and none comes twice', () => {
  for (const [group, name, proof, ...reason] of rows) {
    assert.ok(['build', 'image', 'test'].includes(group!) && proof && reason.length > 1, `${group} ${name}`);
  }
  assert.equal(new Set(rows.map(([, name]) => name)).size, rows.length);
});

test('packages: every command that a test requires is in the list', () => {
  const known = new Set(rows.flatMap(([, name, proof]) => [name, proof]));
  const directory = join(REPOSITORY, 'test');
  const files = readdirSync(directory, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts'));
  const asked = files.flatMap((name) => [
    ...readFileSync(join(directory, name), 'utf8').matchAll(/'command:([\w.-]+)'/g),
  ]);
  assert.ok(asked.length > 0);
  const unknown = asked.map((match) => match[1]!).filter((command) => !known.has(COMES_WITH[command] ?? command));
  assert.deepEqual([...new Set(unknown)], []);
});
