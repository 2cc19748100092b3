/* Plans that are damaged in every way: whatever plan_check lets pass must be readable from end to end. The plan to begin with
 * has every operation of the table in it. The argument is the number of thousands of mutations. */
#include <time.h>

#include "ops.h"
#include "test.h"

enum { MOST = 1 << 16 };

struct plan_writer {
  u8 bytes[MOST];
  size_t length;
};

static void raw(struct plan_writer *writer, const void *bytes, size_t length) {
  CHECK(writer->length + length <= MOST);
  memcpy(writer->bytes + writer->length, bytes, length);
  writer->length += length;
}

static void number(struct plan_writer *writer, u64 value, size_t size) { raw(writer, &value, size); }

static void literal(struct plan_writer *writer, const char *text) {
  number(writer, 't', 1);
  number(writer, strlen(text), 4);
  raw(writer, text, strlen(text) + 1);
}

static void template(struct plan_writer *writer) {
  number(writer, 'T', 1);
  number(writer, 6, 4);
  literal(writer, "/a/");
  for (u64 hole = 0; hole < HOLES; hole++) {
    number(writer, 'h', 1);
    number(writer, hole, 2);
  }
  literal(writer, "");
}

static void argument(struct plan_writer *writer, char letter, u32 list) {
  if (letter == 't') {
    if (writer->length % 2 == 0) literal(writer, "/some/path");
    else template(writer);
    return;
  }
  number(writer, (u64)letter, 1);
  if (letter == 'i') number(writer, 0x1234567890, 8);
  else if (letter == 'l') number(writer, list, 4);
  else if (letter == 'b') number(writer, 8, 4), number(writer, 0x0102030405060708, 8);
  else if (letter == 'n') number(writer, 2, 4), number(writer, 1, 8), number(writer, 2, 8);
  else number(writer, 2, 4), literal(writer, "one"), template(writer);
}

static void step(struct plan_writer *writer, const struct op *op, u32 list) {
  size_t start = writer->length;
  number(writer, 0, 4);
  number(writer, op->number, 2);
  number(writer, strlen(op->letters), 1);
  number(writer, 1, 1);
  number(writer, ENOENT, 2);
  number(writer, 1 + op->number % 2, 2);
  for (const char *letter = op->letters; *letter != 0; letter++) argument(writer, *letter, list);
  u32 size = (u32)(writer->length - start - 4);
  memcpy(writer->bytes + start, &size, 4);
}

/* One list with each operation that may stand in it, from this one on: those with a list below them as long as there is one for each. */
static void list_for(struct plan_writer *writer, u8 role, u16 from, const u32 *nested) {
  size_t start = writer->length;
  u32 steps = 0;
  number(writer, 0, 4);
  for (u16 op = from; op_by_number(op) != NULL; op++) {
    if ((op_by_number(op)->roles & role) == 0) continue;
    bool has_list = strchr(op_by_number(op)->letters, 'l') != NULL;
    if (has_list && *nested == 0) continue;
    step(writer, op_by_number(op), *nested);
    if (has_list) nested++;
    steps++;
  }
  memcpy(writer->bytes + start, &steps, 4);
}

static void whole_plan(struct plan_writer *writer) {
  writer->length = 0;
  raw(writer, "TSBXPLAN", 8);
  number(writer, PLAN_VERSION, 4);
  number(writer, PLAN_TRACE, 4);
  /* spawn and last, last, outside, last, nothing: each list has one parent, which stands before it. */
  static const u32 below[][3] = {{2, 4}, {5}, {3}, {6}, {0}, {0}, {0}};
  static const u8 roles[] = {ROLE_FIRST, ROLE_HOST, ROLE_CHILD, ROLE_HOST, ROLE_HOST, ROLE_HOST, ROLE_HOST};
  number(writer, sizeof roles, 4);
  for (size_t list = 0; list < sizeof roles; list++) list_for(writer, roles[list], list < 4 ? 1 : 66, below[list]);
}

