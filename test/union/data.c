/*
 * What programs do with the data of files, and with large directories, each as a scenario that prints what it sees: so that two file
 * systems can be held against each other.
 *
 *   data make DIRECTORY N        fills a lower layer; N is how many names its directory has
 *   data change DIRECTORY N      on a mount of it: what becomes the layer above
 *   data SCENARIO DIRECTORY N    direct, seek, huge, far, map, allocate, copy, many, show
 *
 * A line that begins with `own ` is about this file system alone: what it says has to be `ok`.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096, MB = 1 << 20, ROOM = 2 * MB };
static const off_t GB = 1 << 30;
static char *data; /* aligned to a page, ROOM bytes and one more page */

static void die(const char *what) {
  perror(what);
  exit(2);
}

/* Prints what a call has returned, or why it was refused. */
static long say(const char *what, long result) {
  if (result < 0) printf("%s: %s\n", what, strerrorname_np(errno));
  else printf("%s: %ld\n", what, result);
  return result;
}

static uint64_t hash_of(const char *bytes, size_t length, uint64_t hash) {
  for (size_t i = 0; i < length; i++) hash = (hash ^ (unsigned char)bytes[i]) * 1099511628211u;
  return hash;
}

static void fill(char *to, size_t length, unsigned with) {
  for (size_t i = 0; i < length; i++) to[i] = (char)('a' + (with + i + i / 4093) % 26);
}

static int opened(const char *name, int flags) {
  int fd = open(name, flags | O_CLOEXEC, 0644);
  if (fd < 0) printf("open %s %o: %s\n", name, flags, strerrorname_np(errno));
  return fd;
}

static int need(const char *name, int flags) {
  int fd = open(name, flags | O_CLOEXEC, 0644);
  if (fd < 0) die(name);
  return fd;
}

static void put(int fd, off_t at, size_t length, unsigned with) {
  fill(data, length, with);
  if (pwrite(fd, data, length, at) != (ssize_t)length) die("pwrite");
}

/* Reads, and prints how much it was and its hash. */
static void get(const char *what, int fd, char *to, size_t length, off_t at) {
  memset(to, '?', length);
  long got = pread(fd, to, length, at);
  if (got < 0) printf("%s: %s\n", what, strerrorname_np(errno));
  else printf("%s: %ld %016llx\n", what, got, (unsigned long long)hash_of(to, (size_t)got, 1469598103934665603u));
}

static void size_of(const char *what, int fd) {
  struct stat s;
  if (fstat(fd, &s) != 0) die("fstat");
  printf("%s: size %lld\n", what, (long long)s.st_size);
}

/* Prints where data is, and its hash. */
static void extents(const char *what, int fd) {
  uint64_t hash = 1469598103934665603u;
  struct stat s;
  if (fstat(fd, &s) != 0) die("fstat");
  printf("%s: size %lld", what, (long long)s.st_size);
  for (off_t at = 0; (at = lseek(fd, at, SEEK_DATA)) >= 0;) {
    off_t end = lseek(fd, at, SEEK_HOLE);
    if (end <= at) die("SEEK_HOLE");
    printf(" %lld-%lld", (long long)at, (long long)end);
    for (long got; at < end; at += got) {
      got = pread(fd, data, end - at < ROOM ? (size_t)(end - at) : ROOM, at);
      if (got <= 0) die("pread");
      hash = hash_of(data, (size_t)got, hash);
    }
  }
  printf(" %s %016llx\n", strerrorname_np(errno), (unsigned long long)hash);
}

/* --- the lower layers --- */

enum { HOLES = 16, SPREAD = 64 * 1024 };
static const char *const PLAIN[] = {"direct", "direct2", "mapped", "mapped2", "private", "allocated", "from", "to", "read"};

/* What is where in `many`: of ten names the lowest layer has eight; of these one is hidden by the layer above, and one replaced. */
static void name_of(char *name, long i) {
  sprintf(name, "%s%ld", i % 1000 == 7 ? "a long name of a file, so that they do not all take the same room in a listing " : "file", i);
}

static void touch(const char *name) {
  int fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (fd < 0) die(name);
  close(fd);
}

