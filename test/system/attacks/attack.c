/* What a process in a container tries, by the name in its first argument. Each prints what it got, an errno's name for what was refused. Static,
 * so that it runs in any image. Used by escapes-*.test.ts. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

static const char *outcome(long result) { return result < 0 ? strerrorname_np(errno) : "ok"; }

static void say(const char *what, long result) {
  printf("%s %s\n", what, outcome(result));
  fflush(stdout);
}

/* exe PATH: whatever would change a program for the next start. */
static void spoil(const char *path) {
  char link[64];
  struct stat status;
  int fd = open(path, O_PATH | O_CLOEXEC);
  if (fd < 0) {
    say("open", fd);
    return;
  }
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  stat(link, &status);
  say("chmod", chmod(link, status.st_mode & 07777));
  say("chown", chown(link, status.st_uid, status.st_gid));
  say("setxattr", setxattr(link, "trusted.attack", "x", 1, 0));
  say("truncate", truncate(link, status.st_size));
  int writer = open(link, O_WRONLY | O_CLOEXEC);
  say("write", writer < 0 ? writer : pwrite(writer, "", 0, 0));
  /* {attr_set, attr_clr, propagation, userns_fd}: without MOUNT_ATTR_RDONLY */
  unsigned long long attr[4] = {0, 1, 0, 0};
  say("mount_setattr", syscall(SYS_mount_setattr, AT_FDCWD, link, 0, attr, sizeof attr));
  say("remount", mount("", link, "", MS_BIND | MS_REMOUNT, ""));
  if (writer >= 0) close(writer);
  close(fd);
}

static void name_of(int pid, char name[32]) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/comm", pid);
  int fd = open(path, O_RDONLY);
  ssize_t length = fd < 0 ? -1 : read(fd, name, 31);
  if (fd >= 0) close(fd);
  name[length < 1 ? 0 : length - 1] = 0;
}

static long try_open(int pid, const char *file, int flags) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/%s", pid, file);
  int fd = open(path, flags | O_CLOEXEC);
  if (fd >= 0) close(fd);
  return fd;
}

/* A process that has only just come, stopped before it is the command. */
static void examine(int pid) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/exe", pid);
  puts("caught");
  say("ptrace", ptrace(PTRACE_SEIZE, pid, 0, 0));
  ptrace(PTRACE_DETACH, pid, 0, 0);
  say("environ", try_open(pid, "environ", O_RDONLY));
  say("mem", try_open(pid, "mem", O_RDWR));
  say("fd", try_open(pid, "fd/0", O_RDONLY | O_NONBLOCK));
  say("root", try_open(pid, "root/", O_RDONLY | O_DIRECTORY));
  spoil(path);
  char status[4096] = "";
  snprintf(path, sizeof path, "/proc/%d/status", pid);
  int fd = open(path, O_RDONLY);
  if (fd >= 0 && read(fd, status, sizeof status - 1) > 0) {
    const char *effective = strstr(status, "CapEff:");
    if (effective != NULL) printf("capabilities %.16s\n", effective + 8);
  }
  fflush(stdout);
}

/* ambush SECONDS: stops the next process of this PID namespace as soon as there is one. Some have come and gone while this one had to
 * wait for a processor: so the next may have a somewhat higher number. */
static void ambush(int seconds) {
  time_t end = time(NULL) + seconds;
  puts("ready");
  fflush(stdout);
  for (int next = getpid() + 1, missed = 0; time(NULL) < end;) {
    char name[32];
    if (kill(next + missed, SIGSTOP) < 0) {
      missed = (missed + 1) % 16;
      continue;
    }
    next += missed;
    missed = 0;
    for (int tries = 0; tries < 100000; tries++) {
      char path[64], state[256] = "";
      snprintf(path, sizeof path, "/proc/%d/stat", next);
      int fd = open(path, O_RDONLY);
      if (fd < 0 || read(fd, state, sizeof state - 1) < 0) state[0] = 0;
      if (fd >= 0) close(fd);
      char *at = strrchr(state, ')');
      if (at == NULL || at[2] == 'T' || at[2] == 'Z') break;
    }
    name_of(next, name);
    if (strcmp(name, "tsbox-executor") == 0) examine(next);
    kill(next, SIGCONT);
    next++;
  }
}

/* fds: what is open beside the standard streams and the directory that is being read. */
static void descriptors(void) {
  for (int fd = 3; fd < 4096; fd++) {
    char path[32], target[256];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(path, target, sizeof target - 1);
    if (length >= 0) printf("%d %.*s\n", fd, (int)length, target);
  }
}

