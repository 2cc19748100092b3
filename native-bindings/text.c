/* Texts of a plan as C strings. A literal is used where it lies; a template is put together with its holes filled. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "channel.h"
#include "format.h"
#include "run.h"

struct scratch {
  struct scratch *next;
  size_t size;
};

/* Pages of their own: steps that need this are rare, and the monitor gives everything back. */
void *scratch(struct run *run, size_t size) {
  if (size > SIZE_MAX - sizeof(struct scratch)) return NULL;
  size += sizeof(struct scratch);
  struct scratch *block = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (block == MAP_FAILED) return NULL;
  block->next = run->scratch;
  block->size = size;
  run->scratch = block;
  return block + 1;
}

void scratch_free(struct run *run) {
  while (run->scratch != NULL) {
    struct scratch *block = run->scratch;
    run->scratch = block->next;
    munmap(block, block->size);
  }
}

enum { HOLE_SIZE = 32 };

static int fill_hole(struct run *run, i64 hole, char value[HOLE_SIZE]) {
  struct out out = out_start(value, HOLE_SIZE);
  struct timespec time;
  if (hole == HOLE_NOW) {
    clock_gettime(CLOCK_REALTIME, &time);
    format_time(value, &time);
    value[TIME_LENGTH] = 0;
    return 0;
  }
  if (hole == HOLE_PID && run->pid == -1) {
    int error = channel_ask_pid(run);
    if (error != 0) return error;
  }
  put_number(&out, hole == HOLE_PID ? run->pid : hole == HOLE_MONITOR ? run->monitor_pid : run->exit_code);
  return 0;
}

/* Length of a template when filled, or the filling itself when there is a place for it. */
static int template(struct run *run, const struct arg *arg, char *to, size_t *length) {
  struct reader reader = {.at = arg->bytes, .end = run->plan->bytes + run->plan->size, .bad = false};
  size_t total = 0;
  for (u32 index = 0; index < arg->count; index++) {
    struct arg part;
    char value[HOLE_SIZE];
    plan_part(&reader, &part);
    const char *bytes = (const char *)part.bytes;
    size_t size = part.count;
    if (part.letter == 'h') {
      int error = fill_hole(run, part.number, value);
      if (error != 0) return error;
      bytes = value;
      size = strlen(value);
    }
    if (to != NULL) memcpy(to + total, bytes, size);
    total += to == NULL && part.letter == 'h' ? HOLE_SIZE : size;
  }
  *length = total;
  return 0;
}

int text_bytes(struct run *run, const struct arg *arg, const char **bytes, size_t *length) {
  if (arg->letter == 't') {
    *bytes = (const char *)arg->bytes;
    *length = arg->count;
    return 0;
  }
  size_t bound;
  int error = template(run, arg, NULL, &bound);
  if (error != 0) return error;
  char *to = scratch(run, bound + 1);
  if (to == NULL) return ENOMEM;
  error = template(run, arg, to, length);
  to[*length] = 0;
  *bytes = to;
  return error;
}

int text_string(struct run *run, const struct arg *arg, const char **string) {
  size_t length;
  int error = text_bytes(run, arg, string, &length);
  return error != 0 ? error : memchr(*string, 0, length) != NULL ? EINVAL : 0;
}

int text_vector(struct run *run, const struct arg *arg, char ***vector) {
  char **strings = scratch(run, ((size_t)arg->count + 1) * sizeof(char *));
  if (strings == NULL) return ENOMEM;
  struct reader reader = {.at = arg->bytes, .end = run->plan->bytes + run->plan->size, .bad = false};
  for (u32 index = 0; index < arg->count; index++) {
    struct arg element;
    const char *string;
    plan_text(&reader, &element);
    int error = text_string(run, &element, &string);
    if (error != 0) return error;
    /* execve's parameter type predates const; nothing writes to the strings. */
    memcpy(&strings[index], &string, sizeof string);
  }
  strings[arg->count] = NULL;
  *vector = strings;
  return 0;
}
