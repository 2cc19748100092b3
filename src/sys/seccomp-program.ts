/**
 * What stands in front of a filter whose default is a refusal: system calls that are newer than all that its rules name get ENOSYS and
 * not the default's errno, as runc does it. A C library that tries a new call and sees EPERM gives up; seeing ENOSYS it takes the old one.
 * @see seccomp(2), struct seccomp_data
 */

const [LD, JEQ, JGT, JGE, RET] = [0x20, 0x15, 0x25, 0x35, 0x06];
const [NUMBER, ARCH] = [0, 4];
const SECCOMP_RET_ENOSYS = 0x00050000 | 38;
const X86_64 = 0xc000003e;
const X32 = 0x4000003e;
/** Set in the numbers of x32, which has x86-64's audit number. */
const X32_BIT = 0x40000000;

/** Actions that refuse: SCMP_ACT_KILL and the like up to SCMP_ACT_ERRNO. */
const refuses = (action: number) => action >>> 0 === 0x80000000 || (action & 0xffff0000) <= 0x00050000;

function instruction(code: number, jumpTrue: number, jumpFalse: number, value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt16LE(code, 0);
  bytes.writeUInt8(jumpTrue, 2);
  bytes.writeUInt8(jumpFalse, 3);
  bytes.writeUInt32LE(value >>> 0, 4);
  return bytes;
}

/** The number is loaded; above `highest` it is unknown. */
const limit = (highest: number): Buffer[] => [
  instruction(JGT, 0, 1, highest),
  instruction(RET, 0, 0, SECCOMP_RET_ENOSYS),
];

/** For one audit number; what is known falls through to the end. */
function block(arch: number, highest: ReadonlyMap<number, number>): Buffer[] {
  const body = [instruction(LD, 0, 0, NUMBER)];
  if (arch === X86_64) {
    const own = limit(highest.get(X86_64) ?? 0);
    const x32 = highest.get(X32);
    const others = x32 === undefined ? [] : limit(x32);
    // x32 calls skip the limit of x86-64; the others end in front of the limit of x32, which none of them passes.
    body.push(instruction(JGE, own.length, 0, X32_BIT), ...own, ...others);
  } else body.push(...limit(highest.get(arch) ?? 0));
  return [instruction(JEQ, 0, body.length, arch), ...body];
}

/** Instructions to be put in front of a program; none when its default action lets calls pass.
 *  @param highest number that the rules name, for each audit number of an architecture */
export function unknownSyscalls(defaultAction: number, highest: ReadonlyMap<number, number>): Buffer {
  if (!refuses(defaultAction)) return Buffer.alloc(0);
  const blocks = [...highest.keys()]
    .filter((arch) => arch !== X32)
    // Each block compares the architecture anew, which the one before may have replaced with the number.
    .flatMap((arch) => [instruction(LD, 0, 0, ARCH), ...block(arch, highest)]);
  return Buffer.concat(blocks);
}
