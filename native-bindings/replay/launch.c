/* The executor's start, as src/runtime/launch.ts does it. */
#include <fcntl.h>
#include <linux/mount.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../format.h"
#include "replay.h"

#ifndef AT_EMPTY_PATH
#define AT_EMPTY_PATH 0x1000
#endif
#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif
#ifndef OPEN_TREE_CLONE
#define OPEN_TREE_CLONE 1
#endif

enum { JOURNAL_FULL = 4 << 20, HIGH = 10 };

/* Under a number that the executor uses for nothing. */
static int high(int fd) {
  if (fd < 0 || fd >= HIGH) return fd;
  int moved = fcntl(fd, F_DUPFD_CLOEXEC, HIGH);
  int error = errno;
  close(fd);
  errno = error;
  return moved;
}

static int plan_in_memory(const u8 *plan, size_t size) {
  int fd = high(memfd_create("tsbox-plan", MFD_CLOEXEC));
  for (size_t done = 0; fd >= 0 && done < size;) {
    ssize_t written = write(fd, plan + done, size - done);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      int error = errno;
      close(fd);
      errno = error;
      return -1;
    }
    done += (size_t)written;
  }
  return fd;
}

/* A mount of that one file which nobody can write through; see src/sys/program.ts, as for the rest of this. */
static int read_only_mount(const char *path) {
  struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY};
  int fd = (int)syscall(SYS_open_tree, AT_FDCWD, path, OPEN_TREE_CLONE | O_CLOEXEC);
  if (fd < 0) return -1;
  if (syscall(SYS_mount_setattr, fd, "", (unsigned)AT_EMPTY_PATH, &attr, sizeof attr) == 0) return fd;
  int error = errno;
  close(fd);
  errno = error;
  return -1;
}

static bool copy_all(int from, int to) {
  struct stat status;
  if (fstat(from, &status) < 0) return false;
  for (off_t done = 0; done < status.st_size;)
    if (sendfile(to, from, &done, (size_t)(status.st_size - done)) <= 0) return false;
  return fcntl(to, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) == 0;
}

static int sealed_copy(const char *path) {
  char name[32];
  int reopened = -1;
  int from = open(path, O_RDONLY | O_CLOEXEC);
  int copy = from < 0 ? -1 : memfd_create("tsbox-executor", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC);
  if (from >= 0 && copy < 0) copy = memfd_create("tsbox-executor", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (copy >= 0 && copy_all(from, copy)) {
    struct out out = out_start(name, sizeof name);
    put(&out, "/proc/self/fd/");
    put_number(&out, copy);
    reopened = open(name, O_RDONLY | O_CLOEXEC); /* what is open for writing cannot be executed */
  }
  int error = errno;
  if (from >= 0) close(from);
  if (copy >= 0) close(copy);
  errno = error;
  return reopened;
}

static int open_program(const char *path) {
  struct stat status;
  if (geteuid() == 0) return read_only_mount(path);
  if (stat(path, &status) < 0) return -1;
  return status.st_uid == geteuid() || access(path, W_OK) == 0 ? sealed_copy(path) : open(path, O_PATH | O_CLOEXEC);
}

/* A journal that is full is begun anew by Node. */
static int open_journal(const char *path) {
  struct stat status;
  int fd = high(open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600));
  if (fd < 0 || (fstat(fd, &status) == 0 && status.st_size < JOURNAL_FULL)) return fd;
  close(fd);
  return -1;
}

static void close_all(const struct launch *launch) {
  const int all[] = {launch->plan, launch->null, launch->program, launch->theirs, launch->journal};
  for (size_t index = 0; index < sizeof all / sizeof *all; index++)
    if (all[index] >= 0) close(all[index]);
}

int launch_prepare(struct launch *launch, const struct kept *kept, const u8 *plan, size_t size) {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) return errno;
  launch->ours = pair[0];
  launch->theirs = high(pair[1]);
  launch->plan = plan_in_memory(plan, size);
  launch->null = high(open("/dev/null", O_RDWR | O_CLOEXEC));
  launch->program = high(open_program(kept->executor));
  launch->journal = open_journal(kept->events);
  if (launch->theirs >= 0 && launch->plan >= 0 && launch->null >= 0 && launch->program >= 0 && launch->journal >= 0) return 0;
  int error = errno;
  close_all(launch);
  close(launch->ours);
  return error != 0 ? error : EIO;
}

/* What was typed, with blanks between. */
static char *put_words(char *to, char *const *words) {
  for (size_t index = 0; words[index] != NULL; index++) {
    if (index > 0) *to++ = ' ';
    to += json_escape(to, (const u8 *)words[index], strlen(words[index]), NULL);
  }
  return to;
}

static void tell(const struct launch *launch, const struct kept *kept, const char *action, char *const *words) {
  struct timespec now;
  size_t room = strlen(kept->event) + strlen(kept->event_end) + strlen(action) + TIME_LENGTH + 8;
  for (char *const *word = words; *word != NULL; word++) room += ESCAPE_MAX * strlen(*word) + 1;
  char *line = malloc(room);
  if (line == NULL) return;
  char *at = put_words(stpcpy(stpcpy(line, kept->event), action), words);
  at = stpcpy(at, kept->event_end);
  clock_gettime(CLOCK_REALTIME, &now);
  format_time(at, &now);
  at = stpcpy(at + TIME_LENGTH, "\"}\n");
  ssize_t written = write(launch->journal, line, (size_t)(at - line)); /* one piece, so lines do not mix */
  (void)written;
  free(line);
}

void launch_tell(const struct launch *launch, const struct kept *kept, char *const *words) {
  tell(launch, kept, "exec_create: ", words);
  tell(launch, kept, "exec_start: ", words);
}

int launch_start(struct launch *launch) {
  char name[] = "tsbox-executor", plan[] = "3", path[32];
  char *arguments[] = {name, plan, NULL}, *env[] = {NULL};
  posix_spawn_file_actions_t actions;
  pid_t pid;
  struct out out = out_start(path, sizeof path);
  put(&out, "/proc/self/fd/");
  put_number(&out, launch->program);
  posix_spawnattr_t attributes;
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, launch->null, 0);
  posix_spawn_file_actions_adddup2(&actions, launch->null, 1);
  posix_spawn_file_actions_adddup2(&actions, launch->plan, 3);
  posix_spawn_file_actions_adddup2(&actions, launch->theirs, 4);
  int error = posix_spawn(&pid, path, &actions, &attributes, arguments, env);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  close_all(launch);
  if (error != 0) close(launch->ours);
  return error;
}