static void make(long n) {
  char name[200];
  for (size_t i = 0; i < sizeof PLAIN / sizeof *PLAIN; i++) {
    int fd = need(PLAIN[i], O_RDWR | O_CREAT);
    put(fd, 0, MB + 1234, (unsigned)i);
    close(fd);
  }
  int fd = need("sparse", O_RDWR | O_CREAT);
  put(fd, MB, MB, 1);
  put(fd, 5 * (off_t)MB, ROOM, 2);
  if (ftruncate(fd, 16 * (off_t)MB) != 0) die("ftruncate");
  close(fd);
  fd = need("holes", O_RDWR | O_CREAT);
  for (int i = 0; i < HOLES; i++) put(fd, (off_t)i * SPREAD, PAGE, (unsigned)i);
  if (ftruncate(fd, (off_t)HOLES * SPREAD) != 0) die("ftruncate");
  close(fd);
  fd = need("huge", O_RDWR | O_CREAT);
  put(fd, 0, MB, 3);
  put(fd, 4 * GB - MB, ROOM, 4);
  put(fd, 10 * GB - MB, MB, 5);
  close(fd);
  if (mkdir("many", 0755) != 0) die("mkdir");
  for (long i = 0; i < n; i++) {
    sprintf(name, "many/");
    name_of(name + 5, i);
    if (i % 10 < 8) touch(name);
  }
}

static void change(long n) {
  char name[200];
  for (long i = 0; i < n; i++) {
    sprintf(name, "many/");
    name_of(name + 5, i);
    if (i % 10 == 0 && unlink(name) != 0) die(name);
    if (i % 10 == 1 && (unlink(name) != 0 || mkdir(name, 0755) != 0)) die(name);
    if (i % 10 == 8) touch(name);
  }
  int fd = need("middle", O_RDWR | O_CREAT);
  put(fd, 0, MB, 9);
  close(fd);
}

/* --- scenarios --- */

struct part {
  size_t length;
  off_t at;
  int shift; /* of the buffer */
};

static const struct part ALIGNED[] = {{PAGE, 0, 0}, {4 * PAGE, PAGE, 0}, {MB, 0, 0}, {ROOM, 0, 0}, {PAGE, MB, 0}, {PAGE, MB + PAGE, 0}, {PAGE, ROOM, 0}, {0, 0, 0}};
static const struct part ODD[] = {{100, 0, 0}, {PAGE, 1, 0}, {PAGE, 0, 1}, {PAGE, MB + 1, 0}, {PAGE + 1, 0, 0}, {511, 512, 0}, {512, 511, 0}, {PAGE, 0, 256}};
enum { CASES = sizeof ALIGNED / sizeof *ALIGNED }; /* of each */

static const char *named(const char *what, const char *call, const struct part *part) {
  static char line[120];
  sprintf(line, "%s %s %zu at %lld, buffer at %d", what, call, part->length, (long long)part->at, part->shift);
  return line;
}

static void direct_reads(const char *what, int fd, const struct part *parts) {
  for (int i = 0; i < CASES; i++) get(named(what, "read", &parts[i]), fd, data + parts[i].shift, parts[i].length, parts[i].at);
}

static void direct_writes(const char *what, int fd, const struct part *parts) {
  for (int i = 0; i < CASES; i++) {
    fill(data + parts[i].shift, parts[i].length, (unsigned)i + 5);
    say(named(what, "write", &parts[i]), pwrite(fd, data + parts[i].shift, parts[i].length, parts[i].at));
  }
}

/* Lines that begin with `odd` are about what is not aligned, and what is written so is gone afterwards. */
static void direct_on(const char *what, const char *name, int flags) {
  char odd[40];
  sprintf(odd, "odd: %s", what);
  int fd = opened(name, flags | O_DIRECT);
  direct_reads(what, fd, ALIGNED);
  direct_reads(odd, fd, ODD);
  if ((flags & O_ACCMODE) == O_RDWR) {
    direct_writes(what, fd, ALIGNED);
    size_of(what, fd);
    direct_reads(what, fd, ALIGNED);
    direct_writes(odd, fd, ODD);
    say("empty", ftruncate(fd, 0));
    direct_writes(what, fd, ALIGNED);
    extents(what, fd);
  }
  close(fd);
}

