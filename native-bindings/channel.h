/* What the child and the monitor say to each other: one packet a message, alike on both sides, over a SEQPACKET socket pair. */
#pragma once

#include "run.h"

struct packet {
  char kind; /* docs/monitor.md, "Between the two halves" */
  u64 ns;    /* S: how long; X: when, by the monotonic clock */
  struct outcome outcome; /* O: `list` is the one to run; W: `detail` is the name */
};

/* The child's end. Each returns 0 or an errno; EPIPE when there is no monitor any more. */
int channel_tell(const struct run *run, char kind);
int channel_ask_pid(struct run *run);
int channel_send_fd(const struct run *run, int fd);

/* Runs the list that `spawn` names and reports how it failed. Never returns. */
_Noreturn void child_main(struct run *run, u32 list);
