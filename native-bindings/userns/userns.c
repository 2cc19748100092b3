/* Runs a command as root of a new user namespace with a mount namespace of its own: what an ordinary user's tsbox does with files that
 * belong to his subordinate ids. Its caller has decided everything.
 *
 *   tsbox-userns UIDS GIDS COMMAND [ARGUMENT...]
 *   tsbox-userns join PID COMMAND [ARGUMENT...]     in the user namespace of that process, and a mount namespace of its own
 *   tsbox-userns fuse PID DIRECTORY TARGET COMMAND [ARGUMENT...]
 *       mounts FUSE on TARGET in the mount namespace of that process, as root of its user namespace. COMMAND, which serves it by its descriptor
 *       4, is in that user namespace, in a mount namespace of its own, and stands in DIRECTORY
 *   tsbox-userns overlay DIRECTORY     tries an overlay of what is in it: lower, upper, work. The exit code is how the kernel refuses it, 0 if not
 *
 * UIDS and GIDS are maps as /proc/PID/uid_map has them, numbers separated by blanks: `0 1000 1 1 100000 65536`. A map of one line is
 * written as it is; more lines are written by newuidmap(1) and newgidmap(1), which may do that for whoever has the ids. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { EXIT_FAILED = 125, NUMBERS_MAX = 3 * 340, DEVICE = 4 };

static _Noreturn void fail(const char *what) {
  fprintf(stderr, "tsbox-userns: %s: %s\n", what, strerror(errno));
  exit(EXIT_FAILED);
}

static void write_file(const char *path, const char *text) {
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0 || write(fd, text, strlen(text)) < 0) fail(path);
  close(fd);
}

static int count_numbers(const char *map) {
  int count = 0;
  for (; *map != 0; map++) count += *map != ' ' && (map[1] == ' ' || map[1] == 0);
  return count;
}

/* newuidmap PID NUMBER... */
static _Noreturn void run_helper(const char *helper, pid_t pid, char *map) {
  char *arguments[NUMBERS_MAX + 3];
  char number[16];
  int count = 0;
  snprintf(number, sizeof number, "%d", (int)pid);
  arguments[count++] = (char[]){"map"};
  arguments[count++] = number;
  for (char *word = strtok(map, " "); word != NULL && count < NUMBERS_MAX + 2; word = strtok(NULL, " ")) arguments[count++] = word;
  arguments[count] = NULL;
  execvp(helper, arguments);
  fail(helper);
}

/* Waits for `go` in the namespace of the caller, then writes both maps of `pid`. */
static _Noreturn void write_maps(int go, pid_t pid, char *maps[2]) {
  static const char *const helpers[2] = {"newuidmap", "newgidmap"};
  char byte;
  if (read(go, &byte, 1) != 1) exit(EXIT_FAILED);
  for (int index = 0; index < 2; index++) {
    int status;
    pid_t child = fork();
    if (child < 0) fail("fork");
    if (child == 0) run_helper(helpers[index], pid, maps[index]);
    if (waitpid(child, &status, 0) != child || status != 0) exit(EXIT_FAILED);
  }
  exit(0);
}

static _Noreturn void execute(char **command) {
  execvp(command[0], command);
  fail(command[0]);
}

static void become_root(void) {
  if (setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0) fail("become root of the namespace");
}

static int open_namespace(const char *pid, const char *name) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%s/ns/%s", pid, name);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail(path);
  return fd;
}

static _Noreturn void join(const char *pid, char **command) {
  if (setns(open_namespace(pid, "user"), CLONE_NEWUSER) < 0) fail("join user namespace");
  if (unshare(CLONE_NEWNS) < 0) fail("unshare mount namespace");
  become_root();
  execute(command);
}

/* The device is opened there too: the kernel asks that it is of the user namespace that mounts. In a mount namespace of its own the command
 * keeps nothing of the other one, and nothing of it keeps the mount. */
