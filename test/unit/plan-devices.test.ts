/** Device rules: what a container may open, as version 1 is told and as version 2 asks. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { DEFAULT_DEVICE_RULES } from '../../src/engine/resources.ts';
import { deviceProgram } from '../../src/plan/device-program.ts';
import { deviceAccess, deviceStepsV1, deviceStepsV2, exceptionText } from '../../src/plan/device-rules.ts';
import type { OciDeviceRule } from '../../src/spec/oci-runtime.ts';

interface Question {
  type: 'c' | 'b';
  major: number;
  minor: number;
  access: string;
}

const ACCESS: Readonly<Record<string, number>> = { m: 1, r: 2, w: 4 };

/** Runs a program as the kernel would: the registers are 64 bits wide, reads outside the question are refused. */
function run(program: Uint8Array, { type, major, minor, access }: Question): number {
  const question = new DataView(new ArrayBuffer(12));
  const bits = [...access].reduce((sum, letter) => sum | ACCESS[letter]!, 0);
  question.setUint32(0, (bits << 16) | (type === 'b' ? 1 : 2), true);
  question.setUint32(4, major, true);
  question.setUint32(8, minor, true);
  const view = new DataView(program.buffer, program.byteOffset, program.length);
  const registers: (number | 'question' | undefined)[] = Array(11).fill(undefined);
  registers[1] = 'question';
  const number = (register: number): number => {
    const value = registers[register];
    assert.equal(typeof value, 'number', `register ${register} holds a number`);
    return value as number;
  };
  for (let at = 0; at * 8 < program.length; at++) {
    const [opcode, both] = [view.getUint8(at * 8), view.getUint8(at * 8 + 1)];
    const [dst, src] = [both & 15, both >> 4];
    const [offset, immediate] = [view.getInt16(at * 8 + 2, true), view.getInt32(at * 8 + 4, true)];
    if (opcode === 0x61) {
      assert.equal(registers[src], 'question');
      registers[dst] = question.getUint32(offset, true);
    } else if (opcode === 0xbc) registers[dst] = number(src);
    else if (opcode === 0xb4) registers[dst] = immediate >>> 0;
    else if (opcode === 0x54) registers[dst] = (number(dst) & immediate) >>> 0;
    else if (opcode === 0x74) registers[dst] = number(dst) >>> immediate;
    else if (opcode === 0x55) at += number(dst) === immediate ? 0 : offset;
    else if (opcode === 0x15) at += number(dst) === immediate ? offset : 0;
    else if (opcode === 0x95) return number(0);
    else assert.fail(`opcode ${opcode.toString(16)}`);
  }
  return assert.fail('ran off the end');
}

/** What version 1 does with its exceptions. @see security/device_cgroup.c, the comments */
function version1(rules: readonly OciDeviceRule[], asked: Question): number {
  const { allow, exceptions } = deviceAccess(rules);
  const hit = exceptions.some(({ type, major, minor, access }) => {
    if (type !== asked.type || (major ?? asked.major) !== asked.major || (minor ?? asked.minor) !== asked.minor) {
      return false;
    }
    const within = [...asked.access].filter((letter) => access.includes(letter)).length;
    return allow ? within > 0 : within === asked.access.length;
  });
  return hit !== allow ? 1 : 0;
}

const parse = (text: string): Question => {
  const [, type, major, minor, access] = /^(.) (\d+):(\d+) (\w+)$/.exec(text)!;
  return { type: type as 'c', major: Number(major), minor: Number(minor), access: access! };
};

const ask = (rules: readonly OciDeviceRule[], question: string): boolean => {
  const answer = run(deviceProgram(deviceAccess(rules)), parse(question));
  assert.equal(answer, version1(rules, parse(question)), `${question}: both versions agree`);
  return answer === 1;
};

test('devices: by default null may be used, a disk may be made and not be opened', () => {
  const answers: [string, boolean][] = [
    ['c 1:3 rwm', true],
    ['c 1:3 r', true],
    ['c 136:77 rw', true],
    ['c 5:2 rw', true],
    ['c 5:1 w', true],
    ['b 8:0 m', true],
    ['b 8:0 r', false],
    ['b 8:0 rm', false],
    ['c 1:1 r', false], // /dev/mem
    ['c 1:1 m', true],
    ['b 1:3 r', false], // the numbers of null, but a block device
    ['c 10:229 rw', false], // fuse
    ['c 1:4 w', false],
  ];
  for (const [question, answer] of answers) assert.equal(ask(DEFAULT_DEVICE_RULES, question), answer, question);
});

test('devices: a later rule wins, and permissions of one device add up', () => {
  const rules: OciDeviceRule[] = [
    ...DEFAULT_DEVICE_RULES,
    { allow: true, type: 'b', major: 8, access: 'r' },
    { allow: true, type: 'b', major: 8, access: 'w' },
    { allow: false, type: 'c', major: 1, minor: 3, access: 'w' },
  ];
  assert.equal(ask(rules, 'b 8:5 rw'), true);
  assert.equal(ask(rules, 'b 8:5 rwm'), false);
  assert.equal(ask(rules, 'c 1:3 r'), true);
  assert.equal(ask(rules, 'c 1:3 rw'), false);
});

test('devices: where everything is allowed, a refusal of a part refuses all that needs it', () => {
  const rules: OciDeviceRule[] = [{ allow: true }, { allow: false, type: 'b', major: 8, minor: 0, access: 'w' }];
  assert.equal(ask(rules, 'b 8:0 r'), true);
  assert.equal(ask(rules, 'b 8:0 rw'), false);
  assert.equal(ask(rules, 'b 8:1 rw'), true);
  assert.equal(ask(rules, 'c 8:0 w'), true);
});

test('devices: any rules get the same answers from the program as from version 1', () => {
  let seed = 12345;
  const random = (below: number) => {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
    return (seed >>> 8) % below;
  };
  const letters = () => ['r', 'w', 'm', 'rw', 'rm', 'wm', 'rwm'][random(7)]!;
  for (let round = 0; round < 300; round++) {
    const rules = Array.from({ length: random(8) }, (): OciDeviceRule => {
      const numbers = { ...(random(3) > 0 && { major: random(3) }), ...(random(3) > 0 && { minor: random(3) }) };
      if (random(6) === 0) return { allow: random(2) === 0 };
      return { allow: random(2) === 0, type: random(2) === 0 ? 'c' : 'b', ...numbers, access: letters() };
    });
    for (let one = 0; one < 20; one++) {
      ask(rules, `${random(2) === 0 ? 'c' : 'b'} ${random(3)}:${random(3)} ${letters()}`);
    }
  }
});

test('devices: where everything is allowed there is nothing to do', () => {
  assert.deepEqual(deviceStepsV1('/x', [{ allow: false }, { allow: true, type: 'a', access: 'rwm' }]), []);
  assert.deepEqual(deviceStepsV2('/x', []), []);
});

test('devices: version 1 is told line by line, the refusal first', () => {
  const writes = deviceStepsV1('/x', DEFAULT_DEVICE_RULES).map((step) =>
    step.op === 'write' ? [step.path, step.data] : [],
  );
  assert.deepEqual(writes.slice(0, 4), [
    ['/x/devices.deny', 'a'],
    ['/x/devices.allow', 'c *:* m'],
    ['/x/devices.allow', 'b *:* m'],
    ['/x/devices.allow', 'c 1:3 rwm'],
  ]);
  assert.equal(exceptionText({ type: 'b', major: 8, access: 'rw' }), 'b 8:* rw');
  assert.equal(writes.length, 12);
});
