/**
 * The program that version 2 of cgroups asks about devices, as bytes. Pure. It answers 1 for "may" and 0 for "may not".
 * @see cgroup-v2.rst, Device controller; bpf/standardization/instruction-set.rst; linux/bpf.h, struct bpf_cgroup_dev_ctx
 */
import type { DeviceAccess, DeviceException } from './device-rules.ts';

/** Bits of `access_type`: the upper half says what for, the lower which kind of device. */
const ACCESS = { m: 1, r: 2, w: 4 } as const;
const TYPE = { b: 1, c: 2 } as const;
const ALL_ACCESS = 7;

const OPCODE = {
  load32: 0x61, // dst = *(u32 *)(src + offset)
  move32: 0xbc, // dst = src
  set32: 0xb4, // dst = immediate
  and32: 0x54, // dst &= immediate
  shift32: 0x74, // dst >>= immediate
  jumpIfNot: 0x55, // dst != immediate: skip `offset` instructions
  jumpIf: 0x15, // dst == immediate: skip `offset` instructions
  exit: 0x95, // the answer is in register 0
} as const;

/** Registers: the question's address comes in 1, the answer goes out in 0. */
const R = { answer: 0, context: 1, type: 2, access: 3, major: 4, minor: 5 } as const;

interface Instruction {
  opcode: number;
  dst?: number;
  src?: number;
  offset?: number;
  immediate?: number;
}

function encode(instructions: readonly Instruction[]): Uint8Array {
  const bytes = new Uint8Array(instructions.length * 8);
  const view = new DataView(bytes.buffer);
  for (const [index, { opcode, dst = 0, src = 0, offset = 0, immediate = 0 }] of instructions.entries()) {
    view.setUint8(index * 8, opcode);
    view.setUint8(index * 8 + 1, (src << 4) | dst);
    view.setInt16(index * 8 + 2, offset, true);
    view.setInt32(index * 8 + 4, immediate, true);
  }
  return bytes;
}

const answer = (value: boolean): Instruction[] => [
  { opcode: OPCODE.set32, dst: R.answer, immediate: value ? 1 : 0 },
  { opcode: OPCODE.exit },
];

/** Where the conditions of an exception do not hold, its answer is jumped over; `offset` is filled in when the length is known. */
function exceptionCode(exception: DeviceException, allow: boolean): Instruction[] {
  const { type, major, minor } = exception;
  const bits = [...exception.access].reduce((sum, letter) => sum | ACCESS[letter as keyof typeof ACCESS], 0);
  const code: Instruction[] = [{ opcode: OPCODE.jumpIfNot, dst: R.type, immediate: TYPE[type] }];
  // The question's address is not needed any more: its register holds what remains to be judged.
  const part = (mask: number) => [
    { opcode: OPCODE.move32, dst: R.context, src: R.access },
    { opcode: OPCODE.and32, dst: R.context, immediate: mask },
  ];
  // Allowed is what asks for nothing beyond the exception; refused is what asks for any of it.
  if (allow) code.push(...part(bits), { opcode: OPCODE.jumpIf, dst: R.context, immediate: 0 });
  else if (bits !== ALL_ACCESS) {
    code.push(...part(ALL_ACCESS & ~bits), { opcode: OPCODE.jumpIfNot, dst: R.context, immediate: 0 });
  }
  if (major !== undefined) code.push({ opcode: OPCODE.jumpIfNot, dst: R.major, immediate: major });
  if (minor !== undefined) code.push({ opcode: OPCODE.jumpIfNot, dst: R.minor, immediate: minor });
  code.push(...answer(!allow));
  return code.map((one, index) =>
    one.opcode === OPCODE.jumpIfNot || one.opcode === OPCODE.jumpIf ? { ...one, offset: code.length - index - 1 } : one,
  );
}

/** The program for these rules: each exception in turn, then what holds for all others. */
export function deviceProgram({ allow, exceptions }: DeviceAccess): Uint8Array {
  return encode([
    { opcode: OPCODE.load32, dst: R.type, src: R.context, offset: 0 },
    { opcode: OPCODE.move32, dst: R.access, src: R.type },
    { opcode: OPCODE.and32, dst: R.type, immediate: 0xffff },
    { opcode: OPCODE.shift32, dst: R.access, immediate: 16 },
    { opcode: OPCODE.load32, dst: R.major, src: R.context, offset: 4 },
    { opcode: OPCODE.load32, dst: R.minor, src: R.context, offset: 8 },
    ...exceptions.flatMap((one) => exceptionCode(one, allow)),
    ...answer(allow),
  ]);
}
