/* Keeps a program running for as long as a process lives: the one that carries the network of a container that an ordinary user runs, or
 * the one that serves its files.
 *
 *   tsbox-keeper PID LOCK [--ask SOCKET TEXT]... -- PROGRAM [ARGUMENT...]
 *   tsbox-keeper --wait LOCK
 *
 * The first comes back when the program is ready, which it says by writing to its standard input or to descriptor 3; then it has been
 * asked each TEXT over its Unix socket, and has not answered with an error. Otherwise what it said last is printed, and the exit code is 1.
 * From then on a process in the background, which holds LOCK, kills it when PID ends. It ends with this one too, whatever happens: the
 * kernel kills it, and descriptor 4 hangs up. --wait comes back when nobody holds LOCK, or after five seconds with 1.
 * @see pidfd_open(2), PR_SET_PDEATHSIG(2const), flock(2) */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { READY_MS = 30000, WAIT_SECONDS = 5, SAID = 4096, SHOWN = 200, LOCK_TRIES = 100, LOCK_NAP_NS = 5000000 };

static void say(const char *text) {
  if (write(STDOUT_FILENO, text, strlen(text)) < 0) return;
}

static _Noreturn void fail(const char *what) {
  int error = errno;
  say(what);
  say(": ");
  say(strerror(error));
  say("\n");
  _exit(1);
}

static int open_lock(const char *path) {
  int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY, 0600);
  if (fd < 0) fail("open the lock");
  return fd;
}

/* Who looks whether it is held holds it for a moment himself. */
static int take(int lock) {
  for (int tries = 0; flock(lock, LOCK_EX | LOCK_NB) < 0; tries++) {
    if (errno != EWOULDBLOCK || tries == LOCK_TRIES) return -1;
    nanosleep(&(struct timespec){.tv_nsec = LOCK_NAP_NS}, NULL);
  }
  return 0;
}

static int wait_for(const char *path) {
  int fd = open(path, O_RDWR | O_CLOEXEC | O_NOCTTY);
  if (fd < 0) return errno == ENOENT ? 0 : 1;
  alarm(WAIT_SECONDS);
  return flock(fd, LOCK_EX) == 0 ? 0 : 1;
}

/* Of what the program said, the end is kept. */
struct said {
  char text[SAID];
  size_t length;
};

/* false: nothing more will come. */
static bool listen_to(struct said *said, int fd) {
  if (said->length > SAID / 2) {
    size_t half = said->length / 2;
    memmove(said->text, said->text + half, said->length - half);
    said->length -= half;
  }
  ssize_t got = read(fd, said->text + said->length, SAID - 1 - said->length);
  if (got > 0) said->length += (size_t)got;
  return got > 0 || (got < 0 && (errno == EINTR || errno == EAGAIN));
}

/* As one line: the last ones say why, the first ones where it came to. */
static void repeat(struct said *said) {
  while (said->length > 0 && said->text[said->length - 1] == '\n') said->length--;
  said->text[said->length] = 0;
  for (char *at = said->text; (at = strchr(at, '\n')) != NULL;) *at = ';';
  say(said->length == 0 ? "it ended without a word" : said->length > SHOWN ? said->text + said->length - SHOWN : said->text);
  say("\n");
}

static _Noreturn void become(char *const *arguments, pid_t keeper, int ready, int hangup, int said) {
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  /* The monitor ignores some, and pasta takes that for an error. */
  for (int number = 1; number < NSIG; number++) signal(number, SIG_DFL);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != keeper) _exit(1);
  /* Above those that they become. */
  int high[] = {fcntl(ready, F_DUPFD_CLOEXEC, 10), fcntl(hangup, F_DUPFD_CLOEXEC, 10), fcntl(said, F_DUPFD_CLOEXEC, 10),
                open("/dev/null", O_WRONLY | O_CLOEXEC)};
  dup2(high[0], 0);
  dup2(high[3], 1); /* errors go to the other one */
  dup2(high[2], 2);
  dup2(high[0], 3);
  dup2(high[1], 4);
  execvp(arguments[0], arguments);
  dprintf(2, "execute %s: %s\n", arguments[0], strerror(errno));
  _exit(127);
}

/* An answer without "return" is an error of slirp4netns, with its reason in "desc". */
static bool ask(const char *path, const char *text, char *answer, size_t size) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  size_t length = 0;
  snprintf(answer, size, "ask %s: no answer", path);
  if (fd < 0 || strlen(path) >= sizeof address.sun_path) return false;
  strcpy(address.sun_path, path);
  if (connect(fd, (const struct sockaddr *)&address, sizeof address) == 0 && send(fd, text, strlen(text), MSG_NOSIGNAL) > 0) {
    shutdown(fd, SHUT_WR);
    ssize_t got;
    while (length < size - 1 && (got = read(fd, answer + length, size - 1 - length)) > 0) length += (size_t)got;
    if (length > 0) answer[length] = 0;
  }
  close(fd);
  return length > 0 && strstr(answer, "\"return\"") != NULL;
}

