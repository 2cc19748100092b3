import assert from 'node:assert/strict';
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
import { BAD, GOOD, HEX, SHA256 } from './reference-vectors.ts';

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
