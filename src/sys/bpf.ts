/** Programs in the kernel: the one that a version 2 cgroup asks about devices. @see bpf(2) */
import { closeSync, constants, openSync } from 'node:fs';
import { bind, check } from './ffi.ts';
import { addressOf } from './process.ts';

const bpf = bind('long', 'syscall', ['long', 'int', 'void *', 'unsigned int']);

const SYS_BPF = process.arch === 'arm64' ? 280 : 321;
const BPF_PROG_LOAD = 5;
const BPF_PROG_ATTACH = 8;
const BPF_PROG_TYPE_CGROUP_DEVICE = 15;
const BPF_CGROUP_DEVICE = 6;
const BPF_F_ALLOW_MULTI = 2;
/** The first version of `union bpf_attr`: the kernel takes what is not given as zero. */
const ATTR_SIZE = 48;
const INSTRUCTION = 8;

function load(program: Buffer): number {
  const license = Buffer.from('\0');
  const attr = Buffer.alloc(ATTR_SIZE);
  attr.writeUInt32LE(BPF_PROG_TYPE_CGROUP_DEVICE, 0);
  attr.writeUInt32LE(program.length / INSTRUCTION, 4);
  attr.writeBigUInt64LE(addressOf(program), 8);
  attr.writeBigUInt64LE(addressOf(license), 16);
  return check(bpf(SYS_BPF, BPF_PROG_LOAD, attr, attr.length), 'bpf', () => 'load the device program');
}

/** Loads a device program and attaches it to the cgroup whose directory is `path`, beside those of cgroups above; it goes with the cgroup.
 *  @throws SyscallError */
export function attachDeviceProgram(path: string, program: Uint8Array): void {
  const cgroup = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    const loaded = load(Buffer.from(program));
    try {
      const attr = Buffer.alloc(ATTR_SIZE);
      attr.writeUInt32LE(cgroup, 0);
      attr.writeUInt32LE(loaded, 4);
      attr.writeUInt32LE(BPF_CGROUP_DEVICE, 8);
      attr.writeUInt32LE(BPF_F_ALLOW_MULTI, 12);
      check(bpf(SYS_BPF, BPF_PROG_ATTACH, attr, attr.length), 'bpf', () => `attach the device program to ${path}`);
    } finally {
      closeSync(loaded);
    }
  } finally {
    closeSync(cgroup);
  }
}
