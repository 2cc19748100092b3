/* Ends all processes of a cgroup. The kernel does that by itself with the first process of a PID namespace; of processes that share
 * their PID namespace with others it does not. */
#include <fcntl.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "ops.h"

enum { ROUNDS = 2000, PAUSE_NS = 1000 * 1000 };

/* Sends the signal to every pid of the text. A number that is cut off at the end is left for the next round. 0 is a process that
 * this PID namespace does not see. */
static void kill_listed(const char *text, ssize_t length) {
  pid_t pid = 0;
  for (ssize_t at = 0; at < length; at++) {
    if (text[at] >= '0' && text[at] <= '9') {
      pid = pid * 10 + (text[at] - '0');
      continue;
    }
    if (pid > 1 && pid != getpid()) kill(pid, SIGKILL);
    pid = 0;
  }
}

/* One round. Sets `*empty`. */
static int kill_round(const char *path, bool *empty) {
  char text[4096];
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return errno;
  ssize_t length = read(fd, text, sizeof text);
  int error = length < 0 ? errno : 0;
  close(fd);
  *empty = length == 0;
  kill_listed(text, length);
  return error;
}

OPERATION(kill_cgroup) {
  const char *path;
  int error = text_string(run, &args[0], &path);
  for (int round = 0; round < ROUNDS && error == 0; round++) {
    bool empty = false;
    error = kill_round(path, &empty);
    if (empty) return error;
    nanosleep(&(struct timespec){.tv_nsec = PAUSE_NS}, NULL);
  }
  return error != 0 ? error : EBUSY;
}
