/** What the virtual machine's two ends say to each other, without a machine. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import test from 'node:test';
import { scriptOf } from '../vm/converse.ts';
import { fromLine, toLine } from '../vm/events.ts';
import { untilMark } from '../vm/marked.ts';

/** Feeds `text` in pieces of `size`. @returns what came before the mark and what came behind it */
function split(text: string, size: number): [string, string | undefined] {
  let before = '';
  let after: string | undefined;
  const marked = untilMark(Buffer.from('--mark--'), (data) => {
    before += data;
  });
  for (let at = 0; at < text.length; at += size) {
    after = marked.feed(Buffer.from(text.slice(at, at + size)))?.toString() ?? after;
  }
  marked.flush();
  return [before, after];
}

test('marked: the mark is found however the bytes are cut, and nothing else is taken for it', () => {
  const text = 'a--mark-b----mark--0\n';
  for (let size = 1; size <= text.length; size++)
    assert.deepEqual(split(text, size), ['a--mark-b--', '0\n'], `${size}`);
});

test('marked: without a mark everything comes out in the end', () => {
  for (const size of [1, 3, 100]) assert.deepEqual(split('text --mark', size), ['text --mark', undefined]);
});

test('marked: what cannot be a part of the mark is not kept back', () => {
  const seen: string[] = [];
  const marked = untilMark(Buffer.from('--mark--'), (data) => void seen.push(data.toString()));
  marked.feed(Buffer.from('line\n'));
  assert.deepEqual(seen, ['line\n']);
});

test('a command for the machine keeps its words, environment and directory', () => {
  const words = ['', ' ', "it's", '$HOME', 'a\nb', '-n', '\\', '"'];
  const script = scriptOf({
    argv: [
      process.execPath,
      '-p',
      'JSON.stringify([process.argv.slice(1), process.env.W, process.cwd()])',
      '--',
      ...words,
    ],
    env: { W: "x 'y'\n$z" },
    cwd: '/proc',
    timeout: 0,
  });
  const { stdout } = spawnSync('sh', ['-c', script]);
  assert.deepEqual(JSON.parse(stdout.toString()), [words, "x 'y'\n$z", '/proc']);
});

test('an event of a failed test comes through with the text of its error', () => {
  const cause = Object.assign(new Error('one is not two'), { code: 'ERR_ASSERTION', actual: 1 });
  const error = Object.assign(new Error('one is not two', { cause }), {
    code: 'ERR_TEST_FAILURE',
    failureType: 'testCodeFailure',
  });
  const event = { type: 'test:fail', data: { name: 'a\nb', details: { duration_ms: 1, error } } };
  const back = fromLine(toLine(event).trimEnd()) as typeof event;
  assert.equal(back.data.name, 'a\nb');
  assert.ok(back.data.details.error instanceof Error);
  assert.equal(back.data.details.error.failureType, 'testCodeFailure');
  const { stack } = back.data.details.error.cause as Error;
  assert.match(stack!, /^Error: one is not two\n +at .*vm-machine.test.ts/);
  assert.match(stack!, /code: 'ERR_ASSERTION'/);
  assert.match(stack!, /actual: 1/);
});