static void direct(void) {
  direct_on("lower", "read", O_RDONLY);
  direct_on("copied", "direct", O_RDWR);
  direct_on("new", "direct new", O_RDWR | O_CREAT | O_EXCL);
  direct_on("lower, the upper one", "middle", O_RDONLY);
  int fd = opened("direct new", O_WRONLY | O_APPEND | O_DIRECT);
  fill(data, PAGE, 3);
  say("append", write(fd, data, PAGE));
  size_of("appended", fd);
  close(fd);
  /* Those who read and write in other ways, from before the copy-up on, and since. */
  int before = need("direct2", O_RDONLY);
  get("before", before, data, ROOM, 0);
  fd = opened("direct2", O_RDWR | O_DIRECT);
  int buffered = need("direct2", O_RDWR);
  direct_writes("one of three", fd, ALIGNED);
  get("open before", before, data, ROOM, 0);
  get("buffered", buffered, data, ROOM, 0);
  put(buffered, 0, 3 * PAGE, 77);
  get("direct after buffered", fd, data, 4 * PAGE, 0);
  char *memory = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, buffered, 0);
  if (memory == MAP_FAILED) die("mmap");
  fill(data, PAGE, 99);
  say("direct below a mapping", pwrite(fd, data, PAGE, PAGE));
  printf("mapping %016llx\n", (unsigned long long)hash_of(memory, 4 * PAGE, 1));
  memory[2 * PAGE] = '!';
  say("msync", msync(memory, 4 * PAGE, MS_SYNC));
  get("direct after the mapping", fd, data, 4 * PAGE, 0);
  munmap(memory, 4 * PAGE);
  close(before), close(buffered), close(fd);
  fd = opened("direct2", O_RDWR | O_TRUNC | O_DIRECT);
  size_of("emptied", fd);
  fill(data, PAGE, 1);
  say("write", pwrite(fd, data, PAGE, PAGE));
  extents("at last", fd);
  say("direct I/O no more", fcntl(fd, F_SETFL, 0));
  get("aligned all the same", fd, data, PAGE, 0);
  close(fd);
}

static void seeks(const char *what, int fd) {
  const off_t places[] = {0, 1, MB - 1, MB, MB + 1, 2 * MB - 1, 2 * MB, 3 * MB, 5 * (off_t)MB, 16 * (off_t)MB - 1, 16 * (off_t)MB, 20 * (off_t)MB, -1, 4 * GB};
  char line[100];
  for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
    sprintf(line, "%s %lld data", what, (long long)places[i]);
    say(line, lseek(fd, places[i], SEEK_DATA));
    sprintf(line, "%s %lld hole", what, (long long)places[i]);
    say(line, lseek(fd, places[i], SEEK_HOLE));
  }
  say("no such whence", lseek(fd, 0, 9));
  say("end", lseek(fd, 0, SEEK_END));
  say("before the beginning", lseek(fd, -1, SEEK_SET));
  say("here", lseek(fd, -5, SEEK_CUR));
}

/* Are there the pages of data that were made, and nothing between them? */
static void holes(const char *when) {
  int fd = need("holes", O_RDONLY);
  int bad = 0;
  for (off_t i = 0; i < HOLES; i++) {
    bad += lseek(fd, i * SPREAD, SEEK_DATA) != i * SPREAD;
    bad += lseek(fd, i * SPREAD, SEEK_HOLE) != i * SPREAD + PAGE;
  }
  if (bad == 0) printf("own holes %s: ok\n", when);
  else printf("own holes %s: %d bad\n", when, bad);
  close(fd);
}

static void seek(void) {
  int fd = need("sparse", O_RDONLY);
  seeks("lower", fd);
  extents("lower", fd);
  holes("of the lower layer");
  say("copy up", chmod("sparse", 0600));
  seeks("open before", fd);
  close(fd);
  fd = need("sparse", O_RDWR);
  seeks("copied", fd);
  extents("copied", fd);
  put(fd, 9 * (off_t)MB, MB, 7);
  seeks("written", fd);
  extents("written", fd);
  say("shorter", ftruncate(fd, 6 * (off_t)MB));
  say("longer", ftruncate(fd, 12 * (off_t)MB));
  extents("shorter and longer", fd);
  close(fd);
  say("copy up", chmod("holes", 0600));
  holes("after the copy-up");
  fd = need("holes", O_RDONLY);
  get("what is in them", fd, data, (size_t)HOLES * SPREAD, 0);
  close(fd);
  fd = need("unwritten", O_RDWR | O_CREAT);
  seeks("empty", fd);
  close(fd);
}

