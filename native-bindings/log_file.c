/* The files of a log: what is written together, rotation, and compression of what has been rotated. */
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "format.h"
#include "log.h"
#include "ops.h"

enum {
  BUFFER_SIZE = LOG_ENTRY_MAX * (ESCAPE_MAX + 2) + 2 * LOG_ATTRS_MAX + 256,
  NUMBER_ROOM = 32,       /* .NUMBER.gz */
  AWAITED = 4 << 20,      /* compressing this much takes no time that anybody notices */
  LAST_PATIENCE_MS = 5000, /* for what is being compressed when the container has ended */
};

static int fd = -1;
static i64 size, max_size, max_files; /* size: with what is in the buffer */
static bool compress;
static char path[PATH_MAX];
static size_t used;
static char buffer[BUFFER_SIZE];
static pid_t compressor; /* 0: none */
static i64 compressing;  /* so many bytes */

static int open_file(int flags) {
  struct stat status;
  fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | flags, 0640);
  if (fd < 0) return errno;
  size = fstat(fd, &status) == 0 ? status.st_size : 0;
  return 0;
}

static const char *file_name(char name[PATH_MAX], i64 number, const char *end) {
  struct out out = out_start(name, PATH_MAX);
  put(&out, path);
  if (number > 0) {
    put(&out, ".");
    put_number(&out, number);
  }
  put(&out, end);
  return name;
}

static const char PACKED[] = ".gz", HALF[] = ".gz.new";

/* gzip(1) reads the youngest of the rotated files and writes beside it; its parent gives the result its name. */
static _Noreturn void become_gzip(pid_t parent) {
  char name[PATH_MAX];
  char *arguments[] = {(char[]){"gzip"}, (char[]){"-c"}, NULL};
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(127);
  int from = open(file_name(name, 1, ""), O_RDONLY | O_CLOEXEC);
  int to = open(file_name(name, 1, HALF), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
  if (from < 0 || to < 0 || dup2(from, STDIN_FILENO) < 0 || dup2(to, STDOUT_FILENO) < 0) _exit(127);
  reset_signals();
  execvpe(arguments[0], arguments, host_environment);
  _exit(127);
}

static void start_compressor(void) {
  char name[PATH_MAX];
  struct stat status;
  pid_t self = getpid();
  if (stat(file_name(name, 1, ""), &status) < 0) return;
  compressing = status.st_size;
  compressor = fork();
  if (compressor == 0) become_gzip(self);
  if (compressor < 0) compressor = 0;
}

/* The result has the time of the file, by which readers know that it is the same one. Should gzip(1) be missing or the disk be full,
 * the file stays as it was. */
static void compressor_ended(int status) {
  char plain[PATH_MAX], half[PATH_MAX], whole[PATH_MAX];
  struct stat before;
  file_name(plain, 1, "");
  file_name(half, 1, HALF);
  compressor = 0;
  bool good = status == 0 && stat(plain, &before) == 0;
  if (good) {
    struct timespec times[] = {before.st_atim, before.st_mtim};
    good = utimensat(AT_FDCWD, half, times, 0) == 0 && rename(half, file_name(whole, 1, PACKED)) == 0;
  }
  unlink(good ? plain : half);
}

/* @param patience milliseconds, then it is ended; -1: as long as it takes */
static void await_compressor(int patience) {
  const struct timespec pause = {.tv_nsec = 1000000};
  int status = -1;
  for (int waited = 0; compressor > 0; waited++) {
    if (patience >= 0 && waited == patience) kill(compressor, SIGKILL);
    bool look = patience >= 0 && waited < patience;
    pid_t ended = waitpid(compressor, &status, look ? WNOHANG : 0);
    if (ended == compressor) compressor_ended(status);
    else if (ended < 0 && errno != EINTR) compressor_ended(-1);
    else if (look) nanosleep(&pause, NULL);
  }
}

int log_file_open(const struct log_config *config) {
  if (strlen(config->path) >= sizeof path - NUMBER_ROOM) return ENAMETOOLONG;
  strcpy(path, config->path);
  max_size = config->max_size;
  max_files = config->max_files;
  compress = config->compress == 1 && max_files > 1;
  int error = open_file(0);
  if (error == 0 && compress) start_compressor(); /* what another one has not brought to its end */
  return error;
}

/* Everything in the buffer or nothing of it. */
void log_file_flush(void) {
  i64 before = size - (i64)used;
  for (size_t done = 0; done < used && fd >= 0;) {
    ssize_t written = write(fd, buffer + done, used - done);
    if (written > 0) {
      done += (size_t)written;
    } else if (errno != EINTR) {
      size = before;
      if (ftruncate(fd, before) < 0) close(fd), fd = -1;
      break;
    }
  }
  used = 0;
}

/* log.1 is the youngest of the old ones. With one file there is nothing to keep: another takes its place, so that who reads the old one
 * can do so to its end. A number has its file as it was, or compressed. */
static void rotate(void) {
  char from[PATH_MAX], to[PATH_MAX];
  log_file_flush();
  await_compressor(-1);
  close(fd);
  for (i64 number = max_files - 1; number > 0; number--) {
    /* The one that is there no more must not be taken for what comes to its number now. */
    if (number == max_files - 1) unlink(file_name(to, number, "")), unlink(file_name(to, number, PACKED));
    if (number > 1) rename(file_name(from, number - 1, PACKED), file_name(to, number, PACKED));
    rename(file_name(from, number - 1, ""), file_name(to, number, "")); /* ENOENT: so many do not exist yet */
  }
  if (max_files <= 1) unlink(path);
  open_file(O_TRUNC);
  if (compress) start_compressor();
}

static bool is_full(void) { return max_size > 0 && size >= max_size; }

bool log_file_blocked(void) { return compressor > 0 && is_full() && compressing > AWAITED; }

/* While a big file is being compressed the present one may grow beyond its size, by what has come already. */
char *log_file_room(size_t length) {
  if (is_full() && !log_file_blocked()) rotate();
  if (sizeof buffer - used < length) log_file_flush();
  return buffer + used;
}

void log_file_used(size_t length) {
  used += length;
  size += (i64)length;
}

bool log_file_child_ended(pid_t pid, int status) {
  if (compressor == 0 || pid != compressor) return false;
  compressor_ended(status);
  return true;
}

void log_file_close(void) {
  log_file_flush();
  await_compressor(LAST_PATIENCE_MS);
  if (fd >= 0) close(fd);
  fd = -1;
}
