/**
 * libseccomp through FFI: from the rules of a configuration to a program for the kernel. The library is loaded by the first call, and a
 * container whose program is in the cache never makes one.
 * @see seccomp_rule_add(3), seccomp_export_bpf(3)
 */
import { closeSync, fstatSync, readSync } from 'node:fs';
import { TsboxError } from '../errors.ts';
import type { OciSeccomp, OciSyscallRule } from '../spec/oci-runtime.ts';
import { bind, check, cstring } from './ffi.ts';
import { unknownSyscalls } from './seccomp-program.ts';
import { SONAME } from './seccomp-version.ts';

const CTX = 'void *';
const init = bind(CTX, 'seccomp_init', ['uint32_t'], SONAME) as (action: number) => unknown;
const release = bind('void', 'seccomp_release', [CTX], SONAME);
const archAdd = bind('int', 'seccomp_arch_add', [CTX, 'uint32_t'], SONAME);
const attrSet = bind('int', 'seccomp_attr_set', [CTX, 'int', 'uint32_t'], SONAME);
const ruleAdd = bind('int', 'seccomp_rule_add_array', [CTX, 'uint32_t', 'int', 'unsigned int', 'const void *'], SONAME);
const resolveName = bind('int', 'seccomp_syscall_resolve_name', ['const void *'], SONAME);
const resolveNameArch = bind('int', 'seccomp_syscall_resolve_name_arch', ['uint32_t', 'const void *'], SONAME);
const archNative = bind('uint32_t', 'seccomp_arch_native', [], SONAME);
const exportBpf = bind('int', 'seccomp_export_bpf', [CTX, 'int'], SONAME);
const memfdCreate = bind('int', 'memfd_create', ['const void *', 'unsigned int']);

/** Audit numbers of the architectures. @see seccomp_arch_add(3) */
const ARCHES: Readonly<Record<string, number>> = {
  SCMP_ARCH_X86: 0x40000003,
  SCMP_ARCH_X86_64: 0xc000003e,
  SCMP_ARCH_X32: 0x4000003e,
  SCMP_ARCH_ARM: 0x40000028,
  SCMP_ARCH_AARCH64: 0xc00000b7,
};

const ACTIONS: Readonly<Record<string, number>> = {
  SCMP_ACT_KILL: 0,
  SCMP_ACT_KILL_THREAD: 0,
  SCMP_ACT_KILL_PROCESS: 0x80000000,
  SCMP_ACT_TRAP: 0x00030000,
  SCMP_ACT_ERRNO: 0x00050000,
  SCMP_ACT_TRACE: 0x7ff00000,
  SCMP_ACT_LOG: 0x7ffc0000,
  SCMP_ACT_ALLOW: 0x7fff0000,
};

const OPERATORS: Readonly<Record<string, number>> = {
  SCMP_CMP_NE: 1,
  SCMP_CMP_LT: 2,
  SCMP_CMP_LE: 3,
  SCMP_CMP_EQ: 4,
  SCMP_CMP_GE: 5,
  SCMP_CMP_GT: 6,
  SCMP_CMP_MASKED_EQ: 7,
};

/** SECCOMP_FILTER_FLAG_*, which are for seccomp(2) and not for the program. */
const FLAGS: Readonly<Record<string, number>> = {
  SECCOMP_FILTER_FLAG_TSYNC: 1,
  SECCOMP_FILTER_FLAG_LOG: 2,
  SECCOMP_FILTER_FLAG_SPEC_ALLOW: 4,
};

const EPERM = 1;
const UNKNOWN = -1;
const SCMP_FLTATR_CTL_OPTIMIZE = 8;
const BINARY_TREE = 2;

function wrong(what: string, name: string): TsboxError {
  return new TsboxError('ERR_TSBOX_SPEC', `use the seccomp profile: ${what} ${JSON.stringify(name)} is not known`, {
    exitCode: 125,
  });
}

function lookUp(table: Readonly<Record<string, number>>, what: string, name: string): number {
  const found = Object.hasOwn(table, name) ? table[name] : undefined;
  if (found === undefined) throw wrong(what, name);
  return found;
}

/** The errno that goes with SCMP_ACT_ERRNO and SCMP_ACT_TRACE is EPERM when none is given. */
function actionNumber(name: string, errno: number | undefined): number {
  const base = lookUp(ACTIONS, 'the action', name);
  return name === 'SCMP_ACT_ERRNO' || name === 'SCMP_ACT_TRACE' ? base | ((errno ?? EPERM) & 0xffff) : base;
}

