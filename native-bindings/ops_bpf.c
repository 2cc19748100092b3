/* A program that the kernel asks about each device that a cgroup's processes open or make. */
#include <fcntl.h>
#include <linux/bpf.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ops.h"

enum { INSTRUCTION = 8 };

/* The kernel wants unused fields to be zero, those of a union too. */
static long load(const u8 *program, u32 size) {
  union bpf_attr attr;
  memset(&attr, 0, sizeof attr);
  attr.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
  attr.insns = (u64)(uintptr_t)program;
  attr.insn_cnt = size / INSTRUCTION;
  attr.license = (u64)(uintptr_t) "";
  return syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof attr);
}

/* Beside programs of cgroups above: each of them must say yes. The program goes with the cgroup. */
static int attach(int cgroup, int program) {
  union bpf_attr attr;
  memset(&attr, 0, sizeof attr);
  attr.target_fd = (u32)cgroup;
  attr.attach_bpf_fd = (u32)program;
  attr.attach_type = BPF_CGROUP_DEVICE;
  attr.attach_flags = BPF_F_ALLOW_MULTI;
  return ERRNO_OF((int)syscall(SYS_bpf, BPF_PROG_ATTACH, &attr, sizeof attr));
}

OPERATION(bpf_device) {
  const char *path;
  int error = text_string(run, &args[0], &path);
  if (error != 0) return error;
  if (args[1].count == 0 || args[1].count % INSTRUCTION != 0) return EINVAL;
  int cgroup = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (cgroup < 0) return errno;
  /* In a plan the bytes lie anywhere; the kernel copies them. */
  long program = load(args[1].bytes, args[1].count);
  error = program < 0 ? errno : attach(cgroup, (int)program);
  if (program >= 0) close((int)program);
  close(cgroup);
  return error;
}
