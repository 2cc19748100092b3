/* tsbox-keeper with programs that are ready, fail, end and are killed; what is left must be nothing. */
#include <sys/mman.h>
#include <time.h>

#include "test.h"

int keeper_main(int argc, char **argv);
#define main keeper_main
#include "../keeper/keeper.c"
#undef main

enum { ANSWER = 4096 };

static char directory[] = "/tmp/tsbox-keeper-XXXXXX";
static char lock[64], pid_file[64];

static void nap(void) { nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL); }

/* Ten seconds are for a machine that is very busy. */
#define UNTIL(condition)                                             \
  do {                                                               \
    for (int tries = 0; !(condition) && tries < 2000; tries++) nap(); \
    CHECK(condition);                                                \
  } while (0)

static bool is_alive(pid_t pid) {
  char path[64], state = 0;
  snprintf(path, sizeof path, "/proc/%d/stat", pid);
  FILE *file = fopen(path, "r");
  if (file == NULL) return false;
  if (fscanf(file, "%*d (%*[^)]) %c", &state) != 1) state = 0;
  fclose(file);
  return state != 0 && state != 'Z' && state != 'X';
}

static bool is_locked(void) {
  int fd = open(lock, O_RDWR | O_CLOEXEC);
  if (fd < 0) return false;
  bool held = flock(fd, LOCK_EX | LOCK_NB) < 0;
  close(fd);
  return held;
}

/* The container's first process. */
static pid_t owner(void) {
  pid_t pid = fork();
  CHECK(pid >= 0);
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* a check that fails ends all */
    for (;;) pause();
  }
  return pid;
}

static void end(pid_t pid) {
  kill(pid, SIGKILL);
  CHECK(waitpid(pid, NULL, 0) == pid);
}

/* Runs it as the command that it is. Returns the exit code; what it printed is in `answer`. */
static int run(char *const *arguments, char *answer) {
  int ends[2], status;
  size_t length = 0;
  ssize_t got;
  CHECK(pipe2(ends, O_CLOEXEC) == 0);
  pid_t pid = fork();
  CHECK(pid >= 0);
  if (pid == 0) {
    int count = 0;
    while (arguments[count] != NULL) count++;
    dup2(ends[1], STDOUT_FILENO);
    close(ends[0]);
    close(ends[1]);
    _exit(keeper_main(count, (char **)(uintptr_t)arguments));
  }
  close(ends[1]);
  /* To its end: whoever stays behind must not hold it. */
  while (length < ANSWER - 1 && (got = read(ends[0], answer + length, ANSWER - 1 - length)) > 0) length += (size_t)got;
  answer[length] = 0;
  close(ends[0]);
  CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
  return WEXITSTATUS(status);
}

/* With a shell's script as the program. `ask` is a socket, or NULL. */
static int keeper(pid_t of, const char *script, char *ask_at, char *answer) {
  char number[16];
  snprintf(number, sizeof number, "%d", of);
  char *plain[] = {"tsbox-keeper", number, lock, "--", "sh", "-c", (char *)(uintptr_t)script, NULL};
  char *asking[] = {"tsbox-keeper", number, lock, "--ask", ask_at, "{\"execute\":\"x\"}", "--", "sh", "-c", (char *)(uintptr_t)script, NULL};
  return run(ask_at == NULL ? plain : asking, answer);
}

static pid_t program(void) {
  FILE *file = fopen(pid_file, "r");
  int pid = 0;
  CHECK(file != NULL && fscanf(file, "%d", &pid) == 1 && pid > 1);
  fclose(file);
  return pid;
}

static void test_ends(void) {
  char script[256], answer[ANSWER];
  snprintf(script, sizeof script, "echo $$ > %s; echo >&3; exec sleep 1000", pid_file);
  /* With the container. */
  pid_t of = owner();
  CHECK(keeper(of, script, NULL, answer) == 0 && answer[0] == 0);
  pid_t carrier = program();
  CHECK(is_alive(carrier) && is_locked());
  char *wait[] = {"tsbox-keeper", "--wait", lock, NULL};
  end(of);
  CHECK(run(wait, answer) == 0 && !is_alive(carrier));
  /* When the program is killed. */
  of = owner();
  CHECK(keeper(of, script, NULL, answer) == 0);
  CHECK(kill(program(), SIGKILL) == 0);
  UNTIL(!is_locked());
  /* When it is killed itself: it is the parent of the program. */
  CHECK(keeper(of, script, NULL, answer) == 0);
  carrier = program();
  char path[64];
  int parent = 0;
  snprintf(path, sizeof path, "/proc/%d/stat", carrier);
  FILE *file = fopen(path, "r");
  CHECK(file != NULL && fscanf(file, "%*d (%*[^)]) %*c %d", &parent) == 1 && parent > 1);
  fclose(file);
  CHECK(kill(parent, SIGKILL) == 0);
  UNTIL(!is_alive(carrier) && !is_locked());
  /* The lock is nobody's but one's. */
  CHECK(keeper(of, script, NULL, answer) == 0);
  CHECK(keeper(of, script, NULL, answer) == 1 && strstr(answer, "take the lock: ") == answer);
  end(of);
  UNTIL(!is_locked());
  /* Who only looks whether somebody has it does not hinder. */
  pid_t looks = fork();
  CHECK(looks >= 0);
  int fd = open(lock, O_RDWR | O_CLOEXEC);
  if (looks == 0) {
    CHECK(flock(fd, LOCK_SH) == 0);
    nap();
    _exit(0);
  }
  close(fd);
  of = owner();
  CHECK(keeper(of, script, NULL, answer) == 0);
  end(looks);
  end(of);
  UNTIL(!is_locked());
}

