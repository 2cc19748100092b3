/** Log files in both formats: forwards, backwards, only their bytes, and with damage. */
import assert from 'node:assert/strict';
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { JSON_FILE, type LogCodec, type LogEntry } from '../../src/engine/log-lines.ts';
import { LOCAL } from '../../src/engine/log-local.ts';

interface Said {
  stream: 'stdout' | 'stderr';
  log: string;
}

const TIME = '2026-01-02T03:04:05.000000006Z';
const said: Said[] = [
  { stream: 'stdout', log: 'usual\n' },
  { stream: 'stdout', log: '\n' },
  { stream: 'stderr', log: '"quoted" \\ <ü€> \u2028\t\u001b\n' },
  { stream: 'stdout', log: '😀\n' },
  { stream: 'stdout', log: 'half ' },
  { stream: 'stdout', log: 'and whole\n' },
];

const json = ({ stream, log }: Said) => Buffer.from(`${JSON.stringify({ log, stream, time: TIME })}\n`);

const field = (number: number, bytes: Buffer) => Buffer.concat([Buffer.from([(number << 3) | 2, bytes.length]), bytes]);

/** As docker 20.10 wrote `{source, time_nano, line}`, with partial and its ordinal for a part of a line. */
function local({ stream, log }: Said, at: number): Buffer {
  const time = [0x10];
  let rest = BigInt(Date.UTC(2026, 0, 2, 3, 4, 5)) * 1_000_000n + 6n;
  for (; rest >= 0x80n; rest >>= 7n) time.push(Number(rest & 0x7fn) | 0x80);
  time.push(Number(rest));
  const last = said[at - 1]?.log.endsWith('\n') === false;
  const isPart = !log.endsWith('\n') || last;
  const part = [...(last ? [8, 1] : []), 0x18, last ? 2 : 1];
  const line = Buffer.from(log.replace(/\n$/, ''));
  const message = Buffer.concat([
    field(1, Buffer.from(stream)),
    Buffer.from(time),
    ...(line.length > 0 ? [field(3, line)] : []),
    ...(isPart ? [Buffer.from([0x20, 1]), field(5, Buffer.from(part))] : []),
  ]);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(message.length);
  return Buffer.concat([length, message, length]);
}

const shown = (entries: readonly LogEntry[]) => entries.map(({ stream, log }) => ({ stream, log: log.toString() }));

function backwards(codec: LogCodec, bytes: Buffer): { log: string | undefined; end: number }[] {
  const directory = mkdtempSync(join(tmpdir(), 'tsbox-log-lines-'));
  try {
    writeFileSync(join(directory, 'log'), bytes);
    const fd = openSync(join(directory, 'log'), 'r');
    const found = [...codec.backwards(fd, bytes.length)].map(({ entry, end }) => ({ log: entry?.log.toString(), end }));
    closeSync(fd);
    return found;
  } finally {
    rmSync(directory, { recursive: true });
  }
}

for (const [name, codec, encode] of [
  ['json-file', JSON_FILE, json],
  ['local', LOCAL, local],
] as const) {
  const parts = said.map(encode);
  const whole = Buffer.concat(parts);

  test(`logs of ${name}: entries are read as they were written, however far the file has come`, () => {
    for (let length = 0; length <= whole.length; length++) {
      const { entries, used } = codec.read(Buffer.from(whole.subarray(0, length)));
      const count = entries.length;
      assert.deepEqual(shown(entries), said.slice(0, count));
      assert.equal(used, Buffer.concat(parts.slice(0, count)).length);
      assert.ok(count === parts.length || length < used + parts[count]!.length);
    }
    assert.deepEqual(new Set(codec.read(Buffer.from(whole)).entries.map(({ time }) => time)), new Set([TIME]));
  });

  test(`logs of ${name}: backwards, each with where it ends; one that is still being written is left out`, () => {
    for (const cut of [0, 1, 5, parts.at(-1)!.length - 1]) {
      const count = cut === 0 ? parts.length : parts.length - 1;
      const ends = parts.map((_, at) => Buffer.concat(parts.slice(0, at + 1)).length);
      const expected = said.slice(0, count).map(({ log }, at) => ({ log, end: ends[at]! }));
      assert.deepEqual(
        backwards(codec, whole.subarray(0, whole.length - cut)),
        expected.reverse(),
        `${cut} are missing`,
      );
    }
  });

  test(`logs of ${name}: what is damaged is passed over`, () => {
    const damaged = Buffer.concat([parts[0]!, Buffer.from('\u0001nonsense\n'), ...parts.slice(1)]);
    assert.deepEqual(shown(codec.read(damaged).entries), said);
  });
}

test('logs of json-file: the bytes alone are those of all entries, stream by stream', () => {
  const attrs = Buffer.from(`${JSON.stringify({ log: 'a\n', stream: 'stdout', attrs: { a: 'b' }, time: TIME })}\n`);
  const raw = Buffer.from(`${JSON.stringify({ log: '\ufffd', stream: 'stdout', time: TIME, raw: '/w==' })}\n`);
  const lines = [...said.map(json), Buffer.from('damaged\n'), attrs, raw, json(said[0]!)];
  const whole = Buffer.concat(lines);
  const all = JSON_FILE.read(Buffer.from(whole));
  const bytes = JSON_FILE.readBytes!(Buffer.from(whole));
  assert.equal(bytes.used, all.used);
  for (const stream of ['stdout', 'stderr']) {
    const of = (entries: readonly LogEntry[]) =>
      Buffer.concat(entries.filter((entry) => entry.stream === stream).map(({ log }) => log));
    assert.deepEqual(of(bytes.entries), of(all.entries));
  }
  assert.ok(bytes.entries.length < all.entries.length);
});
