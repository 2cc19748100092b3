import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { argLetters, OPS, type OpName, PLAN_VERSION } from '../../src/plan/ops.ts';
import type { Plan, Step } from '../../src/plan/step.ts';
import { hole, LATE_HOLES, text } from '../../src/plan/text.ts';
import { encodePlan, PLAN_MAGIC, PLAN_TRACE } from '../../src/plan/wire.ts';
import { errnoNumber } from '../../src/spec/errno.ts';
import { flagBits, MS } from '../../src/spec/linux.ts';
import { EXECUTOR } from '../executor.ts';
import { requires } from '../requires.ts';

/** Reads the encoding as the comment in wire.ts describes it, with no help from the code that wrote it. */
function decode(bytes: Buffer) {
  let at = 0;
  const take = (length: number) => {
    at += length;
    return bytes.subarray(at - length, at);
  };
  const u8 = () => take(1).readUInt8();
  const u16 = () => take(2).readUInt16LE();
  const u32 = () => take(4).readUInt32LE();
  const i64 = () => take(8).readBigInt64LE();
  const letter = () => String.fromCharCode(u8());
  const literal = () => {
    const value = take(u32()).toString();
    assert.equal(u8(), 0, 'a text ends with NUL');
    return value;
  };
  const many = <T>(one: () => T): T[] => Array.from({ length: u32() }, one);
  const part = () => (letter() === 't' ? literal() : { hole: LATE_HOLES[u16()] });
  const arg = (): unknown => {
    const kind = letter();
    if (kind === 'i') return i64();
    if (kind === 't') return literal();
    if (kind === 'T') return many(part);
    if (kind === 's') return many(arg);
    if (kind === 'n') return many(i64);
    if (kind === 'b') return Buffer.from(take(u32()));
    assert.equal(kind, 'l');
    return { list: u32() };
  };
  const step = () => {
    const end = u32() + at;
    const op = u16();
    const args = u8();
    const rules = Array.from({ length: u8() }, () => [u16(), u16()]);
    const value = { op, rules, args: Array.from({ length: args }, arg) };
    assert.equal(at, end, 'a step is as long as it says');
    return value;
  };
  const magic = take(8).toString();
  const [version, flags] = [u32(), u32()];
  const lists = many(() => many(step));
  assert.equal(at, bytes.length);
  return { magic, version, flags, lists };
}

const why = 'for a test';
const plan = (monitor: Step[], cleanup: Step[] = []): Plan => ({ setup: [], monitor, cleanup });

test('wire: the executor has the same operations under the same numbers, with the same arguments', (context) => {
  if (!requires(context, `file:${EXECUTOR}`)) return;
  const printed = spawnSync(EXECUTOR, ['--ops'], { encoding: 'utf8' }).stdout.trimEnd().split('\n');
  const names = Object.keys(OPS) as OpName[];
  const expected = names.map((name) => `${OPS[name].number} ${name} ${argLetters(name)}`);
  assert.deepEqual(printed, expected);
});

test('wire: the executor says the plan version that it knows', (context) => {
  if (!requires(context, `file:${EXECUTOR}`)) return;
  assert.equal(spawnSync(EXECUTOR, ['--version'], { encoding: 'utf8' }).stdout, `${PLAN_VERSION}\n`);
});

test('wire: operation numbers are used once', () => {
  const numbers = Object.values(OPS).map((op) => op.number);
  assert.equal(new Set(numbers).size, numbers.length);
});

test('wire: every kind of argument comes back as it was given', () => {
  const filter = Buffer.from([0, 1, 2, 255, 254, 0, 0, 0]);
  const { lists, ...head } = decode(
    encodePlan(
      plan(
        [
          { op: 'mount', source: 'a', target: 'ü', type: '', flags: ['MS_RDONLY', 'MS_BIND'], data: 'x\0y', why },
          { op: 'write', path: text`/run/${hole('pid')}/x`, data: text`${hole('now')}\n`, flags: [], mode: 0o644, why },
          { op: 'spawn', why, list: [{ op: 'exec', args: ['sh', text`-c${hole('exit')}`], env: [], why }] },
          { op: 'setgroups', groups: [0, 4294967294], why },
          { op: 'rlimit', resource: ['RLIMIT_NOFILE'], soft: -1, hard: 1024, why },
          { op: 'capset', effective: 0x1ffffffffffn, permitted: 0xffffffffffffffffn, inheritable: 0n, why },
          { op: 'seccomp', filter, flags: 2, why },
        ],
        [{ op: 'rmdir', path: '/x', onError: { EBUSY: 'retry', ENOENT: 'skip' }, why }],
      ),
      { trace: true },
    ).bytes,
  );
  assert.deepEqual(head, { magic: PLAN_MAGIC, version: PLAN_VERSION, flags: PLAN_TRACE });
  const flags = BigInt(flagBits(MS, ['MS_RDONLY', 'MS_BIND']));
  assert.deepEqual(lists, [
    [
      { op: 11, rules: [], args: ['a', 'ü', '', flags, 'x\0y'] },
      { op: 2, rules: [], args: [['/run/', { hole: 'pid' }, '/x'], [{ hole: 'now' }, '\n'], 0n, 0o644n] },
      { op: 21, rules: [], args: [{ list: 2 }] },
      { op: 37, rules: [], args: [[0n, 4294967294n]] },
      { op: 33, rules: [], args: [7n, -1n, 1024n] },
      { op: 35, rules: [], args: [0x1ffffffffffn, -1n, 0n] },
      { op: 41, rules: [], args: [filter, 2n] },
    ],
    [
      {
        op: 8,
        rules: [
          [errnoNumber('EBUSY'), 2],
          [errnoNumber('ENOENT'), 1],
        ],
        args: ['/x'],
      },
    ],
    [{ op: 43, rules: [], args: [['sh', ['-c', { hole: 'exit' }]], []] }],
  ]);
});

test('wire: lists are numbered as reports name them', () => {
  const inner: Step[] = [{ op: 'chdir', path: '/', why }];
  const init: Step[] = [{ op: 'outside', list: inner, why }];
  const cleanup: Step[] = [{ op: 'rmdir', path: '/x', why }];
  const value = plan([{ op: 'spawn', list: init, why }], cleanup);
  assert.deepEqual(encodePlan(value).lists, [value.monitor, cleanup, init, inner]);
});

test('wire: a plan larger than the first buffer is whole', () => {
  const args = Array.from({ length: 5000 }, (_, index) => `argument ${index}`);
  const { lists } = decode(encodePlan(plan([{ op: 'spawn', why, list: [{ op: 'exec', args, env: [], why }] }])).bytes);
  assert.deepEqual(lists[2]![0]!.args[0], args);
});

test('wire: an open hole is a bug', () => {
  const value = plan([{ op: 'mkdir', path: text`/x/${hole('id')}`, mode: 0o755, why }]);
  assert.throws(() => encodePlan(value), /\{id\}/);
});
