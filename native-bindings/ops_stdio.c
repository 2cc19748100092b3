/* Standard streams as the new process sees them. */
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "channel.h"
#include "ops.h"
#include "walk.h"

#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC (1U << 2)
#endif
#ifndef TIOCGPTPEER
#define TIOCGPTPEER _IO('T', 0x41)
#endif

static int become_terminal(int slave, i64 rows, i64 columns) {
  struct winsize size = {.ws_row = (u16)rows, .ws_col = (u16)columns};
  if (rows != 0 && columns != 0 && ioctl(slave, TIOCSWINSZ, &size) < 0) return errno;
  if (ioctl(slave, TIOCSCTTY, 0) < 0) return errno;
  for (int fd = 0; fd < 3; fd++)
    if (dup2(slave, fd) < 0) return errno;
  return 0;
}

/* A container that was entered may have put anything there. */
static int check_master(int fd) {
  struct statfs system;
  struct stat status;
  if (fstatfs(fd, &system) < 0 || fstat(fd, &status) < 0) return errno;
  return system.f_type == DEVPTS_SUPER_MAGIC && S_ISCHR(status.st_mode) && status.st_rdev == makedev(5, 2) ? 0 : ENODEV;
}

/* The peer comes by ioctl: a path to it may lead elsewhere in this mount namespace. The master is the monitor's. */
OPERATION(pty) {
  const char *path;
  int error = text_string(run, &args[0], &path);
  if (error != 0) return error;
  int master = walk_open(AT_FDCWD, path, O_RDWR | O_NOCTTY | O_NONBLOCK, 0, 0);
  if (master < 0) return errno;
  error = check_master(master);
  if (error == 0) error = ERRNO_OF(ioctl(master, TIOCSPTLCK, &(int){0}));
  int slave = error == 0 ? ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC) : -1;
  if (error == 0) error = ERRNO_OF(slave);
  if (error == 0) error = become_terminal(slave, args[1].number, args[2].number);
  if (error == 0) error = channel_send_fd(run, master);
  if (slave >= 0) close(slave);
  close(master);
  return error;
}

static bool is_null(const struct stat *status) {
  return S_ISCHR(status->st_mode) && status->st_rdev == makedev(1, 3);
}

/* So that the container's user can open /dev/stdout again. What may not or cannot be given away stays as it is. */
OPERATION(chown_stdio) {
  (void)run;
  uid_t uid = (uid_t)args[0].number;
  for (int fd = 0; fd < 3; fd++) {
    struct stat status;
    if (fstat(fd, &status) < 0) return errno;
    if (status.st_uid == uid || is_null(&status)) continue;
    if (fchown(fd, uid, (gid_t)-1) < 0 && errno != EINVAL && errno != EPERM && errno != EROFS) return errno;
  }
  return 0;
}

OPERATION(close_fds) {
  (void)run;
  return ERRNO_OF(syscall(SYS_close_range, (unsigned)args[0].number, ~0U, CLOSE_RANGE_CLOEXEC));
}
