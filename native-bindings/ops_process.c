/* Namespaces, the process itself, and the names that a namespace has. */
#include <fcntl.h>
#include <linux/keyctl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "channel.h"
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
