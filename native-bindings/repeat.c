/* A program that the monitor starts again and again while its container runs: what a list of steps cannot do, and a monitor should not. */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "monitor.h"
#include "ops.h"

enum { NS_PER_MS = 1000000 };

static u64 interval(const struct monitor *monitor, u64 now) {
  return monitor->repeat_early != 0 && now < monitor->repeat_until ? monitor->repeat_early : monitor->repeat_every;
}

static bool is_time(i64 milliseconds) { return milliseconds >= 0 && milliseconds <= INT32_MAX; }

/* Every so many milliseconds, which are counted from the end of the last one; at first others, until it has ended with 0. */
OPERATION(repeat) {
  struct monitor *monitor = run->monitor;
  u64 now = now_ns();
  if (args[0].number == 0) return EINVAL;
  for (int time = 0; time < 3; time++)
    if (!is_time(args[time].number)) return EINVAL;
  monitor->repeat_words = args[3]; /* what it points to is the plan's */
  monitor->repeat_every = (u64)args[0].number * NS_PER_MS;
  monitor->repeat_early = (u64)args[1].number * NS_PER_MS;
  monitor->repeat_until = now + (u64)args[2].number * NS_PER_MS;
  monitor->repeat_at = now + interval(monitor, now);
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
  else repeat_ended(monitor, -1);
}

void repeat_ended(struct monitor *monitor, int status) {
  u64 now = now_ns();
  monitor->repeat_pid = 0;
  if (status == 0) monitor->repeat_early = 0;
  monitor->repeat_at = now + interval(monitor, now);
}

void repeat_stop(struct monitor *monitor) {
  if (monitor->repeat_pid <= 0) return;
  kill(monitor->repeat_pid, SIGKILL);
  waitpid(monitor->repeat_pid, NULL, 0);
  monitor->repeat_pid = 0;
}
