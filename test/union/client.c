/*
 * Many processes at once on one file system.
 *
 *   client random DIRECTORY PROCESSES SEED COUNT   random calls, each process in a directory of its own: what comes of them follows from
 *                                                  the seed alone, so it is the same on two file systems, or one of them is wrong. Prints
 *                                                  a line a process: its number, and a hash of all that its calls have returned.
 *   client durable DIRECTORY PROCESSES SEED LOG    changes files of below, and makes new ones, until the file system is gone or it is
 *                                                  killed; what has to be there whatever happens is written to LOG: a name and a size.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

static uint64_t state;
static uint64_t hash = 14695981039346656037u;

static unsigned below(unsigned n) {
  state = state * 6364136223846793005u + 1442695040888963407u;
  return (unsigned)(state >> 33) % n;
}

static void note_bytes(const void *bytes, size_t length) {
  for (size_t i = 0; i < length; i++) hash = (hash ^ ((const unsigned char *)bytes)[i]) * 1099511628211u;
}

/* What a call has returned, or why it was refused. */
static long note(long result) {
  long value = result < 0 ? -errno : result;
  note_bytes(&value, sizeof value);
  return result;
}

static char *path(void) {
  static char names[4][32];
  static int next;
  char *name = names[next = (next + 1) % 4];
  if (below(2)) sprintf(name, "d%u/%c", below(4), 'a' + below(8));
  else if (below(6) == 0) sprintf(name, "d%u", below(4));
  else sprintf(name, "%c", 'a' + below(8));
  return name;
}

static char data[1 << 16];

static void fill(unsigned length) {
  unsigned with = below(251);
  for (unsigned i = 0; i < length; i++) data[i] = (char)(with + i * 7);
}

static void read_all(int fd) {
  long length = note(pread(fd, data, sizeof data, 0));
  if (length > 0) note_bytes(data, (size_t)length);
}

static void status(const struct stat *s) {
  note(s->st_mode);
  if (!S_ISDIR(s->st_mode)) {
    note(s->st_size);
    note((long)s->st_nlink);
  }
}

static int opened(int flags) {
  int fd = open(path(), flags | O_NONBLOCK | O_CLOEXEC, 0644);
  note(fd < 0 ? -1 : 0);
  return fd;
}

static void list(void) {
  DIR *directory = opendir(below(2) ? "." : path());
  note(directory == NULL ? -1 : 0);
  if (directory == NULL) return;
  long sum = 0;
  struct dirent *entry;
  while ((entry = readdir(directory)) != NULL)
    for (const char *c = entry->d_name; *c != 0; c++) sum += *c * (c - entry->d_name + 1) + entry->d_type;
  note(sum);
  closedir(directory);
}

static void map(int shared) {
  int fd = opened(O_RDWR);
  struct stat s;
  if (fd < 0) return;
  if (fstat(fd, &s) == 0 && S_ISREG(s.st_mode) && s.st_size > 0) {
    size_t length = (size_t)s.st_size;
    char *memory = mmap(NULL, length, PROT_READ | PROT_WRITE, shared ? MAP_SHARED : MAP_PRIVATE, fd, 0);
    note(memory == MAP_FAILED ? -1 : 0);
    if (memory != MAP_FAILED) {
      note_bytes(memory, length);
      for (size_t i = below(100); i < length; i += 100 + below(3000)) memory[i] = (char)below(256);
      if (below(2)) note(msync(memory, length, MS_SYNC));
      read_all(fd); /* shared: what was just written; private: what was there */
      munmap(memory, length);
    }
  }
  close(fd);
}

enum { SLOTS = 6 };
static int slots[SLOTS];