/* Waits for the first byte. false: it has ended, or has not said so in time. */
static bool is_ready(int ready, int child, int output, struct said *said) {
  struct pollfd fds[] = {{.fd = ready, .events = POLLIN}, {.fd = output, .events = POLLIN}, {.fd = child, .events = POLLIN}};
  for (;;) {
    int count = poll(fds, 3, READY_MS);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    if (fds[1].revents != 0 && !listen_to(said, output)) fds[1].fd = -1;
    if (fds[0].revents & POLLIN) return true;
    /* It has ended, and all that it said is read. */
    if (fds[2].revents != 0 && fds[1].revents == 0) return false;
  }
}

static int open_pid(pid_t pid) {
  return (int)syscall(SYS_pidfd_open, pid, 0);
}

/* Until one of the two ends. What the program says is let go. */
static void keep(int owner, int child, int output) {
  struct pollfd fds[] = {{.fd = owner, .events = POLLIN}, {.fd = child, .events = POLLIN}, {.fd = output, .events = POLLIN}};
  char rest[512];
  for (;;) {
    if (poll(fds, 3, -1) < 0 && errno != EINTR) return;
    if (fds[0].revents != 0 || fds[1].revents != 0) return;
    if (fds[2].revents != 0 && read(output, rest, sizeof rest) <= 0) fds[2].fd = -1;
  }
}

static _Noreturn void serve(int owner, char **arguments, char **asks) {
  int ready[2], hangup[2], output[2];
  struct said said = {.length = 0};
  char answer[1024];
  setsid();
  if (chdir("/") < 0 || pipe2(ready, O_CLOEXEC) < 0 || pipe2(hangup, O_CLOEXEC) < 0 || pipe2(output, O_CLOEXEC) < 0) fail("make pipes");
  pid_t self = getpid(), pid = fork();
  if (pid < 0) fail("start the program");
  if (pid == 0) become(arguments, self, ready[1], hangup[0], output[1]);
  close(ready[1]);
  close(hangup[0]);
  close(output[1]);
  int child = open_pid(pid);
  bool works = child >= 0 && is_ready(ready[0], child, output[0], &said);
  if (!works) repeat(&said);
  for (; works && *asks != NULL && strcmp(asks[0], "--ask") == 0; asks += 3) {
    works = ask(asks[1], asks[2], answer, sizeof answer);
    if (works) continue;
    say(answer);
    say("\n");
  }
  if (works) {
    say("\n"); /* to the one in front: it may go */
    int null = open("/dev/null", O_RDWR);
    for (int fd = 0; fd < 3; fd++) dup2(null, fd);
    if (null > 2) close(null);
    keep(owner, child, output[0]);
  }
  kill(pid, SIGKILL);
  waitpid(pid, NULL, 0);
  _exit(works ? 0 : 1);
}

/* The one in front: passes on what the other says. An empty line is the word that all is well. */
static int wait_until_ready(int fd) {
  char text[1024];
  size_t length = 0;
  ssize_t got;
  while (length < sizeof text && ((got = read(fd, text + length, sizeof text - length)) > 0 || (got < 0 && errno == EINTR)))
    if (got > 0) length += (size_t)got;
  if (length == 1 && text[0] == '\n') return 0;
  if (write(STDOUT_FILENO, text, length) < 0) return 1;
  return 1;
}

int main(int argc, char **argv) {
  if (argc == 3 && strcmp(argv[1], "--wait") == 0) return wait_for(argv[2]);
  char **after = argv + 3;
  while (argc > 3 && *after != NULL && strcmp(*after, "--ask") == 0 && after[1] != NULL && after[2] != NULL) after += 3;
  if (argc < 5 || *after == NULL || strcmp(*after, "--") != 0 || after[1] == NULL) {
    say("usage: tsbox-keeper PID LOCK [--ask SOCKET TEXT]... -- PROGRAM [ARGUMENT...]\n");
    return 1;
  }
  int owner = open_pid((pid_t)strtol(argv[1], NULL, 10)), lock = open_lock(argv[2]), ends[2];
  if (owner < 0) fail("find the process of the container");
  if (take(lock) < 0) fail("take the lock");
  if (pipe2(ends, O_CLOEXEC) < 0) fail("make a pipe");
  pid_t pid = fork();
  if (pid < 0) fail("go to the background");
  if (pid == 0) {
    dup2(ends[1], STDOUT_FILENO);
    dup2(ends[1], STDERR_FILENO);
    close(ends[0]);
    close(ends[1]);
    serve(owner, after + 1, argv + 3);
  }
  close(ends[1]);
  return wait_until_ready(ends[0]);
}
