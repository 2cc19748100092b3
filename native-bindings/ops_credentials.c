/* Who a process is and what it may do. Raw calls: the C library's setuid family wants to tell other threads. */
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ops.h"

OPERATION(umask) {
  (void)run;
  umask((mode_t)args[0].number);
  return 0;
}

/* -1 is RLIM_INFINITY, which has the same bits. */
OPERATION(rlimit) {
  (void)run;
  struct rlimit limit = {.rlim_cur = (rlim_t)args[1].number, .rlim_max = (rlim_t)args[2].number};
  return ERRNO_OF(syscall(SYS_prlimit64, 0, (int)args[0].number, &limit, NULL));
}

static bool in_mask(i64 mask, unsigned capability) { return ((u64)mask >> capability & 1) != 0; }

/* What is not in the set needs no dropping, and so no CAP_SETPCAP. */
OPERATION(capbset) {
  (void)run;
  for (unsigned capability = 0; capability < 64; capability++) {
    int has = prctl(PR_CAPBSET_READ, capability, 0, 0, 0);
    if (has < 0) return errno == EINVAL ? 0 : errno; /* past the last one that this kernel knows */
    if (has == 0 || in_mask(args[0].number, capability)) continue;
    if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0) return errno;
  }
  return 0;
}

OPERATION(capset) {
  (void)run;
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  struct __user_cap_data_struct data[2];
  for (unsigned half = 0; half < 2; half++) {
    data[half].effective = (u32)((u64)args[0].number >> (32 * half));
    data[half].permitted = (u32)((u64)args[1].number >> (32 * half));
    data[half].inheritable = (u32)((u64)args[2].number >> (32 * half));
  }
  return ERRNO_OF(syscall(SYS_capset, &header, data));
}

OPERATION(capambient) {
  (void)run;
  if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0) return errno;
  for (unsigned capability = 0; capability < 64; capability++) {
    if (!in_mask(args[0].number, capability)) continue;
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0) < 0) return errno;
  }
  return 0;
}

OPERATION(setgroups) {
  u32 count = args[0].count;
  gid_t *groups = scratch(run, (size_t)count * sizeof(gid_t));
  if (groups == NULL) return ENOMEM;
  for (u32 index = 0; index < count; index++) {
    i64 group;
    memcpy(&group, args[0].bytes + (size_t)index * sizeof group, sizeof group);
    groups[index] = (gid_t)group;
  }
  return ERRNO_OF(syscall(SYS_setgroups, (size_t)count, groups));
}

OPERATION(setgid) {
  (void)run;
  gid_t gid = (gid_t)args[0].number;
  return ERRNO_OF(syscall(SYS_setresgid, gid, gid, gid));
}

OPERATION(setuid) {
  (void)run;
  uid_t uid = (uid_t)args[0].number;
  return ERRNO_OF(syscall(SYS_setresuid, uid, uid, uid));
}

/* The calls tell the id that was before and no error: asked with one that cannot be, they change nothing and tell which it is now. */
OPERATION(setfsid) {
  (void)run;
  gid_t gid = (gid_t)args[1].number;
  uid_t uid = (uid_t)args[0].number;
  syscall(SYS_setfsgid, gid);
  syscall(SYS_setfsuid, uid);
  if ((gid_t)syscall(SYS_setfsgid, -1) != gid || (uid_t)syscall(SYS_setfsuid, -1) != uid) return EPERM;
  return 0;
}

OPERATION(seccomp) {
  size_t size = args[0].count;
  if (size % sizeof(struct sock_filter) != 0 || size / sizeof(struct sock_filter) > BPF_MAXINSNS) return EINVAL;
  struct sock_filter *filter = scratch(run, size); /* the plan's bytes may lie at any address */
  if (filter == NULL) return ENOMEM;
  memcpy(filter, args[0].bytes, size);
  struct sock_fprog program = {.len = (unsigned short)(size / sizeof(struct sock_filter)), .filter = filter};
  return ERRNO_OF(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, (unsigned)args[1].number, &program));
}
