/* The last step: the program takes the place of the executor. */
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "channel.h"
#include "ops.h"

static const char default_path[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/* A raw call: the C library keeps
 * two signals to itself, and its posix_spawn(3), which may have started us, leaves them ignored. */
void reset_signals(void) {
  const u64 action[8] = {0}; /* SIG_DFL, and more than the kernel's structure needs */
  sigset_t none;
  for (int number = 1; number < NSIG; number++) syscall(SYS_rt_sigaction, number, action, NULL, sizeof(u64));
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
}

static const char *search_path(char *const *env) {
  for (; *env != NULL; env++)
    if (strncmp(*env, "PATH=", 5) == 0) return *env + 5;
  return default_path;
}

/* A directory that has no such file, or cannot be looked into, is passed over. */
static bool passed_over(int error) {
  return error == ENOENT || error == ENOTDIR || error == ESTALE || error == ENODEV || error == ETIMEDOUT;
}

/* As execvp(3), but a file without a known format is not given to a shell. */
static int exec_in_path(struct run *run, const char *path, char *const *arguments, char *const *env) {
  const char *name = arguments[0];
  size_t room = strlen(path) + strlen(name) + 2;
  char *candidate = scratch(run, room);
  bool refused = false;
  if (candidate == NULL) return ENOMEM;
  for (;;) {
    size_t length = strcspn(path, ":");
    memcpy(candidate, path, length);
    if (length > 0) candidate[length++] = '/'; /* an empty element is the working directory */
    strcpy(candidate + length, name);
    execve(candidate, arguments, env);
    if (errno == EACCES) refused = true;
    else if (!passed_over(errno)) return errno;
    path += strcspn(path, ":");
    if (*path++ == 0) return refused ? EACCES : ENOENT;
  }
}

OPERATION(exec) {
  char **arguments, **env;
  int error = text_vector(run, &args[0], &arguments);
  if (error == 0) error = text_vector(run, &args[1], &env);
  if (error != 0) return error;
  if (arguments[0] == NULL) return EINVAL;
  if (arguments[0][0] == 0) return ENOENT;
  error = channel_tell(run, 'X');
  if (error != 0) return error;
  reset_signals();
  if (strchr(arguments[0], '/') == NULL) return exec_in_path(run, search_path(env), arguments, env);
  execve(arguments[0], arguments, env);
  return errno;
}
