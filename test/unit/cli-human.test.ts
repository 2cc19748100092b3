import assert from 'node:assert/strict';
import test from 'node:test';
import { factsText } from '../../src/cli/facts.ts';
import { ellipsis, humanAge, humanDuration, humanSize, localRfc3339, localTime, shortId } from '../../src/cli/human.ts';
import { tableText, wrapWords } from '../../src/cli/table.ts';
import { cutTo, displayWidth, padEnd } from '../../src/cli/width.ts';

test('human: sizes are powers of 1000 with as many digits as Docker shows', () => {
  const shown = (bytes: number, digits?: number) => humanSize(bytes, digits);
  assert.deepEqual(
    [0, 1, 999, 1000, 1024, 77_912_345, 1_234_567_890].map((bytes) => shown(bytes)),
    ['0B', '1B', '999B', '1kB', '1.024kB', '77.91MB', '1.235GB'],
  );
  assert.deepEqual(
    [77_912_345, 187_600_000, 5_000_000_000, 1_500].map((bytes) => shown(bytes, 3)),
    ['77.9MB', '188MB', '5GB', '1.5kB'],
  );
});

const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

test('human: a length of time is one number in one unit, as in Docker', () => {
  const cases: [number, string][] = [
    [0, 'Less than a second'],
    [0.9, 'Less than a second'],
    [1.5, '1 second'],
    [59, '59 seconds'],
    [60, 'About a minute'],
    [119, 'About a minute'],
    [120, '2 minutes'],
    [59 * MINUTE + 59, '59 minutes'],
    [HOUR, 'About an hour'],
    [HOUR + 30 * MINUTE, '2 hours'],
    [47 * HOUR, '47 hours'],
    [48 * HOUR, '2 days'],
    [13 * DAY, '13 days'],
    [14 * DAY, '2 weeks'],
    [59 * DAY, '8 weeks'],
    [60 * DAY, '2 months'],
    [729 * DAY, '24 months'],
    [730 * DAY, '2 years'],
  ];
  for (const [seconds, expected] of cases) assert.equal(humanDuration(seconds), expected);
});

test('human: an age needs a time', () => {
  const now = Date.parse('2024-05-01T12:00:00Z');
  assert.equal(humanAge('2024-05-01T11:55:00.123456789Z', now), '4 minutes ago');
  assert.equal(humanAge('2024-05-01T12:55:00+02:00', now), 'About an hour ago');
  assert.equal(humanAge('0001-01-01T00:00:00Z', now), 'N/A');
  assert.equal(humanAge('', now), 'N/A');
});

test('human: a time is shown in the zone of the caller', () => {
  const before = process.env['TZ'];
  try {
    process.env['TZ'] = 'UTC';
    assert.equal(localTime('2024-05-01T12:30:00.5Z'), '2024-05-01 12:30:00 +0000 UTC');
    assert.equal(localRfc3339('2024-05-01T12:30:00.5Z'), '2024-05-01T12:30:00Z');
    process.env['TZ'] = 'Asia/Kolkata';
    assert.match(localTime('2024-05-01T12:30:00Z'), /^2024-05-01 18:00:00 \+0530 /);
    assert.equal(localRfc3339('2024-05-01T12:30:00Z'), '2024-05-01T18:00:00+05:30');
    process.env['TZ'] = 'America/New_York';
    assert.equal(localTime('2024-01-01T12:30:00Z'), '2024-01-01 07:30:00 -0500 EST');
  } finally {
    if (before === undefined) delete process.env['TZ'];
    else process.env['TZ'] = before;
  }
});

test('human: what is too long ends with an ellipsis and is never cut within a character', () => {
  assert.equal(ellipsis('short', 5), 'short');
  assert.equal(ellipsis('/bin/bash -c something', 20), '/bin/bash -c someth…');
  assert.equal(ellipsis('👍👍👍', 2), '👍…');
});

test('human: a short id is twelve digits', () => {
  assert.equal(shortId(`sha256:${'0123456789abcdef'.repeat(4)}`), '0123456789ab');
  assert.equal(shortId('<missing>'), '<missing>');
});

test('table: columns are as wide as the widest cell and three, ten at the least; the last is not padded', () => {
  assert.equal(
    tableText([
      ['CONTAINER ID', 'TAG', 'NAMES'],
      ['0123456789ab', 'x', 'a'],
    ]),
    'CONTAINER ID   TAG       NAMES\n0123456789ab   x         a\n',
  );
});

test('table: wide characters take two columns, combining ones none', () => {
  assert.equal(displayWidth('日本'), 4);
  assert.equal(displayWidth('e\u0301'), 1);
  assert.equal(displayWidth('…é'), 2);
  assert.equal(displayWidth('👍'), 2);
  assert.equal(padEnd('日本', 6), '日本  ');
  assert.equal(cutTo('日本語', 5), '日本');
  const lines = tableText([
    ['日本語の名前', 'x'],
    ['plain', 'y'],
  ]).split('\n');
  assert.equal(displayWidth(lines[0]!.slice(0, -1)), displayWidth(lines[1]!.slice(0, -1)));
});

test('table: words are wrapped at the width; one that is longer has a line', () => {
  assert.deepEqual(wrapWords('aa bb cc', 5), ['aa bb', 'cc']);
  assert.deepEqual(wrapWords('a verylongword b', 5), ['a', 'verylongword', 'b']);
  assert.deepEqual(wrapWords('a\nb', 5), ['a', 'b']);
});

test('facts: names become words, what is nested is indented', () => {
  const facts = {
    ContainersRunning: 1,
    KernelVersion: '6.1',
    MemTotal: 2e9,
    Plugins: { Volume: ['local', 'x'] },
    NCPU: 2,
  };
  assert.equal(
    factsText(facts),
    ' Running: 1\nKernel Version: 6.1\nTotal Memory: 2GB\nPlugins:\n Volume: local x\nCPUs: 2\n',
  );
});