static void test_failures(void) {
  char answer[ANSWER], *nobody[] = {"tsbox-keeper", "--wait", "/tmp/tsbox-no-such-lock", NULL}, *little[] = {"tsbox-keeper", "1", NULL};
  pid_t of = owner();
  CHECK(keeper(of, "echo one >&2; echo two >&2", NULL, answer) == 1 && strcmp(answer, "one;two\n") == 0);
  CHECK(keeper(of, "exit 3", NULL, answer) == 1 && strcmp(answer, "it ended without a word\n") == 0);
  CHECK(!is_locked());
  /* Much is said: the end of it is told. */
  CHECK(keeper(of, "i=0; while [ $i -lt 3000 ]; do echo $i; i=$((i+1)); done >&2", NULL, answer) == 1);
  CHECK(strlen(answer) == SHOWN + 1 && strstr(answer, ";2998;2999\n") != NULL);
  char number[16];
  snprintf(number, sizeof number, "%d", of);
  char *absent[] = {"tsbox-keeper", number, lock, "--", "/no/such/program", NULL};
  CHECK(run(absent, answer) == 1 && strcmp(answer, "execute /no/such/program: No such file or directory\n") == 0);
  end(of);
  CHECK(keeper(of, "echo >&3; exec sleep 1000", NULL, answer) == 1 && strstr(answer, "find the process of the container: ") == answer);
  CHECK(run(nobody, answer) == 0);
  CHECK(run(little, answer) == 1 && strstr(answer, "usage: ") == answer);
}

/* What it is asked is in `asked`, which the test shares with its server. */
static pid_t answering(const char *path, const char *answer, char *asked) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  unlink(path);
  strcpy(address.sun_path, path);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  CHECK(fd >= 0 && bind(fd, (const struct sockaddr *)&address, sizeof address) == 0 && listen(fd, 1) == 0);
  pid_t pid = fork();
  CHECK(pid >= 0);
  if (pid == 0) {
    int one = accept(fd, NULL, NULL);
    size_t length = 0;
    ssize_t got;
    while ((got = read(one, asked + length, 255 - length)) > 0) length += (size_t)got;
    if (write(one, answer, strlen(answer)) < 0) _exit(1);
    _exit(0);
  }
  close(fd);
  return pid;
}

static void test_asks(void) {
  char path[64], script[256], answer[ANSWER];
  snprintf(path, sizeof path, "%s/socket", directory);
  snprintf(script, sizeof script, "echo $$ > %s; echo >&3; exec sleep 1000", pid_file);
  char *asked = mmap(NULL, 256, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(asked != MAP_FAILED);
  pid_t of = owner(), server = answering(path, "{\"return\": {\"id\": 1}}", asked);
  CHECK(keeper(of, script, path, answer) == 0 && strcmp(asked, "{\"execute\":\"x\"}") == 0);
  end(server);
  pid_t carrier = program();
  end(of);
  UNTIL(!is_alive(carrier) && !is_locked());
  /* An error ends all of it. */
  of = owner();
  server = answering(path, "{\"error\": {\"desc\": \"in use\"}}", asked);
  CHECK(keeper(of, script, path, answer) == 1 && strcmp(answer, "{\"error\": {\"desc\": \"in use\"}}\n") == 0);
  end(server);
  UNTIL(!is_alive(program()) && !is_locked());
  /* Nobody is there. */
  unlink(path);
  CHECK(keeper(of, script, path, answer) == 1 && strstr(answer, "no answer") != NULL);
  UNTIL(!is_alive(program()) && !is_locked());
  end(of);
  CHECK(munmap(asked, 256) == 0);
}

int main(void) {
  CHECK(mkdtemp(directory) != NULL);
  snprintf(lock, sizeof lock, "%s/lock", directory);
  snprintf(pid_file, sizeof pid_file, "%s/pid", directory);
  test_ends();
  test_failures();
  test_asks();
  unlink(lock);
  unlink(pid_file);
  CHECK(rmdir(directory) == 0);
  puts("ok");
}