static void huge(void) {
  const off_t places[] = {0, MB - 100, 4 * GB - MB, 4 * GB - 100, 4 * GB, 4 * GB + 1, 5 * GB, 10 * GB - 100, 10 * GB, 11 * GB};
  char line[100];
  int fd = need("huge", O_RDONLY);
  for (int written = 0; written < 2; written++) {
    struct stat s;
    if (stat("huge", &s) != 0) die("stat");
    printf("size %lld, %s\n", (long long)s.st_size, s.st_blocks < 20 * 2048 ? "mostly holes" : "no holes");
    say("end", lseek(fd, 0, SEEK_END));
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
      sprintf(line, "at %lld", (long long)places[i]);
      get(line, fd, data, 300, places[i]);
    }
    extents("huge", fd);
    close(fd);
    if (written) break;
    fd = need("huge", O_RDWR);
    put(fd, 4 * GB - 3, 7, 21);
    put(fd, 7 * GB + 5, MB, 22);
  }
  fd = need("huge", O_RDWR | O_APPEND);
  say("append", write(fd, "more", 4));
  size_of("appended", fd);
  close(fd);
  fd = need("huge", O_RDWR);
  char *memory = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 5 * GB);
  if (memory == MAP_FAILED) die("mmap");
  memcpy(memory + 10, "mapped", 6);
  say("msync", msync(memory, PAGE, MS_SYNC));
  munmap(memory, PAGE);
  get("what was mapped", fd, data, 20, 5 * GB);
  off_t from = 4 * GB - 3, to = 9 * GB + 1;
  say("copy_file_range", copy_file_range(fd, &from, fd, &to, 100000, 0));
  printf("offsets %lld %lld\n", (long long)from, (long long)to);
  get("copied", fd, data, 100, 9 * GB + 1);
  say("punch", fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4 * GB, MB));
  say("allocate", fallocate(fd, 0, 12 * GB, MB));
  extents("changed", fd);
  say("shorter", ftruncate(fd, 4 * GB + 1));
  size_of("shorter", fd);
  say("longer", truncate("huge", 9 * GB));
  size_of("longer", fd);
  extents("shorter and longer", fd);
  say("lock", lockf(fd, F_TLOCK, 5 * GB));
  close(fd);
}

/* Places as far from the beginning as there can be, and times as far from now. */
static void far(void) {
  const off_t places[] = {((off_t)1 << 44) - PAGE, (off_t)1 << 44, ((off_t)1 << 53) - 1, ((off_t)1 << 53) + 1, ((off_t)1 << 62) + 1, INT64_MAX - PAGE + 1, INT64_MAX - 1, INT64_MAX};
  for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
    char line[100];
    off_t at = places[i], from = 0, to = at;
    struct stat s;
    int fd = need("far", O_RDWR | O_CREAT);
    printf("at %llx\n", (long long)at);
    say("longer", ftruncate(fd, at));
    size_of("longer", fd);
    say("data", lseek(fd, at - 1, SEEK_DATA));
    say("hole", lseek(fd, at - 1, SEEK_HOLE));
    say("behind the end", lseek(fd, at, SEEK_HOLE));
    sprintf(line, "read at %llx", (long long)at);
    get(line, fd, data, 10, at - 5);
    say("write", pwrite(fd, "0123456789", 10, at));
    say("data", lseek(fd, at - 1, SEEK_DATA));
    say("punch", fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, 1000));
    say("copy", copy_file_range(fd, &from, fd, &to, 10, 0));
    from = at, to = 0;
    say("copy back", copy_file_range(fd, &from, fd, &to, 10, 0));
    size_of("now", fd);
    say("empty", ftruncate(fd, 0));
    const struct timespec times[2] = {{-at, 5}, {at, 999999999}};
    say("times", futimens(fd, times));
    if (fstat(fd, &s) == 0) printf("%lld %lld\n", (long long)s.st_atime, (long long)s.st_mtime);
    close(fd);
  }
  say("remove", unlink("far"));
  int fd = need(".", O_RDONLY | O_DIRECTORY);
  say("far in a directory", lseek(fd, (off_t)1 << 62, SEEK_SET));
  say("nothing is there", getdents64(fd, data, ROOM));
  close(fd);
}

/* Does a touch of this memory end a process, and by which signal? */
static void touched(const char *what, volatile char *at, int write) {
  fflush(stdout);
  pid_t child = fork();
  int result;
  if (child == 0) {
    char value = *at;
    if (write) *at = (char)(value + 1);
    _exit(0);
  }
  if (child < 0 || waitpid(child, &result, 0) != child) die("fork");
  printf("%s: %s\n", what, WIFSIGNALED(result) ? sigabbrev_np(WTERMSIG(result)) : "fine");
}

