/* A program of the host that does what only it may: it is started, waited for, and has to end well. */
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "format.h"
#include "ops.h"

char *const host_environment[] = {(char *)(uintptr_t) "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", NULL};

/* The first line of what it said, for the report. */
static void listen_to(struct run *run, int fd) {
  char *detail = run->outcome.detail;
  size_t length = 0;
  char rest[256];
  for (;;) {
    bool room = length < DETAIL_SIZE - 1;
    ssize_t got = room ? read(fd, detail + length, DETAIL_SIZE - 1 - length) : read(fd, rest, sizeof rest);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    if (room) length += (size_t)got;
  }
  detail[length] = 0;
  detail[strcspn(detail, "\n")] = 0;
}

static _Noreturn void become(char *const *arguments, int said) {
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  dup2(said, STDOUT_FILENO);
  dup2(said, STDERR_FILENO);
  execvpe(arguments[0], arguments, host_environment);
  _exit(127);
}

/* ENOENT when it is not there, EPERM when it does not end with 0: what it says is the detail. */
int run_program(struct run *run, char *const *arguments) {
  int ends[2], status = 0, error = 0;
  if (pipe2(ends, O_CLOEXEC) < 0) return errno;
  pid_t pid = fork();
  if (pid == 0) become(arguments, ends[1]);
  error = ERRNO_OF(pid);
  close(ends[1]);
  if (error == 0) listen_to(run, ends[0]);
  close(ends[0]);
  if (error != 0) return error;
  while (waitpid(pid, &status, 0) < 0)
    if (errno != EINTR) return errno;
  if (WIFEXITED(status) && WEXITSTATUS(status) == 127) return ENOENT;
  if (status != 0) return EPERM;
  run->outcome.detail[0] = 0;
  return 0;
}

OPERATION(run) {
  char **arguments;
  int error = text_vector(run, &args[0], &arguments);
  if (error != 0) return error;
  return arguments[0] == NULL ? EINVAL : run_program(run, arguments);
}
