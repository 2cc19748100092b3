/* Files: one system call each. What makes or writes a file follows no magic link on its way (walk.h). */
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "ops.h"
#include "walk.h"

/* Two texts, as most calls with two paths need them. */
static int two_strings(struct run *run, const struct arg *args, const char **first, const char **second) {
  int error = text_string(run, &args[0], first);
  return error != 0 ? error : text_string(run, &args[1], second);
}

OPERATION(mkdir) {
  const char *path;
  const char *name;
  int error = text_string(run, &args[0], &path);
  if (error != 0) return error;
  int parent = walk_parent(path, &name);
  if (parent == -1) return errno;
  error = ERRNO_OF(mkdirat(parent, name, (mode_t)args[1].number));
  walk_close(parent);
  return error;
}

/* One write(2) for the whole text, as files in /proc want it; more only when the kernel took a part. Closes `fd`. */
static int write_all(int fd, const char *data, size_t length) {
  int error = 0;
  while (length > 0 && error == 0) {
    ssize_t written = write(fd, data, length);
    if (written < 0) {
      error = errno == EINTR ? 0 : errno;
      continue;
    }
    data += written;
    length -= (size_t)written;
  }
  int close_error = ERRNO_OF(close(fd)); /* file systems may refuse only here: EDQUOT, EIO */
  return error != 0 ? error : close_error;
}

enum { SMALL = 4096 };

/* What a small file says, as the kernel's own files are: it must fit into one read(2). A plain path is safe: it leads into a cgroup, which
 * has no links, and nobody in a container has a say in it. */
static int read_small(const char *path, char data[SMALL], size_t *length) {
  int in = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
  if (in < 0) return errno;
  ssize_t got = read(in, data, SMALL);
  int error = got < 0 ? errno : got == SMALL ? EFBIG : 0;
  close(in);
  *length = got < 0 ? 0 : (size_t)got;
  return error;
}

/* To the container's directory below the data root, which is safe as above. */
OPERATION(copy) {
  const char *from, *to;
  char data[SMALL];
  size_t length;
  int error = two_strings(run, args, &from, &to);
  if (error == 0) error = read_small(from, data, &length);
  if (error != 0) return error;
  int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0644);
  if (out < 0) return errno;
  ssize_t written = write(out, data, length);
  error = written < 0 ? errno : (size_t)written == length ? 0 : ENOSPC;
  int close_error = ERRNO_OF(close(out));
  return error != 0 ? error : close_error;
}

/* Is a line `name N`, N above 0? `text` ends with a null byte. */
static bool is_counted(const char *text, const char *name) {
  size_t length = strlen(name);
  for (const char *line = text; line != NULL && *line != 0;) {
    if (strncmp(line, name, length) == 0 && line[length] == ' ') {
      const char *digits = line + length + 1;
      digits += strspn(digits, "0");
      if (*digits >= '1' && *digits <= '9') return true;
    }
    line = strchr(line, '\n');
    if (line != NULL) line++;
  }
  return false;
}

OPERATION(write_counted) {
  const char *from, *name;
  char data[SMALL + 1];
  size_t length = 0;
  int error = two_strings(run, args, &from, &name);
  if (error == 0) error = read_small(from, data, &length);
  if (error != 0) return error;
  data[length] = 0;
  return is_counted(data, name) ? op_write(run, args + 2) : 0;
}

OPERATION(write) {
  const char *path, *data;
  size_t length;
  int error = text_string(run, &args[0], &path);
  if (error == 0) error = text_bytes(run, &args[1], &data, &length);
  if (error != 0) return error;
  int flags = (int)args[2].number;
  /* To write nothing, a file need only be there: an overlay copies all of one that is opened for writing. */
  if ((flags & O_ACCMODE) == 0 && (length > 0 || (flags & O_TRUNC) != 0)) flags |= O_WRONLY;
  int fd = walk_open(AT_FDCWD, path, flags | O_NOCTTY, (mode_t)args[3].number, 0);
  return fd < 0 ? errno : write_all(fd, data, length);
}

/* The root of a real procfs, -1 and errno otherwise: EXDEV where something else stands at /proc. */
static int open_proc(void) {
  enum { ROOT_INODE = 1 };
  struct statfs system;
  struct stat status;
  int proc = walk_open(AT_FDCWD, "/proc", O_PATH | O_DIRECTORY, 0, RESOLVE_NO_SYMLINKS);
  if (proc < 0) return -1;
  if (fstatfs(proc, &system) == 0 && fstat(proc, &status) == 0) {
    if (system.f_type == PROC_SUPER_MAGIC && status.st_ino == ROOT_INODE) return proc;
    errno = EXDEV;
  }
  int error = errno;
  close(proc);
  errno = error;
  return -1;
}

/* Nothing that was mounted or linked in between gets what is meant for the kernel: EXDEV. */
OPERATION(write_proc) {
  const char *path, *data;
  size_t length;
  int error = text_string(run, &args[0], &path);
  if (error == 0) error = text_bytes(run, &args[1], &data, &length);
  if (error != 0) return error;
  int proc = open_proc();
  if (proc < 0) return errno;
  int fd = walk_open(proc, path, O_WRONLY | O_NOCTTY, 0, RESOLVE_BENEATH | RESOLVE_NO_XDEV);
  error = errno;
  close(proc);
  return fd < 0 ? error : write_all(fd, data, length);
}

OPERATION(symlink) {
  const char *target, *path;
  int error = two_strings(run, args, &target, &path);
  return error != 0 ? error : ERRNO_OF(symlink(target, path));
}

OPERATION(mknod) {
  const char *path;
  int error = text_string(run, &args[0], &path);
  dev_t device = makedev((unsigned)args[2].number, (unsigned)args[3].number);
  return error != 0 ? error : ERRNO_OF(mknod(path, (mode_t)args[1].number, device));
}

OPERATION(chmod) {
  const char *path;
  int error = text_string(run, &args[0], &path);
  return error != 0 ? error : ERRNO_OF(chmod(path, (mode_t)args[1].number));
}

OPERATION(chown) {
  const char *path;
  int error = text_string(run, &args[0], &path);
  return error != 0 ? error : ERRNO_OF(chown(path, (uid_t)args[1].number, (gid_t)args[2].number));
}

OPERATION(unlink) {
  const char *path;
  int error = text_string(run, &args[0], &path);
  return error != 0 ? error : ERRNO_OF(unlink(path));
}

OPERATION(rmdir) {
  const char *path;
  int error = text_string(run, &args[0], &path);
  return error != 0 ? error : ERRNO_OF(rmdir(path));
}

OPERATION(rename) {
  const char *from, *to;
  int error = two_strings(run, args, &from, &to);
  return error != 0 ? error : ERRNO_OF(rename(from, to));
}