static size_t touch_text(struct run *run, const struct arg *arg) {
  const char *bytes;
  size_t length, sum = 0;
  if (text_bytes(run, arg, &bytes, &length) != 0) return 0;
  for (size_t at = 0; at <= length; at++) sum += (u8)bytes[at];
  return sum;
}

static size_t touch_argument(struct run *run, char letter, const struct arg *arg) {
  size_t sum = 0;
  char **vector;
  if (letter == 't') return touch_text(run, arg);
  if (letter == 's' && text_vector(run, arg, &vector) == 0)
    for (; *vector != NULL; vector++) sum += strlen(*vector);
  size_t size = letter == 'b' ? arg->count : letter == 'n' ? (size_t)arg->count * 8 : 0;
  for (size_t at = 0; at < size; at++) sum += arg->bytes[at];
  return sum;
}

/* Reads all of a plan as the executor would. */
static size_t touch(const struct plan *plan) {
  static struct run run;
  size_t sum = 0;
  run.plan = plan;
  for (u32 list = 0; list < plan->lists; list++) {
    u32 steps;
    struct reader reader = plan_list(plan, list, &steps);
    for (u32 index = 0; index < steps; index++) {
      struct step at;
      plan_step(&reader, &at);
      CHECK(!reader.bad);
      sum += plan_rule(&at, ENOENT);
      for (size_t arg = 0; at.op->letters[arg] != 0; arg++) sum += touch_argument(&run, at.op->letters[arg], &at.arg[arg]);
      scratch_free(&run);
    }
  }
  return sum;
}

static u64 seed = 88172645463325252;

static u32 random_below(u32 limit) {
  seed ^= seed << 13;
  seed ^= seed >> 7;
  seed ^= seed << 17;
  return (u32)((seed >> 16) % limit);
}

static size_t mutate(u8 *bytes, size_t length) {
  static const u64 telling[] = {0, 1, 2, 3, 4, 0x7f, 0x80, 0xff, 0xffff, 0x7fffffff, 0xffffffff, 0xfffffff0};
  u32 changes = 1 + random_below(4);
  for (u32 change = 0; change < changes; change++) {
    size_t at = random_below((u32)length);
    u32 way = random_below(4);
    if (way == 0) bytes[at] = (u8)random_below(256);
    else if (way == 1) bytes[at] ^= (u8)(1u << random_below(8));
    else if (way == 2 && at + 4 <= length) memcpy(bytes + at, &telling[random_below(12)], 4);
    else if (way == 3 && random_below(8) == 0) length = at + 1;
  }
  return length;
}

int main(int argc, char **argv) {
  static struct plan_writer writer;
  struct plan plan;
  struct plan_fault fault;
  int thousands = argc > 1 ? atoi(argv[1]) : 50;
  whole_plan(&writer);
  u8 *whole = exact(writer.bytes, writer.length);
  bool good = plan_check(&plan, whole, writer.length, &fault);
  if (!good) fprintf(stderr, "list %u step %u: %s\n", fault.list, fault.index, fault.detail);
  CHECK(good);
  CHECK(touch(&plan) > 0);
  CHECK(plan.role[2] == ROLE_CHILD && plan.role[3] == ROLE_HOST);
  for (size_t length = 0; length < writer.length; length++) {
    u8 *cut = exact(whole, length);
    CHECK(!plan_check(&plan, cut, length, &fault));
    free(cut);
  }
  size_t passed = 0;
  for (int round = 0; round < thousands * 1000; round++) {
    memcpy(writer.bytes, whole, writer.length);
    size_t length = mutate(writer.bytes, writer.length);
    u8 *damaged = exact(writer.bytes, length);
    if (plan_check(&plan, damaged, length, &fault)) passed += touch(&plan) > 0 ? 1 : 0;
    else CHECK(fault.error != 0 && fault.detail[0] != 0);
    free(damaged);
  }
  CHECK(passed > 0);
  free(whole);
  return 0;
}
