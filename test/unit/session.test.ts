/** A client's connection to a monitor, with the test as the monitor. */
import assert from 'node:assert/strict';
import { closeSync, readSync, writeSync } from 'node:fs';
import test from 'node:test';
import { encodeFrame, FROM_MONITOR, TO_MONITOR } from '../../src/runtime/frames.ts';
import { monitorClient } from '../../src/runtime/session.ts';
import { socketPair } from '../../src/sys/process.ts';

const json = (type: number, value: object) => encodeFrame(type, Buffer.from(JSON.stringify(value)));

test('session: the last words of a monitor that has left are heard, whatever is still said to it', async () => {
  const [ours, theirs] = socketPair();
  const output = Buffer.alloc(50_000, 'x');
  writeSync(theirs, encodeFrame(FROM_MONITOR.stdout, output));
  writeSync(theirs, json(FROM_MONITOR.exit, { code: 7, signal: 0 }));
  closeSync(theirs);
  const client = monitorClient(ours);
  client.want({ output: true, stdin: true });
  client.stdin(Buffer.alloc(100_000));
  client.closeStdin();
  await new Promise((wake) => setTimeout(wake, 20));
  const got: Buffer[] = [];
  client.output((_, data) => got.push(data) > 0);
  assert.deepEqual(await client.exited, { code: 7 });
  assert.ok(Buffer.concat(got).equals(output));
});

test('session: a monitor that leaves without a word is an error', async () => {
  const [ours, theirs] = socketPair();
  closeSync(theirs);
  await assert.rejects(monitorClient(ours).exited, { code: 'ERR_TSBOX_EXECUTOR', message: /monitor was lost/ });
});

test('session: what is said arrives, and the connection ends when it is left', async () => {
  const [ours, theirs] = socketPair();
  const client = monitorClient(ours);
  client.want({ output: false, stdin: true });
  client.resize({ rows: 40, columns: 300 });
  client.stdin(Buffer.from('abc'));
  await new Promise((wake) => setTimeout(wake, 20));
  client.detach();
  await assert.rejects(client.exited);
  const buffer = Buffer.alloc(1000);
  const expected = Buffer.concat([
    encodeFrame(TO_MONITOR.hello, Buffer.of(0, 1)),
    encodeFrame(TO_MONITOR.resize, Buffer.of(0, 40, 1, 44)),
    encodeFrame(TO_MONITOR.stdin, Buffer.from('abc')),
  ]);
  assert.equal(readSync(theirs, buffer), expected.length);
  assert.ok(buffer.subarray(0, expected.length).equals(expected));
  assert.equal(readSync(theirs, buffer), 0, 'end of file');
  closeSync(theirs);
});
