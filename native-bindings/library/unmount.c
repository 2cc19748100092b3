/*
 * A loop that waits in read(2) runs no JavaScript when a signal comes. The handler is one system call, or a program that makes it, on
 * whichever thread gets the signal.
 */
#include "unmount.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

static char mounted[PATH_MAX];
static char unmounter[PATH_MAX];

/* Nobody waits for it: it may ask something of the file system, which this process has to answer. */
static void run_unmounter(void)
{
  char *const argv[] = {unmounter, "-u", "-z", "-q", "--", mounted, NULL};
  char *const env[] = {NULL};
  if (fork() != 0) return;
  execve(unmounter, argv, env);
  _exit(127);
}

static void on_signal(int signal)
{
  (void)signal;
  int before = errno;
  if (unmounter[0] == '\0')
    umount2(mounted, MNT_DETACH);
  else
    run_unmounter();
  errno = before;
}

static int keep(char to[PATH_MAX], const char *path)
{
  size_t length = strlen(path);
  if (length >= PATH_MAX) {
    errno = ENAMETOOLONG;
    return -1;
  }
  memcpy(to, path, length + 1);
  return 0;
}

int tsbox_unmount_when_told(const char *target, const char *helper)
{
  if (keep(mounted, target) == -1 || keep(unmounter, helper == NULL ? "" : helper) == -1) return -1;
  const struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
  const int signals[] = {SIGTERM, SIGINT, SIGHUP};
  for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
    if (sigaction(signals[i], &action, NULL) == -1) return -1;
  }
  return 0;
}