static char *mapped(const char *what, int fd, size_t length, int access, int how) {
  char *memory = mmap(NULL, length, access, how, fd, 0);
  if (memory == MAP_FAILED) printf("%s: %s\n", what, strerrorname_np(errno));
  else printf("%s: %016llx\n", what, (unsigned long long)hash_of(memory, length, 1));
  return memory;
}

static void map_shared(const char *name) {
  int fd = need(name, O_RDWR), other = need(name, O_RDWR);
  char *memory = mapped("shared", fd, MB, PROT_READ | PROT_WRITE, MAP_SHARED);
  char *second = mapped("a second one", other, MB, PROT_READ, MAP_SHARED);
  char *private = mapped("private", fd, MB, PROT_READ | PROT_WRITE, MAP_PRIVATE);
  fill(memory + 5000, 10000, 50);
  memcpy(private + 100000, "mine", 4);
  printf("the second one sees %016llx\n", (unsigned long long)hash_of(second, MB, 1));
  say("msync", msync(memory, MB, MS_SYNC));
  get("read", other, data, MB, 0);
  put(other, 200000, 5000, 51);
  printf("the mapping sees %016llx\n", (unsigned long long)hash_of(memory, MB, 1));
  printf("the private one has its own: %.4s, and %016llx\n", private + 100000, (unsigned long long)hash_of(private + 200000, 5000, 1));
  get("read again", fd, data, MB, 0);
  memory[300000] = '#'; /* after its descriptor was closed */
  close(fd);
  memory[300001] = '#';
  say("msync of a closed one", msync(memory, MB, MS_SYNC));
  get("read after that", other, data, MB, 0);
  say("shorter", ftruncate(other, 3 * PAGE + 10));
  touched("in the last page", memory + 3 * PAGE + 100, 1);
  touched("behind the end", memory + 4 * PAGE, 0);
  say("longer", ftruncate(other, MB));
  printf("what was written behind the old end: %d\n", memory[3 * PAGE + 100]);
  memory[3 * PAGE + 100] = 0;
  touched("there again", memory + 4 * PAGE, 1);
  get("what is there", other, data, MB, 0);
  say("remove", unlink(name));
  memory[7] = '$';
  say("msync of a removed one", msync(memory, PAGE, MS_SYNC));
  get("read a removed one", other, data, PAGE, 0);
  munmap(memory, MB), munmap(second, MB), munmap(private, MB);
  close(other);
}

/* Is it from before the test? Does it take the room that it says? */
static void take_stock(const char *what, const char *name) {
  struct stat s;
  if (stat(name, &s) != 0) die(name);
  printf("%s, mtime: %s\n", what, s.st_mtime < 1500000000 ? "old" : "new");
  printf("%s, blocks: %s\n", what, s.st_blocks < 100 ? "few" : "many");
}

/* What is written through a mapping shows in the times of the file and in the room that it takes. */
static void map_and_look(const char *name) {
  const struct timespec old[2] = {{1000000000, 0}, {1000000000, 0}};
  int fd = need(name, O_RDWR | O_CREAT);
  if (ftruncate(fd, MB) != 0 || futimens(fd, old) != 0) die(name);
  take_stock("before it is mapped", name);
  char *memory = mmap(NULL, MB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED) die("mmap");
  take_stock("before it is written to", name);
  for (size_t at = 0; at < MB; at += PAGE) memory[at] = '.';
  say("msync", msync(memory, MB, MS_SYNC));
  take_stock("mapped and written", name);
  say("old again", futimens(fd, old));
  take_stock("old again", name);
  memory[1] = '.';
  say("msync", msync(memory, MB, MS_SYNC));
  close(fd);
  take_stock("mapped, written and closed", name);
  say("old again", utimensat(AT_FDCWD, name, old, 0));
  memory[2] = '.';
  munmap(memory, MB);
  take_stock("mapped, written and unmapped", name);
}

