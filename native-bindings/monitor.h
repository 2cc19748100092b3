/* The outer half: what it holds while the container runs. */
#pragma once

#include "channel.h"
#include "client.h"
#include "run.h"

enum { MAX_CLIENTS = 64, CHUNK_SIZE = 65536, STREAMS = 2 };
enum stdin_mode { STDIN_NULL, STDIN_OPEN, STDIN_ONCE };

/* The container's standard input, or its terminal's. */
struct input {
  int fd;        /* -1: none yet, or closed */
  bool terminal; /* fd is the pty's master, which the stream owns */
  bool known;    /* what it will be is decided: with fd -1 it takes nothing, ever */
  bool closing;  /* to be closed when `bytes` are through */
  enum stdin_mode mode;
  size_t start;
  size_t length;
  u8 bytes[CHUNK_SIZE]; /* what it would not take yet */
};

/* One of its outputs. */
struct stream {
  int fd;
  size_t left; /* once the process has ended: how much is read at most, should somebody else keep on writing */
};

struct monitor {
  struct run run;
  int signals;  /* signalfd: SIGCHLD */
  int listener; /* -1: none */
  bool crowded; /* no descriptor was left for who wants to come in: until somebody leaves, nobody is asked */
  int channel;  /* -1: before spawn, and when the child has closed it */
  int child_stdio[3];
  int lock;     /* what flock holds; -1: nothing */
  const struct arg *successor; /* the words of the program that follows this one; NULL: none */
  struct arg successor_words;
  /* the program that is started again and again while the container runs */
  struct arg repeat_words;
  u64 repeat_every; /* nanoseconds; 0: there is none */
  u64 repeat_early; /* that before it has ended well; 0: it has, or there is no such time */
  u64 repeat_until; /* when that is over */
  u64 repeat_at;    /* when it is due */
  pid_t repeat_pid; /* 0: it does not run */
  int *ports; /* sockets of bind_port; NULL: none */
  size_t port_count;
  int birth_cgroup; /* -1: the new process is born in the monitor's own */
  struct input input;
  struct stream streams[STREAMS]; /* stdout and stderr; a terminal is the first */
  bool has_size;
  u16 rows, columns;
  /* how far it is */
  bool exec_begun; /* the child has come to exec */
  u64 exec_since;
  struct outcome exec_step;
  bool failed;       /* it does not start; reported */
  bool host_failed;  /* and that was not the child's own failure */
  bool preparing; /* list 0 is being run: `started` is told when it is through */
  bool started;
  bool waiting;
  char waiting_name[DETAIL_SIZE];
  bool reaped;
  int status; /* as wait(2) gives it */
  struct outcome outside; /* the last list under `outside` that failed */
  struct client clients[MAX_CLIENTS];
  u8 chunk[HEADER_SIZE + CHUNK_SIZE]; /* a frame of output, read into its place */
};

/* report.c: what clients are told. To those that said hello. */
void report_failure(struct run *run, const struct outcome *outcome);
void report_step(struct run *run, const struct outcome *outcome, u64 ns);
void report_started(struct monitor *monitor, struct client *only);
void report_waiting(struct monitor *monitor, struct client *only);
void report_exit(struct monitor *monitor, int code, int signal);

/* spawn.c */
void close_all_but(int *keep, size_t count); /* `keep` is sorted on the way; 0, 1 and 2 stay as well */
void forget_stdio(void); /* the caller's terminal or pipes are not the monitor's to hold */

/* events.c: the monitor's end of the channel. */
void channel_read(struct monitor *monitor);
void channel_answer(struct monitor *monitor, i32 answer);
void monitor_reap(struct monitor *monitor);
/* A step of list 0 has failed: reports it and ends the child, should there be one, whose output then interests nobody. */
void monitor_fail_host(struct monitor *monitor);

/* input.c */
bool input_blocked(const struct input *input);
/* Gives `length` bytes that lie at the beginning of input->bytes; only when it is not blocked. */
void input_give(struct monitor *monitor, size_t length);
void input_write(struct monitor *monitor);
void input_end(struct monitor *monitor);
void input_close(struct monitor *monitor);

/* output.c */
bool output_blocked(const struct monitor *monitor);
void output_read(struct monitor *monitor, int stream);
void output_drain(struct monitor *monitor);
/* Sends visitors away that have taken nothing for too long. Returns in how many milliseconds to look again; -1: nobody is late. */
int output_patience(struct monitor *monitor);
void terminal_size(struct monitor *monitor);
void terminal_take(struct monitor *monitor, int master);

/* serve.c */
void client_add(struct monitor *monitor, int fd, bool visitor);
void client_accept(struct monitor *monitor);
void client_read(struct monitor *monitor, struct client *client);
void client_leave(struct monitor *monitor, struct client *client);
bool client_held_back(const struct monitor *monitor, const struct client *client);

/* monitor.c */
void monitor_init(struct monitor *monitor, int client);
/* Gives back the memory of what has been run of the program so far. */
void give_back_program(void);
/* Waits for whatever comes next and serves it. */
void monitor_turn(struct monitor *monitor);
/* Runs list 0, serves until the container has ended, runs list 1, and returns when every client knows. */
void monitor_live(struct monitor *monitor, const struct plan *plan);
/* repeat.c */
int repeat_wait(const struct monitor *monitor); /* milliseconds until it is due; -1: it is not */
void repeat_start(struct monitor *monitor);     /* if it is due */
void repeat_ended(struct monitor *monitor, int status);
void repeat_stop(struct monitor *monitor);
/* bind_port.c: before anybody is told the end, who may want the same ports. */
void ports_release(struct monitor *monitor);
/* The program that follows takes this one's place, when a step asked for one; it holds the lock as descriptor 3. */
void monitor_become(struct monitor *monitor);
/* Waits until every client has taken what is queued for it, or has left. */
void monitor_flush(struct monitor *monitor);
