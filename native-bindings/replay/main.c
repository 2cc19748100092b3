/* tsbox-replay [--tasks | --node] COMMAND -- MAIN WORDS...
 *
 * Does what the words `exec ...` ask for, if there is a plan for that, and else becomes the command: Node. With --tasks, where there is
 * little room for its threads, it tries before whether there is enough; with --node it does nothing but that and the command. See
 * README.md. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "replay.h"

enum { EXIT_START = 125 };

static void make_id(char id[ID_DIGITS + 1]) {
  static const char digits[] = "0123456789abcdef";
  u8 bytes[ID_DIGITS / 2];
  if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes) abort();
  for (size_t at = 0; at < sizeof bytes; at++) {
    id[2 * at] = digits[bytes[at] >> 4];
    id[2 * at + 1] = digits[bytes[at] & 15];
  }
  id[ID_DIGITS] = 0;
}

static bool is_for(const struct kept *kept, const struct call *call) {
  bool container = strcmp(kept->container, call->container) == 0 || strcmp(kept->name, call->container) == 0;
  return container && strcmp(kept->user, call->user) == 0;
}

/* Up to here nothing has happened that anybody could see. */
static bool prepare(struct launch *launch, struct kept *kept, const struct call *call) {
  char id[ID_DIGITS + 1];
  size_t size;
  char *bytes = kept_read(call->container, call->user[0] == 0, &size);
  if (bytes == NULL || !kept_parse(kept, bytes, size) || !is_for(kept, call) || !facts_hold(kept)) return false;
  make_id(id);
  fill_id(kept, id);
  u8 *plan = fill_call(kept, call, &size);
  return plan != NULL && launch_prepare(launch, kept, plan, size) == 0;
}

static bool has_streams(void) {
  for (int fd = 0; fd < 3; fd++)
    if (fcntl(fd, F_GETFD) < 0) return false;
  return true;
}

static bool tries_tasks;

static int complain(const char *text) {
  ssize_t written = write(STDERR_FILENO, text, strlen(text));
  (void)written;
  return EXIT_START;
}

static int become(char **words) {
  if (tries_tasks && tasks_try() == EAGAIN)
    return complain("tsbox: start Node: EAGAIN (Resource temporarily unavailable)\n"
                    "hint: It needs eleven threads, and there is no room for them: raise pids.max of this cgroup or the limit of "
                    "processes (ulimit -u), or end something.\n");
  execv(words[0], words);
  return complain("tsbox-replay: Node cannot be started\n");
}

/* Errors are numbers here. Node knows the texts. `before`: how many words the command and MAIN are. */
static int explain(char **node, size_t before, const struct call *call, char *report) {
  char verb[] = "exec-failed", none[] = "{}";
  char **container = call->words - 1;
  size_t flags = (size_t)(container - call->all), count = 0;
  while (container[count] != NULL) count++;
  char **words = calloc(before + flags + count + 3, sizeof *words);
  if (words == NULL) return EXIT_START;
  memcpy(words, node, before * sizeof *words);
  words[before] = verb;
  memcpy(words + before + 1, call->all, flags * sizeof *words);
  words[before + 1 + flags] = report[0] == 0 ? none : report;
  memcpy(words + before + 2 + flags, container, count * sizeof *words);
  return become(words);
}

/* What stands behind MAIN; nothing does where there is no MAIN. */
static char **words_behind(char **node) {
  while (*node != NULL && strcmp(*node, "--") != 0) node++;
  return node[0] == NULL || node[1] == NULL ? NULL : node + 2;
}

int main(int argc, char **argv) {
  struct call call;
  struct kept kept;
  struct launch launch;
  struct end end;
  bool node_alone = argc > 1 && strcmp(argv[1], "--node") == 0;
  tries_tasks = node_alone || (argc > 1 && strcmp(argv[1], "--tasks") == 0);
  char **node = argv + (tries_tasks ? 2 : 1);
  if (argv + argc <= node) return EXIT_START;
  char **words = node_alone ? NULL : words_behind(node);
  if (words == NULL || *words == NULL || strcmp(*words, "exec") != 0 || !has_streams()) return become(node);
  if (!call_parse(&call, words + 1)) return become(node);
  bool typed = call.tty && call.input && !call.detach;
  call.own = typed && isatty(STDIN_FILENO);
  if ((typed && !call.own) || !prepare(&launch, &kept, &call)) return become(node);
  if (!call.detach) hold_signals(&call);
  launch_tell(&launch, &kept, call.words);
  if (launch_start(&launch) != 0) {
    if (!call.detach) release_signals();
    return become(node);
  }
  serve(launch.ours, &call, &end);
  if (end.failed) {
    if (!call.detach) release_signals();
    return explain(node, (size_t)(words - node), &call, end.report);
  }
  return call.detach ? 0 : end.code;
}