static void map(void) {
  map_and_look("new mapped");
  map_and_look("new mapped"); /* it is known now */
  map_shared("mapped");
  map_shared("middle");
  int fd = need("private", O_RDONLY);
  char *memory = mapped("of the lower layer", fd, MB, PROT_READ | PROT_WRITE, MAP_PRIVATE);
  mapped("shared and written, of a file to read", fd, MB, PROT_READ | PROT_WRITE, MAP_SHARED);
  char *shared = mapped("shared, of a file to read", fd, MB, PROT_READ, MAP_SHARED);
  say("mprotect", mprotect(shared, PAGE, PROT_READ | PROT_WRITE));
  touched("write", shared, 1);
  memcpy(memory + 50, "mine", 4);
  say("copy up while mapped", chmod("private", 0600));
  printf("what was mapped is the same: %016llx %016llx\n", (unsigned long long)hash_of(memory, MB, 1), (unsigned long long)hash_of(shared, MB, 1));
  get("read", fd, data, MB, 0);
  munmap(memory, MB), munmap(shared, MB);
  close(fd);
  fd = need("mapped2", O_RDONLY);
  memory = mapped("program", fd, MB + 1234, PROT_READ | PROT_EXEC, MAP_PRIVATE);
  touched("the last byte", memory + MB + 1233, 0);
  touched("the rest of the last page", memory + MB + 1234, 0);
  munmap(memory, MB + 1234);
  memory = mmap(NULL, 4 * MB, PROT_READ, MAP_SHARED, fd, 0);
  touched("behind the end", memory + MB + 2 * PAGE, 0);
  munmap(memory, 4 * MB);
  mapped("unaligned", fd, 0, PROT_READ, MAP_SHARED);
  close(fd);
  fd = need("mapped2", O_RDWR | O_APPEND);
  memory = mapped("to append", fd, MB, PROT_READ | PROT_WRITE, MAP_SHARED);
  memory[0] = '+';
  say("append", write(fd, "end", 3));
  munmap(memory, MB);
  close(fd);
  fd = need("mapped2", O_RDONLY);
  get("after munmap", fd, data, ROOM, 0);
  close(fd);
  fd = need("mapped2", O_WRONLY);
  mapped("only to write", fd, PAGE, PROT_WRITE, MAP_SHARED);
  close(fd);
}

static void allocate_in(const char *what, const char *name, int flags) {
  const struct { int mode; off_t at, length; } cases[] = {
      {0, 0, MB}, {0, 2 * MB, MB}, {FALLOC_FL_KEEP_SIZE, 4 * MB, MB}, {FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 100000, 300000},
      {FALLOC_FL_PUNCH_HOLE, 0, MB}, {FALLOC_FL_ZERO_RANGE, 500000, 100000}, {FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 3 * MB - PAGE, MB},
      {FALLOC_FL_UNSHARE_RANGE, 0, PAGE}, {0, -1, 10}, {0, 0, 0}, {0, 10, -5}, {0x1000, 0, 10}, {0, 0x7fffffffffff0000, MB},
      {FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 100 * (off_t)MB, MB}, {FALLOC_FL_KEEP_SIZE | FALLOC_FL_COLLAPSE_RANGE, 0, 64 * 1024},
  };
  char line[120];
  int fd = need(name, flags);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    sprintf(line, "%s fallocate %x %lld+%lld", what, cases[i].mode, (long long)cases[i].at, (long long)cases[i].length);
    say(line, fallocate(fd, cases[i].mode, cases[i].at, cases[i].length));
    size_of(line, fd);
    if ((flags & O_ACCMODE) == O_RDWR) get("what is there", fd, data, ROOM, 0);
  }
  say("posix_fallocate", posix_fallocate(fd, 100, 5 * MB));
  size_of("posix_fallocate", fd);
  close(fd);
}

static void allocate(void) {
  allocate_in("copied", "allocated", O_RDWR);
  allocate_in("new", "allocated new", O_RDWR | O_CREAT);
  allocate_in("to read", "read", O_RDONLY);
  allocate_in("to write", "sparse", O_WRONLY);
  int fd = need("moves", O_RDWR | O_CREAT);
  put(fd, 0, MB, 1);
  say("moves: collapse", fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 64 * 1024, 64 * 1024));
  say("moves: insert", fallocate(fd, FALLOC_FL_INSERT_RANGE, 128 * 1024, 64 * 1024));
  close(fd);
  say("remove", unlink("moves"));
  fd = need("many", O_RDONLY | O_DIRECTORY);
  say("of a directory", fallocate(fd, 0, 0, 10));
  close(fd);
}

static void copy_between(const char *what, int in, off_t from, int out, off_t to, size_t length, unsigned flags) {
  long copied = copy_file_range(in, &from, out, &to, length, flags);
  if (copied < 0) printf("%s: %s\n", what, strerrorname_np(errno));
  else printf("%s: %ld, then at %lld and %lld\n", what, copied, (long long)from, (long long)to);
}

