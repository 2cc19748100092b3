/* Mounts, old and new interface, and where the root is. */
#include <fcntl.h>
#include <linux/mount.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ops.h"

/* glibc's <sys/mount.h> and <linux/mount.h> cannot always be included together, so the calls go by number. */

#ifndef AT_EMPTY_PATH
#define AT_EMPTY_PATH 0x1000
#endif

static const char *unless_empty(const char *string) { return string[0] == 0 ? NULL : string; }

OPERATION(mount) {
  const char *source, *target, *type, *data;
  int error = text_string(run, &args[0], &source);
  if (error == 0) error = text_string(run, &args[1], &target);
  if (error == 0) error = text_string(run, &args[2], &type);
  if (error == 0) error = text_string(run, &args[4], &data);
  if (error != 0) return error;
  /* The kernel takes one page and would silently drop the rest. */
  if (strlen(data) >= (size_t)sysconf(_SC_PAGESIZE)) return E2BIG;
  return ERRNO_OF(syscall(SYS_mount, source, target, unless_empty(type), (unsigned long)args[3].number, unless_empty(data)));
}

OPERATION(umount) {
  const char *target;
  int error = text_string(run, &args[0], &target);
  return error != 0 ? error : ERRNO_OF(syscall(SYS_umount2, target, (int)args[1].number));
}

OPERATION(mount_setattr) {
  const char *target;
  int error = text_string(run, &args[0], &target);
  struct mount_attr attr = {
      .attr_set = (u64)args[2].number,
      .attr_clr = (u64)args[3].number,
      .propagation = (u64)args[4].number,
  };
  if (error != 0) return error;
  return ERRNO_OF(syscall(SYS_mount_setattr, AT_FDCWD, target, (unsigned)args[1].number, &attr, sizeof attr));
}

static void empty_slot(int *slot) {
  if (*slot != 0) close(*slot - 1);
  *slot = 0;
}

OPERATION(open_tree) {
  const char *path;
  int error = text_string(run, &args[1], &path);
  i64 slot = args[0].number;
  if (error != 0) return error;
  if (slot < 0 || slot >= SLOTS) return EINVAL;
  long fd = syscall(SYS_open_tree, AT_FDCWD, path, (unsigned)args[2].number | OPEN_TREE_CLOEXEC);
  if (fd < 0) return errno;
  empty_slot(&run->slots[slot]);
  run->slots[slot] = (int)fd + 1;
  return 0;
}

/* A detached mount only: what is attached already cannot be mapped. */
OPERATION(idmap) {
  const char *userns;
  int error = text_string(run, &args[1], &userns);
  i64 slot = args[0].number;
  struct mount_attr attr = {.attr_set = MOUNT_ATTR_IDMAP};
  if (error != 0) return error;
  if (slot < 0 || slot >= SLOTS || run->slots[slot] == 0) return EBADF;
  int fd = open(userns, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return errno;
  attr.userns_fd = (__u64)fd;
  error = ERRNO_OF(syscall(SYS_mount_setattr, run->slots[slot] - 1, "", (unsigned)AT_EMPTY_PATH, &attr, sizeof attr));
  close(fd);
  return error;
}

OPERATION(move_mount) {
  const char *target;
  int error = text_string(run, &args[1], &target);
  i64 slot = args[0].number;
  if (error != 0) return error;
  if (slot < 0 || slot >= SLOTS || run->slots[slot] == 0) return EBADF;
  unsigned flags = (unsigned)args[2].number | MOVE_MOUNT_F_EMPTY_PATH;
  if (syscall(SYS_move_mount, run->slots[slot] - 1, "", AT_FDCWD, target, flags) < 0) return errno;
  empty_slot(&run->slots[slot]);
  return 0;
}

OPERATION(pivot_root) {
  const char *root, *old;
  int error = text_string(run, &args[0], &root);
  if (error == 0) error = text_string(run, &args[1], &old);
  return error != 0 ? error : ERRNO_OF(syscall(SYS_pivot_root, root, old));
}

OPERATION(chdir) {
  const char *path;
  int error = text_string(run, &args[0], &path);
  return error != 0 ? error : ERRNO_OF(chdir(path));
}
