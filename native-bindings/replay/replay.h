/* tsbox exec without Node: a plan that TypeScript has compiled before is filled in and handed to the executor. What decides whether that
 * may be done is in the file that is kept with it (src/plan/replay.ts); wherever there is a doubt, Node is started instead. */
#pragma once

#include "../base.h"

enum { ID_DIGITS = 64 };

/* Makes as many tasks as Node needs, which end at once. 0 or an errno. */
int tasks_try(void);

/* What the command line asks for, as far as it can be done here. */
struct call {
  bool detach;
  bool input;
  const char *container;
  char **words; /* the command; ends with NULL */
};

/* A kept plan. The texts point into what was read, and end with NUL. */
struct kept {
  const char *container;
  const char *name;
  char *id; /* ID_DIGITS bytes and a NUL */
  const char *executor;
  const char *events;
  const char *event;      /* what a line of the journal has before the action */
  char *event_end;        /* and between that and the time */
  const char *bounding;
  const char *facts;      /* one after the other, each with its NUL */
  const char *facts_end;
  u8 *plan;
  size_t plan_size;
  size_t step, arguments, stdin; /* places in it */
};

/* false for anything that only Node understands. `words` are those behind `exec`. */
bool call_parse(struct call *call, char **words);

/* Reads the file that is kept for this container. NULL when there is none, or somebody is writing it, or it is not the caller's own. */
char *kept_read(const char *container, size_t *size);
/* Takes it apart, in place; false when it is not whole. */
bool kept_parse(struct kept *kept, char *bytes, size_t size);
/* Is everything as it was when the plan was compiled, for this caller too? */
bool facts_hold(const struct kept *kept);

/* Gives the exec this number, in the plan and in its events. */
void fill_id(struct kept *kept, const char id[ID_DIGITS]);
/* The plan with the command in it, to be freed. NULL when there is no memory. */
u8 *fill_words(const struct kept *kept, char *const *words, bool input, size_t *size);

/* What has to be there before anything is told or started; all of it close-on-exec. */
struct launch {
  int plan;
  int null;
  int program;
  int ours, theirs; /* the socket's two ends */
  int journal;
};

/* 0 or an errno; then nothing is open. */
int launch_prepare(struct launch *launch, const struct kept *kept, const u8 *plan, size_t size);
/* Adds `exec_create` and `exec_start`. Nothing depends on the journal. */
void launch_tell(const struct launch *launch, const struct kept *kept, char *const *words);
/* Starts the executor. 0 or an errno. Only the socket stays open. */
int launch_start(struct launch *launch);

/* How it went. */
struct end {
  bool failed;       /* before the command ran; then `report` is what the executor told of it, as JSON */
  int code;          /* our exit code */
  char report[1024]; /* empty: it told nothing */
};

/* Serves the streams until the end, or until the command runs when it is detached. */
void serve(int socket, const struct call *call, struct end *end);

/* Signals are for the command: held back from here on. */
void hold_signals(void);
/* Back to what it was, before another program takes our place. */
void release_signals(void);
/* A descriptor that the signals can be read from. */
int signal_source(void);