static void copy(void) {
  int lower = need("from", O_RDONLY), upper = need("middle copy", O_RDWR | O_CREAT), to = need("to", O_RDWR);
  copy_between("lower to upper", lower, 0, upper, 0, 100000, 0);
  copy_between("lower to upper, odd", lower, 12345, upper, 77777, 54321, 0);
  copy_between("lower to copied", lower, 5, to, MB, 300000, 0);
  copy_between("upper to copied", upper, 0, to, 17, 100000, 0);
  copy_between("copied to upper", to, 3, upper, 200000, 70000, 0);
  copy_between("to the end and no more", lower, MB, upper, 400000, MB, 0);
  copy_between("behind the end", lower, 2 * MB, upper, 0, 100, 0);
  copy_between("nothing", lower, 0, upper, 0, 0, 0);
  copy_between("flags", lower, 0, upper, 0, 10, 1);
  copy_between("within one", to, 0, to, 2 * MB, 50000, 0);
  copy_between("within one, over itself", to, 0, to, 100, 50000, 0);
  copy_between("to one to read", upper, 0, lower, 0, 100, 0);
  copy_between("a large length", lower, 0, upper, 3 * MB, (size_t)8 << 30, 0);
  copy_between("to before the beginning", lower, 0, upper, -5, 10, 0);
  copy_between("behind 4 GB", lower, 1, upper, 5 * GB, 100, 0);
  say("positions", copy_file_range(lower, NULL, upper, NULL, 1000, 0));
  say("of the one", lseek(lower, 0, SEEK_CUR));
  say("of the other", lseek(upper, 0, SEEK_CUR));
  int append = need("to", O_WRONLY | O_APPEND), directory = need("many", O_RDONLY | O_DIRECTORY);
  copy_between("to append", lower, 0, append, 0, 10, 0);
  copy_between("from one to write", append, 0, upper, 0, 10, 0);
  copy_between("of a directory", directory, 0, upper, 0, 10, 0);
  extents("upper", upper);
  extents("copied", to);
  char *memory = mmap(NULL, MB, PROT_READ | PROT_WRITE, MAP_SHARED, to, 0);
  if (memory == MAP_FAILED) die("mmap");
  memcpy(memory + 100, "not yet synced", 14);
  copy_between("what is only mapped", to, 0, upper, 0, PAGE, 0);
  get("it is there", upper, data, PAGE, 0);
  copy_between("below a mapping", lower, 0, to, 0, PAGE, 0);
  printf("the mapping sees %016llx\n", (unsigned long long)hash_of(memory, MB, 1));
  munmap(memory, MB);
  close(lower), close(upper), close(to), close(append), close(directory);
}

static int is_dot(const struct dirent *entry) { return entry->d_name[0] == '.'; }

/* How many names, and a sum that says which, whatever the order. */
static long listed(const char *what, DIR *directory) {
  struct dirent *entry;
  long count = 0;
  uint64_t sum = 0;
  errno = 0;
  while ((entry = readdir(directory)) != NULL) {
    if (is_dot(entry)) continue;
    count++;
    sum += hash_of(entry->d_name, strlen(entry->d_name), entry->d_type);
  }
  printf("%s: %ld names %016llx %d\n", what, count, (unsigned long long)sum, errno);
  return count;
}

/* Places in a listing: what comes behind one is the same whenever one goes there. */
static void places(DIR *directory, long count) {
  enum { MOST = 200 };
  long at[MOST];
  char names[MOST][256];
  int known = 0;
  rewinddir(directory);
  struct dirent *entry;
  for (long i = 0;; i++) {
    long place = telldir(directory);
    if ((entry = readdir(directory)) == NULL) break;
    if (i % (count / MOST + 1) != 0 || known == MOST) continue;
    at[known] = place;
    strcpy(names[known++], entry->d_name);
  }
  int bad = 0;
  for (int i = 0; i < known; i++) {
    int which = (i * 67 + 5) % known;
    seekdir(directory, at[which]);
    entry = readdir(directory);
    bad += entry == NULL || strcmp(entry->d_name, names[which]) != 0;
  }
  printf("seekdir: %d bad\n", bad);
}

