/* Namespaces, the process itself, and the names that a namespace has. */
#include <fcntl.h>
#include <linux/keyctl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "channel.h"
#include "format.h"
#include "ops.h"

OPERATION(unshare) {
  (void)run;
  return ERRNO_OF(unshare((int)args[0].number));
}

OPERATION(setns) {
  const char *path;
  int error = text_string(run, &args[0], &path);
  if (error != 0) return error;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return errno;
  error = ERRNO_OF(setns(fd, (int)args[1].number));
  close(fd);
  return error;
}

/* The parent of a process by /proc/PID/stat; 0 when there is none. */
static pid_t parent_of(pid_t pid) {
  char path[32], line[512];
  struct out out = out_start(path, sizeof path);
  put(&out, "/proc/");
  put_number(&out, pid);
  put(&out, "/stat");
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  ssize_t length = read(fd, line, sizeof line - 1);
  close(fd);
  line[length < 0 ? 0 : length] = 0;
  const char *end = strrchr(line, ')'); /* the name in front may hold anything */
  return end == NULL || strlen(end) < 4 ? 0 : (pid_t)strtol(end + 4, NULL, 10);
}

/* All namespaces in one call, of the process that is meant: the number may be another's by now. It is the descriptor's as long as that can be
 * signalled, so a parent that was read before was that process's parent. ESRCH otherwise. */
OPERATION(join) {
  (void)run;
  pid_t pid = (pid_t)args[0].number;
  long fd = syscall(SYS_pidfd_open, pid, 0);
  if (fd < 0) return errno;
  int error = parent_of(pid) == (pid_t)args[1].number ? 0 : ESRCH;
  if (error == 0) error = ERRNO_OF(syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0));
  if (error == 0) error = ERRNO_OF(setns((int)fd, (int)args[2].number));
  close((int)fd);
  return error;
}

/* The new process goes on with the list. It is a child of the monitor and not of this half, which has nothing more to do.
 * It tells the monitor itself, whose kernel translates the pid: so this message comes before all others of the new process. */
OPERATION(fork) {
  (void)args;
  long pid = syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0);
  if (pid < 0) return errno;
  if (pid > 0) _exit(0);
  run->pid = -1;
  return channel_tell(run, 'P');
}

OPERATION(setsid) {
  (void)run;
  (void)args;
  return ERRNO_OF(setsid());
}

OPERATION(sethostname) {
  const char *name;
  int error = text_string(run, &args[0], &name);
  return error != 0 ? error : ERRNO_OF(sethostname(name, strlen(name)));
}

OPERATION(setdomainname) {
  const char *name;
  int error = text_string(run, &args[0], &name);
  return error != 0 ? error : ERRNO_OF(setdomainname(name, strlen(name)));
}

OPERATION(link_up) {
  const char *name;
  struct ifreq request;
  int error = text_string(run, &args[0], &name);
  if (error != 0) return error;
  if (strlen(name) >= sizeof request.ifr_name) return ENAMETOOLONG;
  memset(&request, 0, sizeof request);
  memcpy(request.ifr_name, name, strlen(name));
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return errno;
  error = ERRNO_OF(ioctl(fd, SIOCGIFFLAGS, &request));
  request.ifr_flags = (short)(request.ifr_flags | IFF_UP);
  if (error == 0) error = ERRNO_OF(ioctl(fd, SIOCSIFFLAGS, &request));
  close(fd);
  return error;
}

/* Options whose value is a number. */
OPERATION(prctl) {
  (void)run;
  return ERRNO_OF(prctl((int)args[0].number, (unsigned long)args[1].number, 0, 0, 0));
}

/* An empty name makes a keyring without one. */
OPERATION(keyctl_join) {
  const char *name;
  int error = text_string(run, &args[0], &name);
  if (error != 0) return error;
  return ERRNO_OF(syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name[0] == 0 ? NULL : name));
}
