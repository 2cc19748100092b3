/* Runs a command and refuses new processes, to it and to all that come from it: EAGAIN, as where no more may be made. Threads are let
 * pass. What is asked for is written to REPORT, a line each: its number, "made" or "refused", the name of who asks.
 *
 *   few-forks one|from NUMBER REPORT COMMAND [ARGUMENT...]
 *
 * `one` refuses that one alone, counted from 1, `from` it and all later ones; 0 none. The answers come from a process in the background
 * that ends with the last who can ask. @see seccomp_unotify(2) */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static _Noreturn void fail(const char *what) {
  perror(what);
  exit(99);
}

static int checked(long result, const char *what) {
  if (result < 0) fail(what);
  return (int)result;
}

#define SAME(value, then) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), (then), 0)
#define LOAD(member) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, member))

static int install(void) {
  struct sock_filter code[] = {
    LOAD(nr),
    SAME(SYS_clone3, 5),
#ifdef SYS_fork
    SAME(SYS_fork, 4),
    SAME(SYS_vfork, 3),
#else
    SAME(SYS_clone3, 4),
    SAME(SYS_clone3, 3),
#endif
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 3),
    LOAD(args[0]),
    BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CLONE_THREAD, 1, 0),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog program = {sizeof code / sizeof *code, code};
  return checked(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program), "seccomp");
}

/* The first of clone3's arguments are its flags, in memory of who calls. */
static int is_thread(const struct seccomp_notif *asked) {
  char path[64];
  unsigned long long flags = 0;
  if (asked->data.nr != SYS_clone3) return 0;
  snprintf(path, sizeof path, "/proc/%u/mem", asked->pid);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  if (pread(fd, &flags, sizeof flags, (off_t)asked->data.args[0]) != sizeof flags) flags = 0;
  close(fd);
  return (flags & CLONE_THREAD) != 0;
}

static void tell(FILE *report, const struct seccomp_notif *asked, long number, int refused) {
  char path[64], name[32] = "?\n";
  snprintf(path, sizeof path, "/proc/%u/comm", asked->pid);
  FILE *comm = fopen(path, "re");
  if (comm != NULL && fgets(name, sizeof name, comm) == NULL) strcpy(name, "?\n");
  if (comm != NULL) fclose(comm);
  fprintf(report, "%ld %s %s", number, refused ? "refused" : "made", name);
  fflush(report);
}

static _Noreturn void answer(int listener, int only, long limit, FILE *report) {
  long number = 0;
  for (;;) {
    struct pollfd wait = {listener, POLLIN, 0};
    if (poll(&wait, 1, -1) < 0) continue;
    if ((wait.revents & POLLIN) == 0) exit(0);
    struct seccomp_notif asked;
    memset(&asked, 0, sizeof asked);
    if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &asked) < 0) continue; /* it was killed meanwhile */
    struct seccomp_notif_resp reply = {.id = asked.id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};
    if (!is_thread(&asked)) {
      number++;
      int refused = limit > 0 && (only ? number == limit : number >= limit);
      if (refused) reply = (struct seccomp_notif_resp){.id = asked.id, .error = -EAGAIN};
      tell(report, &asked, number, refused);
    }
    ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &reply);
  }
}

int main(int argc, char **argv) {
  int told[2], taken[2], listener;
  char byte;
  if (argc < 5) return 99;
  FILE *report = fopen(argv[3], "we");
  if (report == NULL || pipe2(told, O_CLOEXEC) < 0 || pipe2(taken, O_CLOEXEC) < 0) fail("begin");
  pid_t self = getpid(), between = checked(fork(), "fork");
  if (between == 0) {
    if (checked(fork(), "fork") > 0) _exit(0);
    setsid();
    int null = open("/dev/null", O_RDWR);
    for (int fd = 0; fd < 3; fd++) dup2(null, fd);
    if (chdir("/") < 0 || read(told[0], &listener, sizeof listener) != sizeof listener) _exit(1);
    int process = (int)syscall(SYS_pidfd_open, self, 0);
    listener = (int)syscall(SYS_pidfd_getfd, process, listener, 0);
    if (listener < 0 || write(taken[1], "", 1) != 1) _exit(1);
    answer(listener, strcmp(argv[1], "one") == 0, strtol(argv[2], NULL, 10), report);
  }
  waitpid(between, NULL, 0);
  close(taken[1]);
  listener = install();
  if (write(told[1], &listener, sizeof listener) != sizeof listener || read(taken[0], &byte, 1) != 1) fail("give the listener away");
  execvp(argv[4], argv + 4);
  fail(argv[4]);
}
