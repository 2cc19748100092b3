/* The first process of a container that was asked for with --init: starts the command, sends every signal on to it, waits for it and for
 * whatever is orphaned, and ends as the command has ended. In the container it is /sbin/docker-init, as Docker's is.
 *
 *   docker-init -- COMMAND [ARGUMENT...]
 *
 * The first process of a PID namespace gets no signal that it has no handler for, so most programs would not hear SIGTERM there.
 * @see pid_namespaces(7) */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { EXIT_FAILED = 125, EXIT_NOT_EXECUTABLE = 126, EXIT_NOT_FOUND = 127, EXIT_SIGNAL = 128 };

static void say(const char *text) {
  if (write(STDERR_FILENO, text, strlen(text)) < 0) return;
}

/* Of its own process group, which has the terminal: what is typed there is for the command. */
static _Noreturn void become(char *const *arguments, const sigset_t *before) {
  setpgid(0, 0);
  if (isatty(STDIN_FILENO)) tcsetpgrp(STDIN_FILENO, getpgrp()); /* SIGTTOU is still blocked */
  sigprocmask(SIG_SETMASK, before, NULL);
  execvp(arguments[0], arguments);
  int error = errno;
  say("docker-init: exec ");
  say(arguments[0]);
  say(": ");
  say(strerror(error));
  say("\n");
  _exit(error == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE);
}

/* Waits for everybody who has ended. Ends when the command was among them. */
static void reap(pid_t command) {
  int status;
  pid_t pid;
  while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
    if (pid != command) continue;
    _exit(WIFSIGNALED(status) ? EXIT_SIGNAL + WTERMSIG(status) : WEXITSTATUS(status));
  }
}

int main(int argc, char **argv) {
  char **arguments = argv + (argc > 1 && strcmp(argv[1], "--") == 0 ? 2 : 1);
  sigset_t all, before;
  if (arguments[0] == NULL) {
    say("usage: docker-init -- COMMAND [ARGUMENT...]\n");
    return EXIT_FAILED;
  }
  /* Blocked, and fetched one by one. A fault of our own is not to be sent on. */
  const int own[] = {SIGFPE, SIGILL, SIGSEGV, SIGBUS, SIGABRT, SIGTRAP, SIGSYS};
  sigfillset(&all);
  for (size_t index = 0; index < sizeof own / sizeof own[0]; index++) sigdelset(&all, own[index]);
  sigprocmask(SIG_SETMASK, &all, &before);
  pid_t command = fork();
  if (command < 0) {
    say("docker-init: fork: ");
    say(strerror(errno));
    say("\n");
    return EXIT_FAILED;
  }
  if (command == 0) become(arguments, &before);
  for (;;) {
    int signal = sigwaitinfo(&all, NULL);
    if (signal == SIGCHLD) reap(command);
    else if (signal > 0 && signal != SIGTTIN && signal != SIGTTOU) kill(command, signal);
  }
}
