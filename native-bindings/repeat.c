/* A program that the monitor starts again and again while its container runs: what a list of steps cannot do, and a monitor should not. */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "monitor.h"
#include "ops.h"

enum { NS_PER_MS = 1000000 };

/* Every so many milliseconds, which are counted from the end of the last one. */
OPERATION(repeat) {
  struct monitor *monitor = run->monitor;
  if (args[0].number <= 0 || args[0].number > INT32_MAX) return EINVAL;
  monitor->repeat_words = args[1]; /* what it points to is the plan's */
  monitor->repeat_every = (u64)args[0].number * NS_PER_MS;
  monitor->repeat_at = now_ns() + monitor->repeat_every;
  return 0;
}

static bool waits(const struct monitor *monitor) {
  return monitor->repeat_every != 0 && monitor->repeat_pid == 0 && monitor->started && !monitor->reaped;
}

int repeat_wait(const struct monitor *monitor) {
  if (!waits(monitor)) return -1;
  u64 now = now_ns();
  return now >= monitor->repeat_at ? 0 : (int)((monitor->repeat_at - now) / NS_PER_MS) + 1;
}

static _Noreturn void become_program(struct monitor *monitor) {
  char **arguments;
  if (text_vector(&monitor->run, &monitor->repeat_words, &arguments) != 0 || arguments[0] == NULL) _exit(127);
  close_all_but(NULL, 0);
  reset_signals();
  execve(arguments[0], arguments, host_environment);
  _exit(127);
}

void repeat_start(struct monitor *monitor) {
  if (!waits(monitor) || now_ns() < monitor->repeat_at) return;
  pid_t pid = fork();
  if (pid == 0) become_program(monitor);
  if (pid > 0) monitor->repeat_pid = pid;
  else repeat_ended(monitor);
}

void repeat_ended(struct monitor *monitor) {
  monitor->repeat_pid = 0;
  monitor->repeat_at = now_ns() + monitor->repeat_every;
}

void repeat_stop(struct monitor *monitor) {
  if (monitor->repeat_pid <= 0) return;
  kill(monitor->repeat_pid, SIGKILL);
  waitpid(monitor->repeat_pid, NULL, 0);
  monitor->repeat_pid = 0;
}