/* handle PATH: the file of the host's that has inode number INODE, by way of PATH that lies on the same file system. */
static void handle(const char *path, const char *hex) {
  struct {
    struct file_handle head;
    unsigned char bytes[128];
  } file;
  size_t length = strlen(hex) / 2;
  for (size_t index = 0; index < length - 4; index++) sscanf(hex + 8 + 2 * index, "%2hhx", &file.bytes[index]);
  sscanf(hex, "%8x", (unsigned *)&file.head.handle_type);
  file.head.handle_bytes = (unsigned)length - 4;
  memcpy(file.head.f_handle, file.bytes, length - 4);
  int mount = open(path, O_RDONLY);
  int fd = open_by_handle_at(mount, &file.head, O_RDONLY);
  char text[64] = "";
  say("open_by_handle_at", fd);
  if (fd >= 0 && read(fd, text, sizeof text - 1) > 0) puts(text);
}

/* name PATH: prints the handle of a file as `handle` takes it. */
static void handle_of(const char *path) {
  union {
    struct file_handle head;
    unsigned char room[sizeof(struct file_handle) + 128];
  } file = {.head.handle_bytes = 128};
  int mount_id;
  if (name_to_handle_at(AT_FDCWD, path, &file.head, &mount_id, 0) < 0) {
    say("name_to_handle_at", -1);
    return;
  }
  printf("%08x", (unsigned)file.head.handle_type);
  for (unsigned index = 0; index < file.head.handle_bytes; index++) printf("%02x", file.head.f_handle[index]);
  puts("");
}

enum { KEY_SESSION = -3, KEY_USER = -4, KEYCTL_READ = 11, KEYCTL_SEARCH = 10, KEYCTL_JOIN = 1 };

/* keys NAME: a key of that name in the session's or the user's keyring. */
static void keys(const char *name) {
  char text[64] = "";
  for (int ring = KEY_SESSION; ring >= KEY_USER; ring--) {
    long key = syscall(SYS_keyctl, KEYCTL_SEARCH, ring, "user", name, 0);
    say(ring == KEY_SESSION ? "session" : "user", key);
    if (key > 0 && syscall(SYS_keyctl, KEYCTL_READ, key, text, sizeof text - 1) > 0) puts(text);
  }
}

/* keep NAME VALUE COMMAND...: a session with such a key. */
static void keep_key(const char *name, const char *value, char **command) {
  if (syscall(SYS_keyctl, KEYCTL_JOIN, NULL) < 0 || syscall(SYS_add_key, "user", name, value, strlen(value), KEY_SESSION) < 0) {
    say("key", -1);
    exit(1);
  }
  execv(command[0], command);
}

/* type TEXT: as if it had been typed, on each terminal there may be. */
static void type(const char *text) {
  const char *places[] = {"/dev/stdin", "/dev/stdout", "/dev/stderr", "/dev/tty", "/dev/console"};
  for (size_t place = 0; place < sizeof places / sizeof places[0]; place++) {
    int fd = open(places[place], O_RDONLY | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
      say(places[place], fd);
      continue;
    }
    long result = 0;
    for (const char *at = text; *at != 0 && result == 0; at++) result = ioctl(fd, TIOCSTI, at);
    say(places[place], result);
    close(fd);
  }
}

/* disk MAJOR MINOR: makes the node of a block device and reads from it. */
static void disk(int major_number, int minor_number) {
  char byte;
  unlink("/disk");
  long made = mknod("/disk", S_IFBLK | 0600, makedev((unsigned)major_number, (unsigned)minor_number));
  say("mknod", made);
  int fd = open("/disk", O_RDONLY);
  say("open", fd);
  if (fd >= 0) say("read", read(fd, &byte, 1));
}

/* swap DIRECTORY LINK: one name is the one and the other in turn, until it is killed. */
static void swap(const char *one, const char *other) {
  for (;;) syscall(SYS_renameat2, AT_FDCWD, one, AT_FDCWD, other, 2 /* RENAME_EXCHANGE */);
}

int main(int argc, char **argv) {
  const char *what = argc > 1 ? argv[1] : "";
  if (strcmp(what, "exe") == 0) spoil(argv[2]);
  else if (strcmp(what, "ambush") == 0) ambush(atoi(argv[2]));
  else if (strcmp(what, "fds") == 0) descriptors();
  else if (strcmp(what, "handle") == 0) handle(argv[2], argv[3]);
  else if (strcmp(what, "name") == 0) handle_of(argv[2]);
  else if (strcmp(what, "keys") == 0) keys(argv[2]);
  else if (strcmp(what, "keep") == 0) keep_key(argv[2], argv[3], argv + 4);
  else if (strcmp(what, "type") == 0) type(argv[2]);
  else if (strcmp(what, "disk") == 0) disk(atoi(argv[2]), atoi(argv[3]));
  else if (strcmp(what, "swap") == 0) swap(argv[2], argv[3]);
  else return 2;
  return 0;
}
