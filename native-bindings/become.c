/* The end of the monitor that is not its end: another program goes on in its place, with its pid and its lock. */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "monitor.h"
#include "ops.h"

enum { LOCK_FD = 3 };

/* When `from` is there it becomes `to`, the rest of the list is left out, and the program comes once the clients have been told. Whoever
 * takes `from` away does so before or after, never in between. */
OPERATION(become) {
  const char *from, *to;
  int error = text_string(run, &args[0], &from);
  if (error == 0) error = text_string(run, &args[1], &to);
  if (error == 0) error = ERRNO_OF(rename(from, to));
  if (error != 0) return error;
  run->monitor->successor_words = args[2]; /* what it points to is the plan's */
  run->monitor->successor = &run->monitor->successor_words;
  run->over = true;
  return 0;
}

void monitor_become(struct monitor *monitor) {
  char **arguments;
  int keep[] = {LOCK_FD};
  if (monitor->successor == NULL || monitor->lock < 0) return;
  if (text_vector(&monitor->run, monitor->successor, &arguments) != 0 || arguments[0] == NULL) return;
  /* Without close-on-exec, wherever it is. */
  if (monitor->lock == LOCK_FD ? fcntl(LOCK_FD, F_SETFD, 0) < 0 : dup2(monitor->lock, LOCK_FD) < 0) return;
  close_all_but(keep, 1);
  reset_signals();
  execve(arguments[0], arguments, host_environment);
}
