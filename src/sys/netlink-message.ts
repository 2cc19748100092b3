/**
 * Messages to the kernel about networks: put together, sent, and what comes back. All of them are about the network namespace that this
 * thread is in. @see netlink(7)
 */
import { closeSync, readSync, writeSync } from 'node:fs';
import { SyscallError } from '../errors.ts';
import { errnoOf } from '../spec/errno.ts';
import { bind, check } from './ffi.ts';

export const NETLINK_ROUTE = 0;
export const NETLINK_NETFILTER = 12;

export const [NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP, NLM_F_EXCL, NLM_F_CREATE] = [1, 4, 0x300, 0x200, 0x400];
const [NLMSG_ERROR, NLMSG_DONE] = [2, 3];
const NLM_F_ACK_TLVS = 0x200;
const NLMSGERR_ATTR_MSG = 1;
const TYPE_MASK = 0x3fff;

const HEADER = 16;
/** struct nlmsgerr: an errno, and the header of what it is about. */
const ERROR_SIZE = 20;
/** The kernel sends no longer pieces. */
const PIECE = 32768;

/** Bytes with zeros up to the next multiple of four. */
function aligned(bytes: Buffer): Buffer {
  const rest = -bytes.length & 3;
  return rest === 0 ? bytes : Buffer.concat([bytes, Buffer.alloc(rest)]);
}

/** An attribute: a number goes as 32 bits, a string with a NUL at its end, a list as the attributes in it. */
export function attribute(type: number, value: number | string | Buffer | readonly Buffer[]): Buffer {
  const data =
    typeof value === 'number'
      ? number32(value)
      : typeof value === 'string'
        ? Buffer.from(`${value}\0`)
        : Buffer.isBuffer(value)
          ? value
          : Buffer.concat(value);
  const header = Buffer.alloc(4);
  header.writeUInt16LE(4 + data.length, 0);
  header.writeUInt16LE(type, 2);
  return aligned(Buffer.concat([header, data]));
}

function number32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

/** A whole message. @param body the structure that this type begins with */
export function message(type: number, flags: number, body: Buffer, attributes: readonly Buffer[] = []): Buffer {
  const header = Buffer.alloc(HEADER);
  const whole = Buffer.concat([header, aligned(body), ...attributes]);
  whole.writeUInt32LE(whole.length, 0);
  whole.writeUInt16LE(type, 4);
  whole.writeUInt16LE(flags | NLM_F_REQUEST, 6);
  return whole;
}

/** Attributes by their type; of several of one type the last. What is cut off is left out. */
export function attributesOf(bytes: Buffer): Map<number, Buffer> {
  const found = new Map<number, Buffer>();
  for (let at = 0; at + 4 <= bytes.length; ) {
    const length = bytes.readUInt16LE(at);
    if (length < 4 || at + length > bytes.length) break;
    found.set(bytes.readUInt16LE(at + 2) & TYPE_MASK, bytes.subarray(at + 4, at + length));
    at += (length + 3) & ~3;
  }
  return found;
}

const socket = bind('int', 'socket', ['int', 'int', 'int']);
const setsockopt = bind('int', 'setsockopt', ['int', 'int', 'int', 'void *', 'unsigned int']);

function open(protocol: number, what: () => string): number {
  const [AF_NETLINK, SOCK_RAW, SOCK_CLOEXEC] = [16, 3, 0o2000000];
  const [SOL_NETLINK, NETLINK_CAP_ACK, NETLINK_EXT_ACK] = [270, 10, 11];
  const fd = check(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol), 'socket', what);
  // With words, and without all of what was asked: then these come at a known place. Kernels before 4.12 do without.
  for (const option of [NETLINK_EXT_ACK, NETLINK_CAP_ACK]) setsockopt(fd, SOL_NETLINK, option, number32(1), 4);
  return fd;
}

/** What an answer that refuses says: the kernel's own words behind ours. */
function refusal(syscall: string, what: () => string, answer: Buffer): SyscallError {
  const words = (answer.readUInt16LE(6) & NLM_F_ACK_TLVS) === 0 ? undefined : answer.subarray(HEADER + ERROR_SIZE);
  const text = words === undefined ? undefined : attributesOf(words).get(NLMSGERR_ATTR_MSG);
  const detail = text === undefined ? '' : `: ${text.toString('latin1').replace(/\0.*$/s, '')}`;
  return new SyscallError(syscall, `${what()}${detail}`, errnoOf(-answer.readInt32LE(HEADER)));
}

/** Sends messages of which one asks for an answer (NLM_F_ACK, NLM_F_DUMP or a request for one thing), and takes what the kernel answers.
 *  @param syscall the name that the error has
 *  @param what verb and object, for the error
 *  @returns the answers without their headers
 *  @throws SyscallError the kernel's refusal, with its own words where it has some */
export function ask(protocol: number, sent: Buffer, syscall: string, what: () => string): Buffer[] {
  const fd = open(protocol, what);
  try {
    writeSync(fd, sent);
    const answers: Buffer[] = [];
    const flags = sent.readUInt16LE(6);
    const dump = (flags & NLM_F_DUMP) === NLM_F_DUMP && (flags & NLM_F_ACK) === 0;
    for (;;) {
      const piece = Buffer.allocUnsafe(PIECE);
      const got = piece.subarray(0, readSync(fd, piece));
      for (let at = 0; at + HEADER <= got.length; ) {
        const length = got.readUInt32LE(at);
        if (length < HEADER || at + length > got.length) break;
        const answer = got.subarray(at, at + length);
        const type = answer.readUInt16LE(4);
        if (type === NLMSG_DONE) return answers;
        if (type === NLMSG_ERROR) {
          if (answer.readInt32LE(HEADER) === 0) return answers;
          throw refusal(syscall, what, answer);
        }
        answers.push(answer.subarray(HEADER));
        at += (length + 3) & ~3;
      }
      if (!dump) return answers;
    }
  } finally {
    closeSync(fd);
  }
}
