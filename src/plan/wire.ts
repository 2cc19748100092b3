/**
 * The plan as the executor reads it. Little-endian.
 *
 *   plan   := "TSBXPLAN" u32 version, u32 flags, u32 lists, list*       list 0 is monitor, list 1 is cleanup, then the nested ones
 *   list   := u32 steps, step*
 *   step   := u32 bytes that follow, u16 op, u8 args, u8 rules, rule*, arg*
 *   rule   := u16 errno, u16 action                                     1 skip, 2 retry
 *   arg    := 'i' i64 | 't' text | 'T' template | 's' u32 count, (t or T)* | 'n' u32 count, i64* | 'b' u32 length, bytes | 'l' u32 list
 *   text   := u32 length, bytes, NUL                                    the length leaves the NUL out
 *   template := u32 parts, ('t' text | 'h' u16 hole)*                   holes by their place in LATE_HOLES
 */
import { errnoNumber } from '../spec/errno.ts';
import { type FlagSet, flagBits } from '../spec/linux.ts';
import { FLAGS, type FlagKind, type Kind, OPS, PLAN_VERSION } from './ops.ts';
import type { Plan, Step } from './step.ts';
import { LATE_HOLES, type LateHole, type Text } from './text.ts';

export const PLAN_MAGIC = 'TSBXPLAN';
/** Header flag: report every step when it is done, not only a failure. */
export const PLAN_TRACE = 1;

const ACTIONS = { skip: 1, retry: 2 } as const;

export interface EncodedPlan {
  readonly bytes: Buffer;
  /** The lists by the numbers that reports use. */
  readonly lists: readonly (readonly Step[])[];
}

/** Where in the bytes a step begins, by its operation (`exec`), and where its arguments do (`exec.args`); the last one of a name counts. */
export type Places = Map<string, number>;

interface Writer {
  buffer: Buffer;
  at: number;
  places: Places | undefined;
}

function room(writer: Writer, bytes: number): void {
  if (writer.at + bytes <= writer.buffer.length) return;
  const grown = Buffer.alloc(Math.max(writer.buffer.length * 2, writer.at + bytes));
  writer.buffer.copy(grown, 0, 0, writer.at);
  writer.buffer = grown;
}

function u8(writer: Writer, value: number): void {
  room(writer, 1);
  writer.at = writer.buffer.writeUInt8(value, writer.at);
}

function u16(writer: Writer, value: number): void {
  room(writer, 2);
  writer.at = writer.buffer.writeUInt16LE(value, writer.at);
}

function u32(writer: Writer, value: number): void {
  room(writer, 4);
  writer.at = writer.buffer.writeUInt32LE(value, writer.at);
}

function i64(writer: Writer, value: bigint): void {
  room(writer, 8);
  writer.at = writer.buffer.writeBigInt64LE(BigInt.asIntN(64, value), writer.at);
}

function letter(writer: Writer, value: string): void {
  u8(writer, value.charCodeAt(0));
}

function plainText(writer: Writer, value: string): void {
  const length = Buffer.byteLength(value);
  u32(writer, length);
  room(writer, length + 1);
  writer.buffer.write(value, writer.at, 'utf8');
  writer.buffer[writer.at + length] = 0;
  writer.at += length + 1;
}

function textArg(writer: Writer, value: Text): void {
  if (typeof value === 'string') {
    letter(writer, 't');
    plainText(writer, value);
    return;
  }
  letter(writer, 'T');
  u32(writer, value.length);
  for (const part of value) {
    if (typeof part === 'string') {
      letter(writer, 't');
      plainText(writer, part);
    } else {
      const number = LATE_HOLES.indexOf(part.hole as LateHole);
      if (number < 0) throw new Error(`the hole {${part.hole}} must be filled before the plan is encoded`);
      letter(writer, 'h');
      u16(writer, number);
    }
  }
}

/** The integer that an argument of one of the number-like kinds stands for. */
export function argInteger(kind: Kind, value: unknown): bigint {
  if (kind in FLAGS) return BigInt(flagBits(FLAGS[kind as FlagKind].set as FlagSet, value as readonly string[]));
  return BigInt(value as number | bigint);
}

function arg(writer: Writer, kind: Kind, value: unknown, lists: (readonly Step[])[]): void {
  if (kind === 'text') textArg(writer, value as Text);
  else if (kind === 'texts') {
    const texts = value as readonly Text[];
    letter(writer, 's');
    u32(writer, texts.length);
    for (const one of texts) textArg(writer, one);
  } else if (kind === 'ints') {
    const ints = value as readonly number[];
    letter(writer, 'n');
    u32(writer, ints.length);
    for (const one of ints) i64(writer, BigInt(one));
  } else if (kind === 'bytes') {
    const bytes = value as Uint8Array;
    letter(writer, 'b');
    u32(writer, bytes.length);
    room(writer, bytes.length);
    writer.buffer.set(bytes, writer.at);
    writer.at += bytes.length;
  } else if (kind === 'list') {
    letter(writer, 'l');
    u32(writer, lists.push(value as readonly Step[]) - 1);
  } else {
    letter(writer, 'i');
    i64(writer, argInteger(kind, value));
  }
}

function step(writer: Writer, value: Step, lists: (readonly Step[])[]): void {
  const spec = OPS[value.op];
  const args = Object.entries(spec.args) as [string, Kind][];
  const rules = Object.entries(value.onError ?? {});
  const start = writer.at;
  writer.places?.set(value.op, start);
  u32(writer, 0);
  u16(writer, spec.number);
  u8(writer, args.length);
  u8(writer, rules.length);
  for (const [name, action] of rules) {
    u16(writer, errnoNumber(name));
    u16(writer, ACTIONS[action]);
  }
  for (const [name, kind] of args) {
    writer.places?.set(`${value.op}.${name}`, writer.at);
    arg(writer, kind, (value as unknown as Record<string, unknown>)[name], lists);
  }
  writer.buffer.writeUInt32LE(writer.at - start - 4, start);
}

/** The executor's share of a plan, monitor and cleanup and all lists below them, as bytes. Every known hole must be filled.
 *  @param options `places` is filled, for who changes the bytes
 *  @throws Error (a bug) on an open hole or an unknown flag */
export function encodePlan(plan: Plan, options: { trace?: boolean; places?: Places } = {}): EncodedPlan {
  const lists: (readonly Step[])[] = [plan.monitor, plan.cleanup];
  const writer: Writer = { buffer: Buffer.alloc(16384), at: 0, places: options.places };
  writer.at = writer.buffer.write(PLAN_MAGIC, 'latin1');
  u32(writer, PLAN_VERSION);
  u32(writer, options.trace === true ? PLAN_TRACE : 0);
  const count = writer.at;
  u32(writer, 0);
  for (let index = 0; index < lists.length; index++) {
    const list = lists[index] ?? [];
    u32(writer, list.length);
    for (const one of list) step(writer, one, lists);
  }
  writer.buffer.writeUInt32LE(lists.length, count);
  return { bytes: writer.buffer.subarray(0, writer.at), lists };
}
