import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { TsboxError } from '../../src/errors.ts';
import { isDigest, parseDigest } from '../../src/spec/digest.ts';
import {
  canonicalString,
  familiarName,
  familiarString,
  isTag,
  parseNamed,
  parseReference,
} from '../../src/spec/reference.ts';
import { requires } from '../requires.ts';

const HEX = 'a3ed95caeb02ffe68cdd9fd84406680ae93d633cb16422d00e8a7c22955b46d4';
const SHA256 = `sha256:${HEX}`;
const a = (count: number): string => 'a'.repeat(count);

/** text, canonical form, familiar form */
const GOOD: [text: string, canonical: string, familiar: string][] = [
  ['ubuntu', 'docker.io/library/ubuntu:latest', 'ubuntu:latest'],
  ['ubuntu:22.04', 'docker.io/library/ubuntu:22.04', 'ubuntu:22.04'],
  [`ubuntu@${SHA256}`, `docker.io/library/ubuntu@${SHA256}`, `ubuntu@${SHA256}`],
  [`ubuntu:22.04@${SHA256}`, `docker.io/library/ubuntu:22.04@${SHA256}`, `ubuntu:22.04@${SHA256}`],
  ['someone/tool', 'docker.io/someone/tool:latest', 'someone/tool:latest'],
  ['library/ubuntu', 'docker.io/library/ubuntu:latest', 'ubuntu:latest'],
  ['library/some/tool', 'docker.io/library/some/tool:latest', 'library/some/tool:latest'],
  ['docker.io/ubuntu', 'docker.io/library/ubuntu:latest', 'ubuntu:latest'],
  ['docker.io', 'docker.io/library/docker.io:latest', 'docker.io:latest'],
  ['index.docker.io/ubuntu', 'docker.io/library/ubuntu:latest', 'ubuntu:latest'],
  ['index.docker.io/someone/tool:1', 'docker.io/someone/tool:1', 'someone/tool:1'],
  ['localhost/x', 'localhost/x:latest', 'localhost/x:latest'],
  ['localhost:5000/x', 'localhost:5000/x:latest', 'localhost:5000/x:latest'],
  ['localhost', 'docker.io/library/localhost:latest', 'localhost:latest'],
  ['x:5000', 'docker.io/library/x:5000', 'x:5000'],
  ['x:5000/y', 'x:5000/y:latest', 'x:5000/y:latest'],
  ['127.0.0.1:5000/a/b/c:v1.2-x_y', '127.0.0.1:5000/a/b/c:v1.2-x_y', '127.0.0.1:5000/a/b/c:v1.2-x_y'],
  ['[::1]:5000/x', '[::1]:5000/x:latest', '[::1]:5000/x:latest'],
  ['[2001:db8::1]/x:t', '[2001:db8::1]/x:t', '[2001:db8::1]/x:t'],
  [`[fe80::1]:80/x@${SHA256}`, `[fe80::1]:80/x@${SHA256}`, `[fe80::1]:80/x@${SHA256}`],
  ['Registry.Example/x', 'Registry.Example/x:latest', 'Registry.Example/x:latest'],
  ['HOST/x', 'HOST/x:latest', 'HOST/x:latest'],
  ['a__b/c-d/e---f.g', 'docker.io/a__b/c-d/e---f.g:latest', 'a__b/c-d/e---f.g:latest'],
  ['0/1', 'docker.io/0/1:latest', '0/1:latest'],
  ['xn--n3h.com/x', 'xn--n3h.com/x:latest', 'xn--n3h.com/x:latest'],
  [`x:${a(128)}`, `docker.io/library/x:${a(128)}`, `x:${a(128)}`],
  ['x:_t', 'docker.io/library/x:_t', 'x:_t'],
  [`x.y/${a(255)}`, `x.y/${a(255)}:latest`, `x.y/${a(255)}:latest`],
  [a(65), `docker.io/library/${a(65)}:latest`, `${a(65)}:latest`],
];

const INVALID = 'invalid reference format';
const BAD: [text: string, message: string][] = [
  ['', INVALID],
  [':tag', INVALID],
  ['/x', INVALID],
  ['x/', INVALID],
  ['docker.io/', INVALID],
  ['x//y', INVALID],
  ['x:', INVALID],
  ['x:-t', INVALID],
  ['x:.t', INVALID],
  [`x:${a(129)}`, INVALID],
  ['x:t:u', INVALID],
  ['x@', INVALID],
  ['@', INVALID],
  [`@${SHA256}`, INVALID],
  ['x@sha256:abc', INVALID],
  [`x@${SHA256}:tag`, INVALID],
  [`x@${SHA256}@${SHA256}`, INVALID],
  ['a..b', INVALID],
  ['a___b', INVALID],
  ['a-_b', INVALID],
  ['-a', INVALID],
  ['a-', INVALID],
  ['.a', INVALID],
  ['_a/b', INVALID],
  ['../x', INVALID],
  ['a/../b', INVALID],
  ['a b', INVALID],
  ['a\n', INVALID],
  ['x:t\n', INVALID],
  ['http://x/y', INVALID],
  ['[::1/x', INVALID],
  ['::1/x', INVALID],
  ['[::g]/x', INVALID],
  ['a.b./c', INVALID],
  ['foo_bar.com:8080/x', INVALID],
  ['-host.com/x', INVALID],
  ['host.com:port/x', INVALID],
  ['é/x', INVALID],
  [`${'a/'.repeat(2000)}a`, INVALID],
  ['UPPER', `${INVALID}: repository name (library/UPPER) must be lowercase`],
  ['some/Tool:Tag', `${INVALID}: repository name (some/Tool) must be lowercase`],
  ['a.b/c/D', `${INVALID}: repository name (c/D) must be lowercase`],
  [HEX, `invalid repository name (${HEX}), cannot specify 64-byte hexadecimal strings`],
  [`x.y/${a(256)}`, 'repository name must not be more than 255 characters'],
  [a(250), 'repository name must not be more than 255 characters'],
  [`x@sha256:${HEX.toUpperCase()}`, 'invalid checksum digest format'],
  [`x@sha256:${a(63)}`, 'invalid checksum digest length'],
  [`x@md5:${a(32)}`, 'unsupported digest algorithm'],
];

