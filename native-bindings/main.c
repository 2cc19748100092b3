/* Start: options, descriptors, the plan. Then monitor.c. */
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "format.h"
#include "monitor.h"
#include "ops.h"

enum { CLIENT_FD = 4, EXIT_START = 125, PLAN_MOST = 16 << 20 };

static struct monitor monitor;
static struct plan plan;

static void say(int fd, const char *text, i64 number, const char *more) {
  char line[256];
  struct out out = out_start(line, sizeof line);
  put(&out, text);
  if (number >= 0) put_number(&out, number);
  put(&out, more);
  put(&out, "\n");
  if (write(fd, line, out_length(&out)) < 0) return;
}

/* Reads all of it, from the beginning, wherever the offset of a file is. NULL and errno when that is not possible. */
static u8 *read_plan(int fd, size_t *length) {
  struct stat status;
  if (fstat(fd, &status) < 0) return NULL;
  if (S_ISREG(status.st_mode) && lseek(fd, 0, SEEK_SET) < 0) return NULL;
  size_t capacity = S_ISREG(status.st_mode) && status.st_size < PLAN_MOST ? (size_t)status.st_size + 1 : PLAN_MOST;
  /* Pages that are not used cost nothing. */
  u8 *bytes = mmap(NULL, capacity, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (bytes == MAP_FAILED) return NULL;
  for (*length = 0; *length < capacity;) {
    ssize_t got = read(fd, bytes + *length, capacity - *length);
    if (got < 0 && errno != EINTR) return NULL;
    if (got == 0) return bytes;
    if (got > 0) *length += (size_t)got;
  }
  errno = EFBIG;
  return NULL;
}

/* 0, 1 and 2 exist, so that no descriptor opened later takes their places; nothing else of the caller's stays open. */
static bool prepare_descriptors(int plan_fd) {
  int keep[] = {plan_fd, CLIENT_FD};
  int null;
  do null = open("/dev/null", O_RDWR | O_CLOEXEC);
  while (null >= 0 && null < 3 && fcntl(null, F_SETFD, 0) == 0);
  if (null >= 3) close(null);
  close_all_but(keep, 2);
  return fcntl(plan_fd, F_SETFD, FD_CLOEXEC) == 0 && fcntl(CLIENT_FD, F_SETFD, FD_CLOEXEC) == 0;
}

static int refuse(const struct outcome *outcome) {
  report_failure(&monitor.run, outcome);
  report_exit(&monitor, EXIT_START, 0);
  if (monitor.clients[0].deaf) say(STDERR_FILENO, "tsbox-executor: ", -1, outcome->detail);
  else monitor_flush(&monitor);
  return EXIT_START;
}

static int refuse_plan(const struct plan_fault *fault) {
  struct outcome outcome = {.list = fault->list, .index = fault->index, .error = fault->error};
  _Static_assert(sizeof fault->detail <= sizeof outcome.detail, "a fault's detail fits");
  memcpy(outcome.detail, fault->detail, sizeof fault->detail);
  return refuse(&outcome);
}

static int start(int plan_fd) {
  struct plan_fault fault;
  size_t length;
  prctl(PR_SET_NAME, "tsbox-executor"); /* it may have been started by a descriptor, whose number is its name then */
  if (!prepare_descriptors(plan_fd)) {
    say(STDERR_FILENO, "tsbox-executor: descriptors ", plan_fd, " (plan) and 4 (client) must be open");
    return EXIT_START;
  }
  monitor_init(&monitor, CLIENT_FD);
  u8 *bytes = read_plan(plan_fd, &length);
  if (bytes == NULL) {
    struct outcome outcome = {.error = errno, .detail = "the plan cannot be read"};
    return refuse(&outcome);
  }
  close(plan_fd);
  if (!plan_check(&plan, bytes, length, &fault)) return refuse_plan(&fault);
  monitor_live(&monitor, &plan);
  return 0;
}

static int descriptor(const char *text) {
  int number = 0;
  for (; *text >= '0' && *text <= '9' && number < 100000; text++) number = number * 10 + (*text - '0');
  return *text == 0 && number >= 3 && number != CLIENT_FD ? number : -1;
}

/* So much later, in this process: what has nothing to do until then need not be in memory until then. */
static int become_after(const char *milliseconds, char **command) {
  struct timespec until;
  u64 wait = 0;
  for (; *milliseconds >= '0' && *milliseconds <= '9' && wait < UINT32_MAX; milliseconds++) wait = wait * 10 + (u64)(*milliseconds - '0');
  clock_gettime(CLOCK_MONOTONIC, &until);
  u64 end = (u64)until.tv_sec * 1000000000u + (u64)until.tv_nsec + wait * 1000000u;
  until.tv_sec = (time_t)(end / 1000000000u);
  until.tv_nsec = (long)(end % 1000000000u);
  give_back_program();
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR) continue;
  execve(command[0], command, environ);
  return EXIT_START;
}

int main(int argc, char **argv) {
  if (argc == 2 && strcmp(argv[1], "--version") == 0) {
    say(STDOUT_FILENO, "", PLAN_VERSION, "");
    return 0;
  }
  if (argc == 2 && strcmp(argv[1], "--ops") == 0) {
    ops_print();
    return 0;
  }
  if (argc > 3 && strcmp(argv[1], "--after") == 0) return become_after(argv[2], argv + 3);
  int plan_fd = argc == 2 ? descriptor(argv[1]) : -1;
  if (plan_fd < 0) {
    say(STDERR_FILENO, "usage: tsbox-executor --version | --ops | --after MILLISECONDS COMMAND... | descriptor of the plan", -1, "");
    return EXIT_START;
  }
  return start(plan_fd);
}