static void call(void) {
  struct stat s;
  int fd, slot = below(SLOTS);
  switch (below(28)) {
    case 0: case 1: case 2:
      if ((fd = opened(O_RDWR | O_CREAT)) < 0) break;
      fill(5000);
      note(pwrite(fd, data, 1 + below(5000), below(20000)));
      close(fd);
      break;
    case 3: case 4:
      if ((fd = opened(O_RDONLY)) < 0) break;
      read_all(fd);
      close(fd);
      break;
    case 5: note(truncate(path(), below(30000))); break;
    case 6: note(rename(path(), path())); break;
    case 7: note(unlink(path())); break;
    case 8: note(link(path(), path())); break;
    case 9: note(symlink(path(), path())); break;
    case 10: {
      long length = note(readlink(path(), data, 100));
      if (length > 0) note_bytes(data, (size_t)length);
      break;
    }
    case 11: case 12: note(mkdir(path(), 0755)); break;
    case 13: note(rmdir(path())); break;
    case 14: note(chmod(path(), 0600 + below(0200))); break;
    case 15: case 16:
      if (note(lstat(path(), &s)) == 0) status(&s);
      break;
    case 17: list(); break;
    case 18: map(1); break;
    case 19: map(0); break;
    case 20:
      if ((fd = opened(O_WRONLY | O_APPEND)) < 0) break;
      fill(500);
      note(write(fd, data, below(500)));
      close(fd);
      break;
    case 21: {
      char *name = path();
      if ((fd = open(name, O_RDWR | O_CREAT, 0600)) < 0) break;
      note(unlink(name));
      fill(3000);
      note(write(fd, data, below(3000)));
      read_all(fd);
      if (note(fstat(fd, &s)) == 0) status(&s);
      close(fd);
      break;
    }
    case 22: note(setxattr(path(), "user.x", "value", 1 + below(5), 0)); break;
    case 23: note(getxattr(path(), "user.x", data, 100)); break;
    case 24:
      if ((fd = opened(O_WRONLY | O_CREAT | O_TRUNC)) < 0) break;
      fill(9000);
      note(write(fd, data, below(9000)));
      if (below(4) == 0) note(fsync(fd));
      close(fd);
      break;
    case 25:
      if (slots[slot] > 0) close(slots[slot]);
      slots[slot] = opened(O_RDWR);
      break;
    case 26:
      if (slots[slot] <= 0) break;
      fill(2000);
      note(pwrite(slots[slot], data, below(2000), below(9000)));
      break;
    default:
      if (slots[slot] <= 0) break;
      read_all(slots[slot]);
      if (note(fstat(slots[slot], &s)) == 0) status(&s);
  }
}

static void work_in(int number) {
  char name[32];
  sprintf(name, "c%d", number);
  mkdir(name, 0755);
  if (chdir(name) != 0) { perror(name); exit(1); }
}

static void random_calls(int number, long count) {
  work_in(number);
  for (long i = 0; i < count; i++) call();
  printf("%d %016llx\n", number, (unsigned long long)hash);
}

static void say(int log, const char *format, ...) {
  char line[200];
  va_list arguments;
  va_start(arguments, format);
  int length = vsnprintf(line, sizeof line, format, arguments);
  va_end(arguments);
  if (write(log, line, (size_t)length) != length) exit(1);
}

/* A whole file, known to be on disk. */
static int make(const char *name, unsigned size) {
  int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0644);
  if (fd < 0) return -1;
  for (unsigned i = 0; i < size; i++) data[i] = (char)('a' + (i + size) % 26);
  int bad = write(fd, data, size) != (long)size || fsync(fd) != 0;
  return close(fd) != 0 || bad ? -1 : 0;
}

static void durable_calls(int number, int log) {
  char name[64], other[64];
  alarm(60); /* nobody is left behind by a test that fails */
  for (unsigned i = 0;; i++) {
    unsigned size = 1 + below(20000);
    sprintf(name, "low/%u", below(20));
    switch (below(8)) {
      case 0: chmod(name, 0600 + below(0100)); break;
      case 1: setxattr(name, "user.x", "v", 1, 0); break;
      case 2: unlink(name); break;
      case 3:
        sprintf(other, "low/%u", below(20));
        rename(name, other);
        break;
      case 4:
        sprintf(name, "low/dir%u", below(10));
        if (below(2)) rmdir(name);
        else mkdir(name, 0755);
        break;
      case 5: /* one that is replaced, always whole */
        sprintf(name, "state%d.new", number);
        sprintf(other, "state%d", number);
        if (make(name, size) != 0 || rename(name, other) != 0) break;
        say(log, "%s %u\n", other, 0);
        break;
      default:
        sprintf(name, "new%d.%d.%u", number, (int)getpid(), i);
        if (make(name, size) == 0) say(log, "%s %u\n", name, size);
    }
    struct statfs whole;
    if (statfs(".", &whole) != 0) return; /* the file system is gone; a directory can still be opened */
  }
}

int main(int argc, char **argv) {
  if (argc != 6 || chdir(argv[2]) != 0) {
    fprintf(stderr, "client: %s\n", argc == 6 ? argv[2] : "five arguments are wanted");
    return 2;
  }
  int processes = atoi(argv[3]), bad = 0, result;
  uint64_t seed = strtoull(argv[4], NULL, 10);
  int durable = strcmp(argv[1], "durable") == 0;
  int log = durable ? open(argv[5], O_WRONLY | O_CREAT | O_APPEND, 0644) : -1;
  for (int i = 0; i < processes; i++) {
    if (fork() != 0) continue;
    state = seed * 1000003 + (uint64_t)i * 7919;
    below(2);
    if (durable) durable_calls(i, log);
    else random_calls(i, atol(argv[5]));
    fflush(stdout);
    _exit(0);
  }
  while (wait(&result) > 0) bad |= result;
  return bad != 0;
}
