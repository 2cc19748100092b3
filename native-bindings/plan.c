/* Reading a plan. Every length is checked against what is left; the same functions check first and read later. */
#include "plan.h"

#include <string.h>

#include "format.h"
#include "ops.h"

static const u8 *take(struct reader *reader, size_t size) {
  if (reader->bad || (size_t)(reader->end - reader->at) < size) {
    reader->bad = true;
    return NULL;
  }
  const u8 *at = reader->at;
  reader->at += size;
  return at;
}

static void take_into(struct reader *reader, void *to, size_t size) {
  const u8 *from = take(reader, size);
  if (from == NULL) memset(to, 0, size);
  else memcpy(to, from, size);
}

static u8 take_u8(struct reader *reader) {
  u8 value;
  take_into(reader, &value, sizeof value);
  return value;
}

static u16 take_u16(struct reader *reader) {
  u16 value;
  take_into(reader, &value, sizeof value);
  return value;
}

static u32 take_u32(struct reader *reader) {
  u32 value;
  take_into(reader, &value, sizeof value);
  return value;
}

i64 plan_i64(struct reader *reader) {
  i64 value;
  take_into(reader, &value, sizeof value);
  return value;
}

static void literal(struct reader *reader, struct arg *arg) {
  arg->count = take_u32(reader);
  arg->bytes = take(reader, (size_t)arg->count + 1);
  if (arg->bytes != NULL && arg->bytes[arg->count] != 0) reader->bad = true;
}

void plan_part(struct reader *reader, struct arg *text) {
  text->letter = (char)take_u8(reader);
  if (text->letter == 't') {
    literal(reader, text);
  } else {
    text->number = take_u16(reader);
    if (text->letter != 'h' || text->number >= HOLES) reader->bad = true;
  }
}

void plan_text(struct reader *reader, struct arg *arg) {
  arg->letter = (char)take_u8(reader);
  if (arg->letter == 't') {
    literal(reader, arg);
  } else if (arg->letter == 'T') {
    struct arg part;
    arg->count = take_u32(reader);
    arg->bytes = reader->at;
    for (u32 index = 0; index < arg->count && !reader->bad; index++) plan_part(reader, &part);
  } else {
    reader->bad = true;
  }
}

/* An argument of the kind that the operation's table entry names. */
static void argument(struct reader *reader, char kind, struct arg *arg) {
  struct arg element;
  if (kind == 't') {
    plan_text(reader, arg);
    return;
  }
  arg->letter = (char)take_u8(reader);
  if (arg->letter != kind) reader->bad = true;
  if (kind == 'i') {
    arg->number = plan_i64(reader);
    return;
  }
  arg->count = take_u32(reader);
  arg->bytes = reader->at;
  if (kind == 'l') arg->number = arg->count;
  else if (kind == 'b') take(reader, arg->count);
  else if (kind == 'n') take(reader, (size_t)arg->count * sizeof(i64));
  else
    for (u32 index = 0; index < arg->count && !reader->bad; index++) plan_text(reader, &element);
}

void plan_step(struct reader *reader, struct step *step) {
  u32 size = take_u32(reader);
  const u8 *bytes = take(reader, size);
  struct reader inside = {.at = bytes, .end = bytes == NULL ? NULL : bytes + size, .bad = reader->bad};
  step->op = op_by_number(take_u16(&inside));
  u8 args = take_u8(&inside);
  step->rules = take_u8(&inside);
  step->rule = take(&inside, (size_t)step->rules * 4);
  if (step->op == NULL || strlen(step->op->letters) != args) inside.bad = true;
  for (u8 index = 0; index < args && !inside.bad; index++) argument(&inside, step->op->letters[index], &step->arg[index]);
  if (inside.bad || inside.at != inside.end) reader->bad = true;
}

