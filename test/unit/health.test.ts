import assert from 'node:assert/strict';
import test from 'node:test';
import { afterProbe, mergeHealthcheck, probeOf } from '../../src/engine/health.ts';
import type { Health, HealthResult } from '../../src/spec/container.ts';

const START = '2026-01-01T00:00:00Z';
const NEW: Health = { Status: 'starting', FailingStreak: 0, Log: [] };
const result = (code: number, second = 0): HealthResult => {
  const at = new Date(Date.parse(START) + second * 1000).toISOString();
  return { Start: at, End: at, ExitCode: code, Output: '' };
};
const after = (codes: number[], check = {}, from = NEW) =>
  codes.reduce((health, code, second) => afterProbe(health, result(code, second), check, second * 1000), from);
const shown = ({ Status, FailingStreak, Log }: Health) => [Status, FailingStreak, Log.length];

test('health: three failures in a row, or as many as were asked for', () => {
  assert.deepEqual(shown(after([1, 1])), ['starting', 2, 2]);
  assert.deepEqual(shown(after([1, 1, 1])), ['unhealthy', 3, 3]);
  assert.deepEqual(shown(after([0, 1, -1])), ['healthy', 2, 3]);
  assert.deepEqual(shown(after([1, 1, 1, 0])), ['healthy', 0, 4]);
  assert.deepEqual(shown(after([1], { Retries: 1 })), ['unhealthy', 1, 1]);
});

test('health: failures of the start period do not count until it was healthy once', () => {
  assert.deepEqual(shown(after([1, 1, 1, 1], { StartPeriod: 60e9 })), ['starting', 0, 4]);
  assert.deepEqual(shown(after([1, 1, 1, 1], { StartPeriod: 2e9 })), ['starting', 2, 4]);
  assert.deepEqual(shown(after([0, 1, 1, 1], { StartPeriod: 60e9 })), ['unhealthy', 3, 4]);
});

test('health: the log has the last five', () => {
  assert.deepEqual(
    after([0, 1, 2, 3, 4, 5, 6]).Log.map(({ ExitCode }) => ExitCode),
    [2, 3, 4, 5, 6],
  );
});

test('health: what is asked, and how often', () => {
  assert.deepEqual(probeOf({ Test: ['CMD', 'a', 'b'] }), { command: ['a', 'b'], every: 30_000, timeout: 30_000 });
  assert.deepEqual(probeOf({ Test: ['CMD-SHELL', 'x y'], Interval: 1.5e9, Timeout: 2e6 }), {
    command: ['/bin/sh', '-c', 'x y'],
    every: 1500,
    timeout: 2,
  });
  const early = (check: object) => probeOf({ Test: ['CMD', 'a'], ...check })?.early;
  assert.equal(early({ StartInterval: 1e9 }), undefined, 'without a start period there is none');
  assert.deepEqual(early({ StartInterval: 1e9, StartPeriod: 60e9 }), { every: 1000, until: 60_000 });
  assert.deepEqual(early({ StartPeriod: 60e9 }), { every: 5000, until: 60_000 });
  assert.deepEqual(early({ StartPeriod: 60e9, Interval: 1e9 }), { every: 1000, until: 60_000 });
  for (const check of [undefined, {}, { Test: [] }, { Test: ['NONE'] }, { Test: ['CMD'] }])
    assert.equal(probeOf(check), undefined);
});

test('health: the user’s check, and what he left open', () => {
  const image = { Test: ['CMD', 'a'], Interval: 5, Retries: 2 };
  assert.deepEqual(mergeHealthcheck({ Interval: 7 }, image), { Test: ['CMD', 'a'], Interval: 7, Retries: 2 });
  assert.deepEqual(mergeHealthcheck({ Test: ['NONE'] }, image), { Test: ['NONE'], Interval: 5, Retries: 2 });
  assert.deepEqual(mergeHealthcheck(undefined, image), image);
  assert.deepEqual(mergeHealthcheck({ Retries: 1 }, null), { Retries: 1 });
  assert.equal(mergeHealthcheck(undefined, undefined), undefined);
});
