/* tsbox exec without Node: a plan that TypeScript has compiled before is filled in and handed to the executor. What decides whether that
 * may be done is in the file that is kept with it (src/plan/replay.ts); wherever there is a doubt, Node is started instead. */
#pragma once

#include "../base.h"

enum { ID_DIGITS = 64, VARIABLES_MOST = 64 };

/* Makes as many tasks as Node needs, which end at once. 0 or an errno. */
int tasks_try(void);

/* What the command line asks for, as far as it can be done here. */
struct call {
  bool detach;
  bool input;
  bool tty;
  bool own;   /* what is typed on our terminal goes to the command key by key; main() finds out */
  char **all; /* flags, container and command; ends with NULL */
  const char *container;
  char **words; /* the command */
  const char *user;    /* empty: the container's */
  const char *workdir; /* NULL: the container's */
  const char *variables[VARIABLES_MOST]; /* NAME=value */
  size_t count;
};

/* A plan whose command is empty, and places in it. Those of texts and vectors have an end. */
struct form {
  u8 *bytes;
  size_t size;
  size_t chdir, path, path_end; /* the step, and its path */
  size_t exec, words, variables, variables_end;
  u32 count;   /* of its variables */
  size_t last; /* a number: how standard input is served; with a terminal, its rows, and then its columns */
};

/* A kept plan. The texts point into what was read, and end with NUL. */
struct kept {
  const char *container;
  const char *name;
  char *id; /* ID_DIGITS bytes and a NUL */
  const char *user; /* as it was asked for; empty: the container's */
  const char *executor;
  const char *events;
  const char *event;      /* what a line of the journal has before the action */
  char *event_end;        /* and between that and the time */
  const char *bounding;
  const char *facts;      /* one after the other, each with its NUL */
  const char *facts_end;
  bool home_last; /* HOME is the last variable, and stays behind those that are added */
  struct form plain, terminal;
};

/* false for anything that only Node understands. `words` are those behind `exec`. */
bool call_parse(struct call *call, char **words);

/* Reads the file that is kept for this container and its own user, or another one. NULL when there is none, or somebody is writing it, or
 * it is not the caller's own. */
char *kept_read(const char *container, bool own_user, size_t *size);
/* Takes it apart, in place; false when it is not whole. */
bool kept_parse(struct kept *kept, char *bytes, size_t size);
/* Is everything as it was when the plan was compiled, for this caller too? */
bool facts_hold(const struct kept *kept);

/* Gives the exec this number, in its plans and in its events. */
void fill_id(struct kept *kept, const char id[ID_DIGITS]);
/* The plan with what was asked for in it, to be freed. NULL when there is no memory. */
u8 *fill_call(const struct kept *kept, const struct call *call, size_t *size);

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

/* Signals are for the command, or tell of our terminal: held back from here on. */
void hold_signals(const struct call *call);
/* Back to what it was, before another program takes our place. */
void release_signals(void);
/* A descriptor that the signals can be read from. */
int signal_source(const struct call *call);

/* The terminal that shows the output, or else the one that is typed on. false when neither is one or knows its size. */
bool window_size(u16 *rows, u16 *columns);
/* Raw mode: what is typed comes key by key. */
void raw_begin(void);
/* The modes that it had before; nothing when it was not taken. */
void raw_end(void);
/* The shell that has put us into the foreground again has set its own. */
void raw_again(void);

/* Looks in what is typed for the two keys that leave the command running. */
struct keys {
  bool first; /* has been typed, and is held back */
};
/* Copies to `to`, which has room for one byte more, what is to be passed on; `detached`: both keys were typed, the rest does not count.
 * Returns how many bytes there are. */
size_t keys_scan(struct keys *keys, u8 *to, const u8 *typed, size_t length, bool *detached);