static void many(long n) {
  char name[300];
  DIR *directory = opendir("many"), *other = opendir("many");
  if (directory == NULL || other == NULL || chdir("many") != 0) die("many");
  long count = listed("merged", directory);
  places(directory, count);
  rewinddir(directory);
  listed("from the beginning", directory);
  /* Names that come and go while somebody reads: those that stay are seen once. */
  rewinddir(directory);
  struct dirent *entry;
  long seen = 0, strange = 0;
  uint64_t sum = 0;
  for (long i = 0; (entry = readdir(directory)) != NULL; i++) {
    if (is_dot(entry)) continue;
    long number = atol(entry->d_name + strcspn(entry->d_name, "0123456789"));
    if (entry->d_name[0] == 'n') continue; /* made below: seen or not */
    if (number % 10 < 5) {
      seen++;
      sum += hash_of(entry->d_name, strlen(entry->d_name), 0);
      strange += unlinkat(dirfd(directory), entry->d_name, entry->d_type == DT_DIR ? AT_REMOVEDIR : 0) != 0;
    }
    if (i % 50 == 0) {
      sprintf(name, "new%ld", i);
      touch(name);
    }
  }
  printf("removed while read: %ld %016llx, %ld refused\n", seen, (unsigned long long)sum, strange);
  for (long i = 0; i < n * 2; i += 50) {
    sprintf(name, "new%ld", i);
    unlink(name);
  }
  listed("one that was opened before and not read", other);
  rewinddir(directory);
  long left = listed("what is left", directory);
  seen = 0;
  rewinddir(directory);
  while ((entry = readdir(directory)) != NULL) {
    if (is_dot(entry)) continue;
    if (seen++ > 2 * left) die("names without end");
    if (entry->d_name[0] == 'm' || atol(entry->d_name + strcspn(entry->d_name, "0123456789")) % 3 != 0) continue;
    sprintf(name, "moved%s", entry->d_name);
    if (rename(entry->d_name, name) != 0) die(name);
  }
  rewinddir(directory);
  listed("a third has other names", directory);
  if (chdir("..") != 0) die("..");
  say("not empty", rmdir("many"));
  rewinddir(directory);
  while ((entry = readdir(directory)) != NULL)
    if (!is_dot(entry) && unlinkat(dirfd(directory), entry->d_name, 0) != 0) die(entry->d_name);
  rewinddir(directory);
  listed("nothing", directory);
  say("empty", rmdir("many"));
  rewinddir(other);
  listed("removed", other);
  closedir(directory), closedir(other);
}

static int by_name(const void *one, const void *other) { return strcmp(*(char *const *)one, *(char *const *)other); }

/* Size, and a hash of all pages that are not zeroes: whether those are holes a file system may say in one way today and in another tomorrow. */
static void content(const char *name) {
  static const char zeroes[PAGE];
  uint64_t hash = 1;
  int fd = need(name, O_RDONLY);
  for (off_t at = 0; (at = lseek(fd, at, SEEK_DATA)) >= 0;) {
    off_t end = lseek(fd, at, SEEK_HOLE);
    for (at -= at % PAGE; at < end; at += PAGE) {
      long got = pread(fd, data, PAGE, at);
      if (got <= 0) die("pread");
      if (memcmp(data, zeroes, (size_t)got) != 0) hash = hash_of(data, (size_t)got, hash + (uint64_t)at);
    }
  }
  printf("%016llx ", (unsigned long long)hash);
  size_of(name, fd);
  close(fd);
}

/* Every file here. */
static void show(void) {
  DIR *directory = opendir(".");
  char *names[100];
  int count = 0;
  struct dirent *entry;
  while ((entry = readdir(directory)) != NULL && count < 100)
    if (!is_dot(entry) && entry->d_type == DT_REG) names[count++] = strdup(entry->d_name);
  qsort(names, (size_t)count, sizeof *names, by_name);
  for (int i = 0; i < count; i++) content(names[i]);
  closedir(directory);
}

int main(int argc, char **argv) {
  if (argc != 4 || chdir(argv[2]) != 0) {
    fprintf(stderr, "data: %s\n", argc == 4 ? argv[2] : "three arguments are wanted");
    return 2;
  }
  if (posix_memalign((void **)&data, PAGE, ROOM + PAGE) != 0) return 2;
  umask(022);
  const struct { const char *name; void (*run)(void); } scenarios[] = {
      {"direct", direct}, {"seek", seek}, {"huge", huge}, {"far", far}, {"map", map}, {"allocate", allocate}, {"copy", copy}, {"show", show},
  };
  long n = atol(argv[3]);
  if (strcmp(argv[1], "make") == 0) return make(n), 0;
  if (strcmp(argv[1], "change") == 0) return change(n), 0;
  if (strcmp(argv[1], "many") == 0) return many(n), 0;
  for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++)
    if (strcmp(scenarios[i].name, argv[1]) == 0) return scenarios[i].run(), 0;
  return 2;
}
