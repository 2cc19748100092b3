/* Is there room for Node? It waits for ever when one of its threads cannot be made. */
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "replay.h"

/* Beside its first thread Node has six: four workers of V8, one for timers, one for signals. libuv has four more for files, names and
 * compression, and ends the process when it cannot make them. */
enum { TASKS = 10, STACK = 2048 };

static char stacks[TASKS][STACK] __attribute__((aligned(16)));
static int gate;

static int wait_at_gate(void *unused) {
  (void)unused;
  syscall(SYS_futex, &gate, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
  return 0;
}

int tasks_try(void) {
  enum { FLAGS = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM };
  int error = 0;
  for (int made = 0; made < TASKS && error == 0; made++)
    if (clone(wait_at_gate, stacks[made] + STACK, FLAGS, NULL) < 0) error = errno;
  __atomic_store_n(&gate, 1, __ATOMIC_SEQ_CST);
  syscall(SYS_futex, &gate, FUTEX_WAKE_PRIVATE, TASKS, NULL, NULL, 0);
  return error;
}
