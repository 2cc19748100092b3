import assert from 'node:assert/strict';
import test from 'node:test';
import { DEFAULT_DETACH_KEYS, detachScanner, parseDetachKeys } from '../../src/cli/detach.ts';

const P = '\x10';
const Q = '\x11';

/** What is passed on for each read, and whether the last one detached. */
function scan(reads: readonly string[], keys = DEFAULT_DETACH_KEYS) {
  const scanner = detachScanner(parseDetachKeys(keys));
  const results = reads.map((read) => scanner(Buffer.from(read, 'latin1')));
  return {
    passed: results.map(({ data }) => data.toString('latin1')),
    detached: results.at(-1)!.detached,
  };
}

test('detach: Ctrl-P Ctrl-Q leaves; what was typed before is passed on', () => {
  assert.deepEqual(scan([`ls${P}${Q}more`]), { passed: ['ls'], detached: true });
});

test('detach: the sequence is found over two reads', () => {
  assert.deepEqual(scan([P, Q]), { passed: ['', ''], detached: true });
});

test('detach: Ctrl-P and another key are both passed on', () => {
  assert.deepEqual(scan([P, 'x']), { passed: ['', `${P}x`], detached: false });
  assert.deepEqual(scan([`${P}x`]), { passed: [`${P}x`], detached: false });
});

test('detach: a second Ctrl-P releases the first and can begin the sequence itself', () => {
  assert.deepEqual(scan([P, P, Q]), { passed: ['', P, ''], detached: true });
});

test('detach: a sequence that repeats itself is found where it really begins', () => {
  assert.deepEqual(scan(['a', 'a', 'b'], 'a,a,b'), { passed: ['', '', ''], detached: true });
  assert.deepEqual(scan(['a', 'a', 'a', 'b'], 'a,a,b'), { passed: ['', '', 'a', ''], detached: true });
});

test('detach: bytes that are no text go through unchanged', () => {
  const bytes = String.fromCharCode(...Array.from({ length: 256 }, (_, byte) => byte)).replace(P, '');
  assert.deepEqual(scan([bytes]).passed, [bytes]);
});

test('detach: keys are read as Docker spells them', () => {
  assert.deepEqual([...parseDetachKeys('ctrl-a,x,ctrl-@,ctrl-[,ctrl-_')], [1, 0x78, 0, 0x1b, 0x1f]);
  assert.deepEqual([...parseDetachKeys('DEL,ctrl-\\')], [0x7f, 0x1c]);
  for (const wrong of ['ctrl-', 'ctrl-P', 'ctrl-1', 'ab', 'a,,b', 'ctrl-p,é']) {
    assert.throws(() => parseDetachKeys(wrong), /invalid detach keys/);
  }
});

test('detach: no keys are the usual ones, as with Docker', () => {
  assert.deepEqual(scan([`a${P}${Q}`], ''), { passed: ['a'], detached: true });
});
