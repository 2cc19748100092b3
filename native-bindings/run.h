/* What a step sees while a list is being run, on either side of `spawn`. */
#pragma once

#include "plan.h"

enum { SLOTS = 256, DETAIL_SIZE = 104 };

struct monitor;

/* A piece of memory that lives until the step is done. */
struct scratch;

/* How a step ended. */
struct outcome {
  u32 list;
  u32 index;
  int error;                /* the errno that it met, also when a rule said to skip it */
  bool nested;              /* a list below it failed */
  char detail[DETAIL_SIZE]; /* what errno does not say; empty as a rule */
};

struct run {
  const struct plan *plan;
  struct monitor *monitor; /* NULL in the child */
  int channel;             /* the child's way to the monitor; -1 in the monitor */
  pid_t pid;               /* the container's first process for whoever watches it; 0: none yet; -1: ask the monitor */
  pid_t monitor_pid;
  int exit_code;
  /* what becomes of a step that failed, and of each step when the plan wants a trace: frames or packets */
  void (*on_failure)(struct run *run, const struct outcome *outcome);
  void (*on_step)(struct run *run, const struct outcome *outcome, u64 ns);
  int slots[SLOTS]; /* detached mounts, one more than the descriptor; 0 is empty */
  struct scratch *scratch;
  bool over; /* the rest of the list is left out */
  /* about the step at hand */
  u16 op;
  struct outcome outcome; /* `nested` and `detail` are the operation's to fill */
};

/* Runs the steps of a list in order and stops at the first failure, which is then in run->outcome; returns its errno or 0. */
int run_list(struct run *run, u32 list);
/* Reports each failure and goes on with the next step. */
void run_whole_list(struct run *run, u32 list);

u64 now_ns(void);

/* Memory until the end of the step. NULL when there is none. */
void *scratch(struct run *run, size_t size);
void scratch_free(struct run *run);

/* Arguments as system calls want them. Each returns 0 or an errno. */
int text_string(struct run *run, const struct arg *arg, const char **string); /* EINVAL on a NUL inside */
int text_bytes(struct run *run, const struct arg *arg, const char **bytes, size_t *length);
int text_vector(struct run *run, const struct arg *arg, char ***vector); /* ends with NULL */