test('reference: every form of the grammar is read, completed and shortened again', () => {
  for (const [text, canonical, familiar] of GOOD) {
    const reference = parseReference(text);
    assert.equal(canonicalString(reference), canonical, text);
    assert.equal(familiarString(reference), familiar, text);
    assert.deepEqual(parseReference(familiar), reference, `${text} read again`);
    assert.deepEqual(parseReference(canonical), reference, `${text} read again in full`);
  }
});

test('reference: what the grammar refuses is refused in the words that Docker uses', () => {
  for (const [text, message] of BAD) {
    assert.throws(
      () => parseReference(text),
      (error) => error instanceof TsboxError && error.code === 'ERR_TSBOX_SPEC' && error.message === message,
      JSON.stringify(text.slice(0, 100)),
    );
  }
});

test('reference: parts stand apart, and a name alone has no tag', () => {
  assert.deepEqual(parseReference('ubuntu'), { domain: 'docker.io', path: 'library/ubuntu', tag: 'latest' });
  assert.deepEqual(parseNamed('ubuntu'), { domain: 'docker.io', path: 'library/ubuntu' });
  assert.deepEqual(parseReference(`[::1]:5000/x:t@${SHA256}`), {
    domain: '[::1]:5000',
    path: 'x',
    tag: 't',
    digest: SHA256,
  });
  assert.equal(familiarName(parseReference(`localhost/x@${SHA256}`)), 'localhost/x');
  assert.ok(isTag('v1.0_x-y') && !isTag('a/b') && !isTag(''));
});

test('reference: hostile text is refused at once', () => {
  const started = performance.now();
  for (const text of [`${'a-'.repeat(50_000)}_`, `x@${'a+'.repeat(50_000)}:`, `${'0'.repeat(100_000)}!`]) {
    assert.throws(() => parseReference(text), TsboxError);
  }
  assert.ok(performance.now() - started < 500);
});

test("reference: Docker's own parser agrees on every vector", { timeout: 120_000 }, (context) => {
  if (!requires(context, 'command:docker')) return;
  const ask = (text: string): string => {
    const environment = { ...process.env, DOCKER_HOST: 'unix:///nonexistent/docker.sock' };
    const { stderr } = spawnSync('docker', ['pull', '--', text], { encoding: 'utf8', env: environment });
    return stderr.trim().split('\n').at(-1) ?? '';
  };
  // Clients before version 23 know neither addresses of IPv6 nor hosts in capitals without a dot, and count the host as part of the name.
  const old = !/Cannot connect/.test(ask('[::1]:5000/x'));
  for (const [text] of GOOD) {
    if (old && /^(\[|HOST\/|x\.y\/)/.test(text)) continue;
    assert.match(ask(text), /Cannot connect to the Docker daemon/, text);
  }
  // The words differ between Docker's versions; that it is refused does not.
  for (const [text] of BAD) assert.doesNotMatch(ask(text), /Cannot connect to the Docker daemon/, JSON.stringify(text));
});

test('digest: algorithm, digits and length are checked', () => {
  assert.deepEqual(parseDigest(SHA256), { algorithm: 'sha256', hex: HEX });
  assert.deepEqual(parseDigest(`sha512:${HEX}${HEX}`), { algorithm: 'sha512', hex: HEX + HEX });
  for (const text of [
    '',
    HEX,
    `sha256:${HEX}0`,
    `sha256:${HEX.slice(1)}`,
    `SHA256:${HEX}`,
    `sha256:${HEX.toUpperCase()}`,
    `sha256:${HEX.slice(2)}/.`,
    `sha256:${HEX}\n`,
    `md5:${HEX.slice(32)}`,
    'sha256:'.repeat(100_000),
    `../sha256:${HEX}`,
    'sha256:__proto__',
  ]) {
    assert.ok(!isDigest(text), text.slice(0, 100));
    assert.throws(() => parseDigest(text), TsboxError);
  }
  assert.ok(!isDigest(undefined) && isDigest(SHA256));
});
