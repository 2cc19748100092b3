/* The container's standard streams and its first process. */
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "monitor.h"
#include "ops.h"

static int by_number(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }

void close_all_but(int *keep, size_t count) {
  unsigned from = 3;
  if (count > 0) qsort(keep, count, sizeof *keep, by_number);
  for (size_t index = 0; index < count; index++) {
    unsigned fd = (unsigned)keep[index];
    if (keep[index] < 3) continue;
    if (fd > from) syscall(SYS_close_range, from, fd - 1, 0);
    from = fd + 1;
  }
  syscall(SYS_close_range, from, ~0U, 0);
}

void forget_stdio(void) {
  int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  if (null < 0) return;
  for (int fd = 0; fd < 3; fd++) dup2(null, fd);
  close(null);
}

/* The end that the container gets is first for input and last for output; the other one is the monitor's. */
static int pipe_for(int *container_end, int *own_end, bool input) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) < 0) return errno;
  *container_end = ends[input ? 0 : 1];
  *own_end = ends[input ? 1 : 0];
  return ERRNO_OF(fcntl(*own_end, F_SETFL, O_NONBLOCK));
}

OPERATION(stdio) {
  struct monitor *monitor = run->monitor;
  i64 mode = args[0].number;
  int error = 0;
  if (mode < STDIN_NULL || mode > STDIN_ONCE) return EINVAL;
  if (monitor->run.pid != 0 || monitor->streams[0].fd >= 0) return EBUSY;
  if (mode == STDIN_NULL) {
    monitor->child_stdio[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (monitor->child_stdio[0] < 0) return errno;
  } else {
    error = pipe_for(&monitor->child_stdio[0], &monitor->input.fd, true);
  }
  monitor->input.known = true;
  monitor->input.mode = (enum stdin_mode)mode;
  for (int stream = 0; stream < STREAMS && error == 0; stream++)
    error = pipe_for(&monitor->child_stdio[stream + 1], &monitor->streams[stream].fd, false);
  return error;
}

static void close_child_stdio(struct monitor *monitor) {
  for (int fd = 0; fd < 3; fd++) {
    if (monitor->child_stdio[fd] >= 0) close(monitor->child_stdio[fd]);
    monitor->child_stdio[fd] = -1;
  }
}

/* The new process holds nothing of the monitor's: no client, no log, above all no lock. Detached mounts go along. */
static _Noreturn void become_child(struct monitor *monitor, int channel, u32 list) {
  struct run *run = &monitor->run;
  int keep[SLOTS + 1] = {channel};
  size_t count = 1;
  for (int fd = 0; fd < 3; fd++)
    if (monitor->child_stdio[fd] >= 0 && dup2(monitor->child_stdio[fd], fd) < 0) _exit(125);
  for (int slot = 0; slot < SLOTS; slot++)
    if (run->slots[slot] != 0) keep[count++] = run->slots[slot] - 1;
  close_all_but(keep, count);
  run->monitor = NULL;
  run->channel = channel;
  run->pid = getpid();
  child_main(run, list);
}

/* What follows in the list may rely on it: the pid is the final one, and the command runs or waits to be released. */
static int await_exec(struct monitor *monitor) {
  struct run *run = &monitor->run;
  struct outcome own = run->outcome; /* lists under `outside` are run meanwhile */
  u16 op = run->op;
  while (!monitor->started && !monitor->waiting && !monitor->failed) monitor_turn(monitor);
  run->outcome = own;
  run->op = op;
  return monitor->failed ? ECANCELED : 0;
}

OPERATION(birth_cgroup) {
  struct monitor *monitor = run->monitor;
  const char *path;
  int error = text_string(run, &args[0], &path);
  if (error != 0) return error;
  if (run->pid != 0 || monitor->birth_cgroup >= 0) return EBUSY;
  monitor->birth_cgroup = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
  return monitor->birth_cgroup < 0 ? errno : 0;
}

/* A process that is born in its cgroup needs no move, for which the kernel would stop every fork and exit of the machine. */
static pid_t new_process(struct monitor *monitor) {
  struct clone_args how = {.exit_signal = SIGCHLD};
  if (monitor->birth_cgroup < 0) return fork();
  how.flags = CLONE_INTO_CGROUP;
  how.cgroup = (__u64)monitor->birth_cgroup;
  pid_t pid = (pid_t)syscall(SYS_clone3, &how, sizeof how);
  if (pid != 0) {
    int error = errno;
    close(monitor->birth_cgroup);
    errno = error;
    monitor->birth_cgroup = -1;
  }
  return pid;
}

OPERATION(spawn) {
  struct monitor *monitor = run->monitor;
  int ends[2];
  if (run->pid != 0) return EBUSY;
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) return errno;
  /* Each message then says which process sent it, with the pid that the monitor knows it by. */
  int error = ERRNO_OF(setsockopt(ends[0], SOL_SOCKET, SO_PASSCRED, &(int){1}, sizeof(int)));
  pid_t pid = error == 0 ? new_process(monitor) : -1;
  if (pid == 0) become_child(monitor, ends[1], (u32)args[0].number);
  if (error == 0) error = ERRNO_OF(pid);
  close(ends[1]);
  if (error != 0) {
    close(ends[0]);
    return error;
  }
  run->pid = pid;
  monitor->channel = ends[0];
  close_child_stdio(monitor);
  forget_stdio();
  return await_exec(monitor);
}
