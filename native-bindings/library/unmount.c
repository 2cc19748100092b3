/*
 * A loop that waits in read(2) runs no JavaScript when a signal comes. The handler is one system call, on whichever thread gets the
 * signal.
 */
#include "unmount.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>

static char mounted[PATH_MAX];

static void on_signal(int signal)
{
  (void)signal;
  int before = errno;
  umount2(mounted, MNT_DETACH);
  errno = before;
}

int tsbox_unmount_when_told(const char *target)
{
  size_t length = strlen(target);
  if (length >= sizeof mounted) {
    errno = ENAMETOOLONG;
    return -1;
  }
  memcpy(mounted, target, length + 1);
  const struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
  const int signals[] = {SIGTERM, SIGINT, SIGHUP};
  for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
    if (sigaction(signals[i], &action, NULL) == -1) return -1;
  }
  return 0;
}
