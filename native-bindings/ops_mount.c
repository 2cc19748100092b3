/* Mounts, old and new interface, and where the root is. */
#include <fcntl.h>
#include <limits.h>
#include <linux/mount.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "ops.h"
#include "walk.h"

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

static bool is_directory(int fd) {
  struct stat status;
  return fstat(fd, &status) == 0 && S_ISDIR(status.st_mode);
}

static void empty_slot(int *slot) {
  if (*slot != 0) close(*slot - 1);
  *slot = 0;
}

static int fill_slot(struct run *run, i64 slot, int directory, const char *path, unsigned flags) {
  if (slot < 0 || slot >= SLOTS) return EINVAL;
  long fd = syscall(SYS_open_tree, directory, path, flags | OPEN_TREE_CLOEXEC);
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

OPERATION(open_tree) {
  const char *path;
  int error = text_string(run, &args[1], &path);
  return error != 0 ? error : fill_slot(run, args[0].number, AT_FDCWD, path, (unsigned)args[2].number);
}

/* What was looked at is what is taken: a name may be given to something else in between. ENODEV: it is something else already. */
OPERATION(open_device) {
  const char *path;
  struct stat status;
  int error = text_string(run, &args[1], &path);
  if (error != 0) return error;
  int fd = walk_open(AT_FDCWD, path, O_PATH | O_NOFOLLOW, 0, 0);
  if (fd < 0) return errno;
  dev_t device = makedev((unsigned)args[2].number, (unsigned)args[3].number);
  error = ERRNO_OF(fstat(fd, &status));
  if (error == 0 && (!S_ISCHR(status.st_mode) || status.st_rdev != device)) error = ENODEV;
  if (error == 0) error = fill_slot(run, args[0].number, fd, "", OPEN_TREE_CLONE | AT_EMPTY_PATH);
  close(fd);
  return error;
}

/* While nobody can reach it: no path leads to a detached mount, so none can lead elsewhere. */
OPERATION(tree_setattr) {
  i64 slot = args[0].number;
  struct mount_attr attr = {
      .attr_set = (u64)args[2].number,
      .attr_clr = (u64)args[3].number,
      .propagation = (u64)args[4].number,
  };
  if (slot < 0 || slot >= SLOTS || run->slots[slot] == 0) return EBADF;
  unsigned flags = (unsigned)args[1].number | AT_EMPTY_PATH;
  return ERRNO_OF(syscall(SYS_mount_setattr, run->slots[slot] - 1, "", flags, &attr, sizeof attr));
}

OPERATION(move_mount) {
  const char *target;
  int error = text_string(run, &args[1], &target);
  i64 slot = args[0].number;
  if (error != 0) return error;
  if (slot < 0 || slot >= SLOTS || run->slots[slot] == 0) return EBADF;
  unsigned flags = (unsigned)args[2].number;
  int tree = run->slots[slot] - 1;
  int place = walk_open(AT_FDCWD, target, O_PATH | ((flags & MOVE_MOUNT_T_SYMLINKS) != 0 ? 0 : O_NOFOLLOW), 0, 0);
  if (place < 0) return errno;
  flags = (flags & ~(unsigned)MOVE_MOUNT_T_SYMLINKS) | MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH;
  error = ERRNO_OF(syscall(SYS_move_mount, tree, "", place, "", flags));
  /* As mount(2) says it. */
  if (error == EINVAL && is_directory(tree) != is_directory(place)) error = ENOTDIR;
  close(place);
  if (error == 0) empty_slot(&run->slots[slot]);
  return error;
}

OPERATION(pivot_root) {
  const char *root, *old;
  int error = text_string(run, &args[0], &root);
  if (error == 0) error = text_string(run, &args[1], &old);
  return error != 0 ? error : ERRNO_OF(syscall(SYS_pivot_root, root, old));
}

OPERATION(chdir) {
  const char *path;
  char here[PATH_MAX];
  int error = text_string(run, &args[0], &path);
  if (error != 0) return error;
  int fd = walk_open(AT_FDCWD, path, O_PATH | O_DIRECTORY, 0, 0);
  if (fd < 0) return errno;
  error = ERRNO_OF(fchdir(fd));
  close(fd);
  if (error != 0) return error;
  /* ENOENT, too, when it does not lie below the root. One that is only too deep for a buffer was walked to all the same. */
  return syscall(SYS_getcwd, here, sizeof here) < 0 ? (errno == ERANGE || errno == ENAMETOOLONG ? 0 : errno) : here[0] == '/' ? 0 : ENOENT;
}