enum rule_action plan_rule(const struct step *step, int error) {
  for (u8 index = 0; index < step->rules; index++) {
    u16 rule[2];
    memcpy(rule, step->rule + (size_t)index * 4, 4);
    if (rule[0] == error) return (enum rule_action)rule[1];
  }
  return RULE_NONE;
}

struct reader plan_list(const struct plan *plan, u32 list, u32 *steps) {
  struct reader reader = {.at = plan->bytes + plan->at[list], .end = plan->bytes + plan->size, .bad = false};
  *steps = take_u32(&reader);
  return reader;
}

static bool wrong(struct plan_fault *fault, int error, const char *detail) {
  struct out out = out_start(fault->detail, sizeof fault->detail);
  put(&out, detail);
  fault->error = error;
  return false;
}

static bool wrong_version(struct plan_fault *fault, u32 version) {
  struct out out = out_start(fault->detail, sizeof fault->detail);
  put(&out, "plan version ");
  put_number(&out, version);
  put(&out, ", executor version ");
  put_number(&out, PLAN_VERSION);
  fault->error = EPROTO;
  return false;
}

/* What the encoding alone does not say: rules that exist, operations in a list where they make sense, and lists under lists
 * that only lead onwards, so that there is no circle. */
static bool check_step(struct plan *plan, u32 list, const struct step *step, struct plan_fault *fault) {
  for (u8 index = 0; index < step->rules; index++) {
    u16 rule[2];
    memcpy(rule, step->rule + (size_t)index * 4, 4);
    if (rule[1] != RULE_SKIP && rule[1] != RULE_RETRY) return wrong(fault, EBADMSG, "unknown action on an error");
  }
  if ((step->op->roles & plan->role[list]) == 0) return wrong(fault, EBADMSG, "operation has no place in this list");
  for (size_t index = 0; step->op->letters[index] != 0; index++) {
    if (step->op->letters[index] != 'l') continue;
    i64 nested = step->arg[index].number;
    if (nested <= list || nested < 2 || nested >= plan->lists) return wrong(fault, EBADMSG, "no such list");
    if (plan->role[nested] != 0) return wrong(fault, EBADMSG, "a list has two parents");
    plan->role[nested] = step->op->number == OP_SPAWN ? ROLE_CHILD : ROLE_HOST;
  }
  return true;
}

bool plan_check(struct plan *plan, const u8 *bytes, size_t size, struct plan_fault *fault) {
  struct reader reader = {.at = bytes, .end = bytes + size, .bad = false};
  memset(plan, 0, sizeof *plan);
  memset(fault, 0, sizeof *fault);
  const u8 *magic = take(&reader, 8);
  u32 version = take_u32(&reader);
  if (magic == NULL || memcmp(magic, "TSBXPLAN", 8) != 0 || reader.bad) return wrong(fault, EBADMSG, "not a plan");
  if (version != PLAN_VERSION) return wrong_version(fault, version);
  plan->bytes = bytes;
  plan->size = size;
  plan->flags = take_u32(&reader);
  plan->lists = take_u32(&reader);
  if (reader.bad || plan->lists < 2 || plan->lists > MAX_LISTS) return wrong(fault, EBADMSG, "wrong number of lists");
  plan->role[0] = ROLE_FIRST;
  plan->role[1] = ROLE_HOST;
  for (fault->list = 0; fault->list < plan->lists; fault->list++) {
    fault->index = 0;
    plan->at[fault->list] = (u32)(reader.at - bytes);
    if (plan->role[fault->list] == 0) return wrong(fault, EBADMSG, "a list without a parent");
    u32 steps = take_u32(&reader);
    for (; fault->index < steps; fault->index++) {
      struct step step;
      plan_step(&reader, &step);
      if (reader.bad) return wrong(fault, EBADMSG, "a step is malformed");
      if (!check_step(plan, fault->list, &step, fault)) return false;
    }
  }
  if (reader.bad || reader.at != reader.end) return wrong(fault, EBADMSG, "the plan has another length than it says");
  return true;
}
