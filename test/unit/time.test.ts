import assert from 'node:assert/strict';
import test from 'node:test';
import { parseDuration, parseExactTime, parseTime } from '../../src/spec/time.ts';

const NOW = Date.parse('2024-05-01T12:00:00Z');

test('time: a length of time is so long before now', () => {
  assert.equal(parseTime('24h', NOW), NOW - 86_400_000);
  assert.equal(parseTime('1h30m', NOW), NOW - 5_400_000);
  assert.equal(parseTime('1.5h', NOW), NOW - 5_400_000);
  assert.equal(parseTime('-1m', NOW), NOW + 60_000);
  assert.equal(parseDuration('1h1m1s250ms500us'), 3_661_250.5);
  for (const text of ['', '1', '1d', 'h', '1h ', '1h-30m', '--1h']) assert.equal(parseDuration(text), undefined, text);
});

test('time: seconds since 1970', () => {
  assert.equal(parseTime('0', NOW), 0);
  assert.equal(parseTime('1714564800.25', NOW), 1_714_564_800_250);
});

test('time: dates with a zone are that, without one they are of this machine', () => {
  const utc = Date.UTC(2024, 1, 29, 10, 20, 30);
  assert.equal(parseTime('2024-02-29T10:20:30Z', NOW), utc);
  assert.equal(parseTime('2024-02-29T10:20:30.250Z', NOW), utc + 250);
  assert.equal(parseTime('2024-02-29T12:20:30+02:00', NOW), utc);
  assert.equal(parseTime('2024-02-29T04:50:30-05:30', NOW), utc);
  assert.equal(parseTime('2024-02-29Z', NOW), Date.UTC(2024, 1, 29));
  assert.equal(parseTime('2024-02-29T10Z', NOW), Date.UTC(2024, 1, 29, 10));
  assert.equal(parseTime('2024-02-29', NOW), new Date(2024, 1, 29).getTime());
  assert.equal(parseTime('2024-02-29T10:20', NOW), new Date(2024, 1, 29, 10, 20).getTime());
});

test('time: what is none is refused', () => {
  const wrong = ['', 'x', '1d', '2024-2-29', '2023-02-29', '2024-13-01', '2024-01-01T24:00', '2024-01-01 10:00', '-5'];
  for (const text of wrong) assert.equal(parseTime(text, NOW), undefined, text);
});

test('time: to the nanosecond', () => {
  const time = 1_709_202_030_123_456_789n;
  assert.equal(parseExactTime('2024-02-29T10:20:30.123456789Z', NOW), time);
  assert.equal(parseExactTime('2024-02-29T10:20:30.1234567890Z', NOW), time);
  assert.equal(parseExactTime('1709202030.123456789', NOW), time);
  assert.equal(parseExactTime('1ns', NOW), BigInt(NOW) * 1_000_000n - 1n);
});
