/**
 * Rules of the firewall, in the network namespace that this thread is in: many at once in nft(8)'s own language, by libnftables, which is loaded
 * by the first call; one thing taken away or asked for by a message, without a library. @see libnftables(3), linux/netfilter/nf_tables.h
 */
import { existsSync } from 'node:fs';
import { isErrno, SyscallError, TsboxError } from '../errors.ts';
import { errnoNumber, errnoOf } from '../spec/errno.ts';
import { bind, cstring } from './ffi.ts';
import { ask, attribute, message, NETLINK_NETFILTER, NLM_F_ACK } from './netlink-message.ts';

const SONAME = 'libnftables.so.1';
const CTX = 'void *';
const newContext = bind(CTX, 'nft_ctx_new', ['uint32_t'], SONAME) as (flags: number) => unknown;
const freeContext = bind('void', 'nft_ctx_free', [CTX], SONAME);
const bufferOutput = bind('int', 'nft_ctx_buffer_output', [CTX], SONAME);
const bufferError = bind('int', 'nft_ctx_buffer_error', [CTX], SONAME);
const runCommands = bind('int', 'nft_run_cmd_from_buffer', [CTX, 'const void *'], SONAME);
const errorBuffer = bind('const char *', 'nft_ctx_get_error_buffer', [CTX], SONAME) as unknown as (
  context: unknown,
) => string | null;

function start(): unknown {
  try {
    return newContext(0);
  } catch (cause) {
    throw new TsboxError('ERR_TSBOX_UNSUPPORTED', `load ${SONAME}, which makes the rules of networks`, {
      exitCode: 125,
      hint: 'Install libnftables (Debian: apt-get install libnftables1), or run without a network: --network none.',
      cause,
    });
  }
}

/** Where distributions have it; elsewhere the loader knows. */
const PLACES = ['/usr/lib/x86_64-linux-gnu', '/usr/lib/aarch64-linux-gnu', '/usr/lib64', '/usr/lib'];

/** Can rules be made here? The library is loaded only where it is not in its usual place. */
export function hasLibnftables(): boolean {
  if (PLACES.some((place) => existsSync(`${place}/${SONAME}`))) return true;
  try {
    freeContext(start());
    return true;
  } catch {
    return false;
  }
}

/** What nft(8) says ends with the kernel's reason, when that was one. */
const REASONS = ['EEXIST', 'ENOENT', 'EBUSY', 'EOPNOTSUPP'].map((name) => errnoOf(errnoNumber(name)));

function refusal(said: string): SyscallError {
  const [line = ''] = said.split('\n', 1);
  const words = line.replace(/^.*?Error: /, '');
  const reason = REASONS.find(({ text }) => words.endsWith(text));
  return new SyscallError('nft', `change the rules: ${words}`, reason ?? errnoOf(errnoNumber('EPERM')));
}

/** Several commands in nft(8)'s language, a line each: all of them or none.
 *  @throws ERR_TSBOX_UNSUPPORTED without libnftables; SyscallError with what it says, EPERM where that is not the kernel's reason */
export function changeRules(commands: string): void {
  const context = start();
  try {
    bufferOutput(context);
    bufferError(context);
    if (runCommands(context, cstring(commands)) !== 0) throw refusal(errorBuffer(context) ?? '');
  } finally {
    freeContext(context);
  }
}

const [BATCH_BEGIN, BATCH_END, SUBSYSTEM] = [16, 17, 10];
const [NFPROTO_UNSPEC, NFPROTO_INET] = [0, 1];
const NFT_MSG = { GETTABLE: 1, DELTABLE: 2, GETSETELEM: 13, DELSETELEM: 14 } as const;
const TABLE_NAME = 1;
const ELEMENTS = { TABLE: 1, SET: 2, ELEMENTS: 3, ELEMENT: 1, KEY: 1, VALUE: 1 } as const;
const NESTED = 0x8000;

/** struct nfgenmsg */
function body(family: number, resource = 0): Buffer {
  const bytes = Buffer.alloc(4);
  bytes[0] = family;
  bytes.writeUInt16BE(resource, 2);
  return bytes;
}

function change(what: number, attributes: readonly Buffer[], verb: () => string): void {
  const changes = message((SUBSYSTEM << 8) | what, NLM_F_ACK, body(NFPROTO_INET), attributes);
  const [begin, end] = [BATCH_BEGIN, BATCH_END].map((type) => message(type, 0, body(NFPROTO_UNSPEC, SUBSYSTEM)));
  ask(NETLINK_NETFILTER, Buffer.concat([begin!, changes, end!]), 'nft_delete', verb);
}

/** Takes a table of the family inet away, with all that is in it. @throws SyscallError ENOENT when it is not there */
export function deleteTable(table: string): void {
  change(NFT_MSG.DELTABLE, [attribute(TABLE_NAME, table)], () => `delete the table inet ${table}`);
}

/** Takes one element from a set or map of such a table. @param key as `src/plan/nft-key.ts` makes it
 *  @throws SyscallError ENOENT when it is not there */
export function deleteElement(table: string, set: string, key: Uint8Array): void {
  const what = () => `delete an element of ${set} in the table inet ${table}`;
  change(NFT_MSG.DELSETELEM, elementAttributes(table, set, key), what);
}

function elementAttributes(table: string, set: string, key: Uint8Array): Buffer[] {
  const value = attribute(NESTED | ELEMENTS.KEY, [attribute(ELEMENTS.VALUE, Buffer.from(key))]);
  return [
    attribute(ELEMENTS.TABLE, table),
    attribute(ELEMENTS.SET, set),
    attribute(NESTED | ELEMENTS.ELEMENTS, [attribute(NESTED | ELEMENTS.ELEMENT, [value])]),
  ];
}

/** Does a set or map of such a table have an element with this key? Not without the table or the set. */
export function elementExists(table: string, set: string, key: Uint8Array): boolean {
  const attributes = elementAttributes(table, set, key);
  const sent = message((SUBSYSTEM << 8) | NFT_MSG.GETSETELEM, 0, body(NFPROTO_INET), attributes);
  return isThere(sent, () => `look into ${set} of the table inet ${table}`);
}

/** Is there a table of the family inet with this name? Where the kernel has no tables, there is none. */
export function tableExists(table: string): boolean {
  const sent = message((SUBSYSTEM << 8) | NFT_MSG.GETTABLE, 0, body(NFPROTO_INET), [attribute(TABLE_NAME, table)]);
  return isThere(sent, () => `look for the table inet ${table}`);
}

function isThere(sent: Buffer, what: () => string): boolean {
  try {
    ask(NETLINK_NETFILTER, sent, 'nft', what);
    return true;
  } catch (error) {
    if (['ENOENT', 'EOPNOTSUPP', 'EPROTONOSUPPORT'].some((name) => isErrno(error, name))) return false;
    throw error;
  }
}