static _Noreturn void serve_fuse(const char *pid, const char *directory, const char *target, char **command) {
  pid_t parent = getppid();
  int mounts = open_namespace(pid, "mnt");
  if (setns(open_namespace(pid, "user"), CLONE_NEWUSER) < 0) fail("join user namespace");
  if (setns(mounts, CLONE_NEWNS) < 0) fail("join mount namespace");
  become_root();
  int device = open("/dev/fuse", O_RDWR | O_CLOEXEC);
  if (device < 0) fail("/dev/fuse");
  if (device == DEVICE ? fcntl(device, F_SETFD, 0) < 0 : dup2(device, DEVICE) < 0) fail("/dev/fuse");
  const char *options = "fd=4,rootmode=40000,user_id=0,group_id=0,default_permissions,allow_other";
  if (mount("tsbox-union", target, "fuse.tsbox-union", 0, options) < 0) fail("mount FUSE");
  if (unshare(CLONE_NEWNS) < 0) fail("unshare mount namespace");
  if (mount("", "/", "", MS_REC | MS_PRIVATE, "") < 0) fail("keep mounts private");
  if (chdir(directory) < 0) fail(directory);
  /* Asked for by whoever has started this; a change of credentials may have taken it away. */
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent) exit(EXIT_FAILED);
  if (setenv("TSBOX_UNION_IN_BACKGROUND", "1", 1) < 0) fail("setenv");
  execute(command);
}

static void own_namespace(void) {
  char uids[32], gids[32];
  snprintf(uids, sizeof uids, "0 %u 1", (unsigned)geteuid());
  snprintf(gids, sizeof gids, "0 %u 1", (unsigned)getegid());
  if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0) fail("unshare user namespace");
  write_file("/proc/self/setgroups", "deny");
  write_file("/proc/self/uid_map", uids);
  write_file("/proc/self/gid_map", gids);
}

/* Its mount goes with this process. */
static int try_overlay(const char *directory) {
  own_namespace();
  if (chdir(directory) < 0) fail(directory);
  if (mount("", "/", "", MS_REC | MS_PRIVATE, "") < 0) fail("keep mounts private");
  if (mount("overlay", "lower", "overlay", 0, "userxattr,lowerdir=lower,upperdir=upper,workdir=work") == 0) return 0;
  return errno < EXIT_FAILED ? errno : EXIT_FAILED;
}

int main(int argc, char **argv) {
  if (argc == 3 && strcmp(argv[1], "overlay") == 0) return try_overlay(argv[2]);
  if (argc < 4) {
    fprintf(stderr, "usage: tsbox-userns UIDS GIDS COMMAND [ARGUMENT...]\n");
    return EXIT_FAILED;
  }
  if (strcmp(argv[1], "join") == 0) join(argv[2], argv + 3);
  if (strcmp(argv[1], "fuse") == 0 && argc > 5) serve_fuse(argv[2], argv[3], argv[4], argv + 5);
  int ends[2];
  int status = 0;
  pid_t self = getpid();
  if (pipe2(ends, O_CLOEXEC) < 0) fail("pipe");
  pid_t helper = count_numbers(argv[1]) > 3 ? fork() : 0;
  if (helper < 0) fail("fork");
  if (helper == 0 && count_numbers(argv[1]) > 3) {
    prctl(PR_SET_PDEATHSIG, 9);
    close(ends[1]);
    write_maps(ends[0], self, &argv[1]);
  }
  if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0) fail("unshare user namespace");
  if (helper == 0) {
    write_file("/proc/self/setgroups", "deny");
    write_file("/proc/self/uid_map", argv[1]);
    write_file("/proc/self/gid_map", argv[2]);
  } else if (write(ends[1], "x", 1) != 1 || waitpid(helper, &status, 0) != helper || status != 0) {
    return EXIT_FAILED; /* the helper has said why */
  }
  become_root();
  execute(argv + 3);
}
