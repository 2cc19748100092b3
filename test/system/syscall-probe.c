/* What the kernel says to every system call with arguments that none can use: a line "NUMBER ERRNO", or how the process ended.
 * Run in two containers it tells whether their filters are alike. usage: syscall-probe native|x32|i386 FROM TO */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { X32_BIT = 0x40000000 };

#if defined(__x86_64__)
static long by_i386(long number) {
  long result;
  /* A 32-bit call: addresses end at 4 GiB, so nothing of this process can be meant. */
  __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(-1), "c"(-1), "d"(-1), "S"(-1), "D"(-1) : "memory", "r8", "r9", "r10", "r11");
  if (result >= 0 || result < -4095) return result;
  errno = (int)-result;
  return -1;
}
#else
static long by_i386(long number) {
  (void)number;
  errno = ENOSYS;
  return -1;
}
#endif

/* In a child, for some calls do not come back. What it says goes through the exit status. */
static void probe(const char *way, long number) {
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    alarm(2);
    errno = 0;
    long result = strcmp(way, "i386") == 0 ? by_i386(number) : syscall(strcmp(way, "x32") == 0 ? number | X32_BIT : number, -1L, -1L, -1L, -1L, -1L, -1L);
    _exit(result == -1 ? errno : 0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  if (WIFSIGNALED(status)) printf("%ld signal %d\n", number, WTERMSIG(status));
  else printf("%ld %d\n", number, WEXITSTATUS(status));
}

int main(int count, char **args) {
  if (count != 4) return 2;
  for (long number = atol(args[2]); number <= atol(args[3]); number++) {
    int skipped = 0;
    /* Would end or stop more than the child: they are allowed anyway. */
    static const long skip[] = {SYS_exit, SYS_exit_group, SYS_fork, SYS_vfork, SYS_pause, SYS_rt_sigreturn, SYS_rt_sigsuspend, SYS_kill, SYS_sync};
    for (size_t at = 0; at < sizeof skip / sizeof *skip; at++) skipped |= strcmp(args[1], "i386") != 0 && number == skip[at];
    if (!skipped) probe(args[1], number);
  }
  return 0;
}
