/* Running a list of steps: the only thing that decides here is the `onError` that a step carries. */
#include <time.h>

#include "ops.h"
#include "run.h"

enum { RETRY_FIRST_MS = 1, RETRY_MOST_MS = 20, RETRY_TOTAL_MS = 2000 };

u64 now_ns(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (u64)time.tv_sec * 1000000000 + (u64)time.tv_nsec;
}

static int run_once(struct run *run, const struct step *step) {
  run->outcome.nested = false;
  run->outcome.detail[0] = 0;
  int error = step->op->run(run, step->arg);
  scratch_free(run);
  return error;
}

/* The step with its rules applied: 0 when it worked or its error is to be skipped. */
static int run_step(struct run *run, const struct step *step) {
  u64 end = now_ns() + (u64)RETRY_TOTAL_MS * 1000000;
  for (long pause = RETRY_FIRST_MS;; pause = pause * 2 > RETRY_MOST_MS ? RETRY_MOST_MS : pause * 2) {
    int error = run_once(run, step);
    run->outcome.error = error;
    if (error == 0) return 0;
    enum rule_action action = plan_rule(step, error);
    if (action == RULE_SKIP) return 0;
    if (action != RULE_RETRY || now_ns() >= end) return error;
    nanosleep(&(struct timespec){.tv_sec = 0, .tv_nsec = pause * 1000000}, NULL);
  }
}

static int run_next(struct run *run, struct reader *reader, u32 list, u32 index) {
  struct step step;
  plan_step(reader, &step);
  run->op = step.op->number;
  run->outcome = (struct outcome){.list = list, .index = index};
  u64 start = now_ns();
  int error = run_step(run, &step);
  if ((run->plan->flags & PLAN_TRACE) != 0) run->on_step(run, &run->outcome, now_ns() - start);
  return error;
}

int run_list(struct run *run, u32 list) {
  u32 steps;
  struct reader reader = plan_list(run->plan, list, &steps);
  for (u32 index = 0; index < steps; index++) {
    int error = run_next(run, &reader, list, index);
    if (error != 0) return error;
  }
  return 0;
}

void run_whole_list(struct run *run, u32 list) {
  u32 steps;
  struct reader reader = plan_list(run->plan, list, &steps);
  run->over = false;
  for (u32 index = 0; index < steps && !run->over; index++)
    if (run_next(run, &reader, list, index) != 0) run->on_failure(run, &run->outcome);
}
