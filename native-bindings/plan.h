/* The plan in memory: checked once from end to end, then read in place. The encoding is in src/plan/wire.ts. */
#pragma once

#include "base.h"

enum { PLAN_VERSION = 4, PLAN_TRACE = 1, MAX_LISTS = 64, MAX_ARGS = 7 };

/* Who runs a list. An operation says in its table entry where it makes sense. */
enum role {
  ROLE_FIRST = 1, /* list 0: the outer half, before there is a process */
  ROLE_HOST = 2,  /* cleanup, and the lists under `outside` */
  ROLE_CHILD = 4, /* the list under `spawn` */
};

enum rule_action { RULE_NONE = 0, RULE_SKIP = 1, RULE_RETRY = 2 };
enum late_hole { HOLE_PID, HOLE_MONITOR, HOLE_EXIT, HOLE_NOW, HOLES };

struct plan {
  const u8 *bytes;
  size_t size;
  u32 flags;
  u32 lists;
  u32 at[MAX_LISTS]; /* offset of each list's step count */
  u8 role[MAX_LISTS];
};

/* An argument of a step. `bytes` points into the plan: text and bytes themselves, or the elements of a template, of texts
 * and of ints, all of them checked. */
struct arg {
  char letter; /* as on the wire: i t T s n b l */
  i64 number;  /* i: the number; l: the list */
  u32 count;   /* t, b: bytes; T: parts; s, n: elements */
  const u8 *bytes;
};

struct op;

struct step {
  const struct op *op;
  u8 rules;
  const u8 *rule;
  struct arg arg[MAX_ARGS];
};

/* Where a plan is wrong, for the report. */
struct plan_fault {
  u32 list;
  u32 index;
  int error; /* EPROTO: another version; EBADMSG: not a plan */
  char detail[96];
};

/* Checks the whole of a plan; nothing of it is trusted before. `bytes` must stay as they are afterwards. */
bool plan_check(struct plan *plan, const u8 *bytes, size_t size, struct plan_fault *fault);

struct reader {
  const u8 *at;
  const u8 *end;
  bool bad; /* something did not fit; all later values are zero */
};

/* The steps of a list: *steps says how many; each plan_step reads the next one. */
struct reader plan_list(const struct plan *plan, u32 list, u32 *steps);
void plan_step(struct reader *reader, struct step *step);
enum rule_action plan_rule(const struct step *step, int error);

/* One text or template, at the reader's place: the elements of an 's' argument. */
void plan_text(struct reader *reader, struct arg *arg);
i64 plan_i64(struct reader *reader);

/* One part of a template: a literal text, or a hole (then text->letter is 'h' and text->number its place in LATE_HOLES). */
void plan_part(struct reader *reader, struct arg *text);