/** struct scmp_arg_cmp for each condition. */
function conditions(args: NonNullable<OciSyscallRule['args']>): Buffer {
  const bytes = Buffer.alloc(24 * Math.max(1, args.length));
  for (const [at, { index, op, value, valueTwo = 0 }] of args.entries()) {
    bytes.writeUInt32LE(index, at * 24);
    bytes.writeUInt32LE(lookUp(OPERATORS, 'the comparison', op), at * 24 + 4);
    bytes.writeBigUInt64LE(BigInt.asUintN(64, BigInt(value)), at * 24 + 8);
    bytes.writeBigUInt64LE(BigInt.asUintN(64, BigInt(valueTwo)), at * 24 + 16);
  }
  return bytes;
}

/** Conditions hold together, but several on the same argument are alternatives, as runc has it. */
function alternatives(args: NonNullable<OciSyscallRule['args']>): (typeof args)[] {
  const several = new Set(args.map(({ index }) => index)).size < args.length;
  return several ? args.map((one) => [one]) : [args];
}

function need(result: number, what: string): void {
  if (result < 0) throw new Error(`${what}: libseccomp says ${result}`);
}

function addRule(context: unknown, rule: OciSyscallRule, defaultAction: number): void {
  const action = actionNumber(rule.action, rule.errnoRet);
  if (action === defaultAction) return;
  for (const name of rule.names) {
    const number = resolveName(cstring(name));
    if (number === UNKNOWN) continue; // newer than the library: the program answers ENOSYS, see seccomp-program.ts
    for (const args of alternatives(rule.args ?? [])) {
      need(ruleAdd(context, action, number, args.length, conditions(args)), `add the rule for ${name}`);
    }
  }
}

function exported(context: unknown): Buffer {
  const fd = check(memfdCreate(cstring('seccomp'), 1), 'memfd_create', () => 'make a file in memory');
  try {
    need(exportBpf(context, fd), 'export the seccomp filter');
    const program = Buffer.alloc(fstatSync(fd).size);
    readSync(fd, program, 0, program.length, 0);
    return program;
  } finally {
    closeSync(fd);
  }
}

/** The highest number of a system call that the rules name, for each architecture: what lies above is unknown to them. */
function highestNumbers(arches: readonly number[], rules: readonly OciSyscallRule[]): Map<number, number> {
  const names = rules.flatMap((rule) => rule.names.map(cstring));
  return new Map(arches.map((arch) => [arch, Math.max(0, ...names.map((name) => resolveNameArch(arch, name)))]));
}

function start(defaultAction: number): unknown {
  try {
    return init(defaultAction);
  } catch (cause) {
    throw new TsboxError('ERR_TSBOX_UNSUPPORTED', `load ${SONAME}, which makes seccomp filters`, {
      exitCode: 125,
      hint: 'Install libseccomp (Debian: apt-get install libseccomp2), or run without a filter: --security-opt seccomp=unconfined.',
      cause,
    });
  }
}

/** The program for seccomp(2), SECCOMP_SET_MODE_FILTER: 8 bytes an instruction.
 *  @throws ERR_TSBOX_UNSUPPORTED without libseccomp, ERR_TSBOX_SPEC for names that it does not have */
export function compileSeccomp(seccomp: OciSeccomp): Buffer {
  const defaultAction = actionNumber(seccomp.defaultAction, seccomp.defaultErrnoRet);
  const rules = seccomp.syscalls ?? [];
  const context = start(defaultAction);
  try {
    const native = archNative();
    const arches = [
      ...new Set([native, ...(seccomp.architectures ?? []).map((name) => lookUp(ARCHES, 'the architecture', name))]),
    ];
    for (const arch of arches) if (arch !== native) need(archAdd(context, arch), 'add an architecture');
    attrSet(context, SCMP_FLTATR_CTL_OPTIMIZE, BINARY_TREE); // older than 2.5: refused, and then it is a list
    for (const rule of rules) addRule(context, rule, defaultAction);
    return Buffer.concat([unknownSyscalls(defaultAction, highestNumbers(arches, rules)), exported(context)]);
  } finally {
    release(context);
  }
}

/** The flags for seccomp(2). @throws ERR_TSBOX_SPEC */
export function seccompFlags(names: readonly string[]): number {
  return names.reduce((bits, name) => bits | lookUp(FLAGS, 'the flag', name), 0);
}
