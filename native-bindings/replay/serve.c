/* The caller's streams and signals while the command runs. Frames are those of docs/monitor.md. */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../client.h"
#include "../format.h"
#include "replay.h"

enum { CHUNK = 65536, PATIENCE = 3, EXIT_LOST = 1, EXIT_SIGPIPE = 128 + SIGPIPE };

/* Those that a caller may want to send to the process. The others stop, wake or debug us, or cannot be caught. */
static const int proxied[] = {SIGHUP,  SIGINT,  SIGQUIT, SIGABRT, SIGUSR1, SIGUSR2,
                              SIGALRM, SIGTERM, SIGTSTP, SIGTTIN, SIGTTOU};
/* Those that end us when the terminal is ours to set back; and the last one is told when we are continued. */
static const int of_owner[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGCONT};
static sigset_t before;

static void add_all(sigset_t *set, const int *numbers, size_t count) {
  for (size_t index = 0; index < count; index++) sigaddset(set, numbers[index]);
}

static sigset_t wanted_set(const struct call *call) {
  sigset_t set;
  sigemptyset(&set);
  if (call->own) add_all(&set, of_owner, sizeof of_owner / sizeof *of_owner);
  else add_all(&set, proxied, sizeof proxied / sizeof *proxied);
  if (call->tty) sigaddset(&set, SIGWINCH);
  return set;
}

void hold_signals(const struct call *call) {
  sigset_t set = wanted_set(call);
  sigprocmask(SIG_BLOCK, &set, &before);
  signal(SIGPIPE, SIG_IGN);
}

void release_signals(void) {
  signal(SIGPIPE, SIG_DFL);
  sigprocmask(SIG_SETMASK, &before, NULL);
}

int signal_source(const struct call *call) {
  sigset_t set = wanted_set(call);
  return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* What goes on. */
struct session {
  int socket;
  struct end *end;
  bool over;
  pid_t pid; /* of the command; 0: it does not run yet */
  int impatience;
  /* the frame that is being read */
  u8 header[HEADER_SIZE];
  size_t have; /* bytes of the header, then of a report */
  u32 remaining;
  bool inside; /* the header is complete */
  char report[1024];
  bool muted; /* nobody reads our standard error any more */
  bool detached; /* what the command says at once may come together with the news that it runs, and is for nobody */
  /* standard input */
  bool input; /* there may be more of it */
  bool own;   /* it is a terminal that is read key by key */
  struct keys keys;
  u8 *chunk; /* a frame that is on its way to the monitor */
  size_t start, length;
  bool resized; /* another is to follow */
  bool left;    /* nothing is to follow: the user has left the command to itself */
};

static void complain(const char *text) {
  raw_end();
  ssize_t written = write(STDERR_FILENO, text, strlen(text));
  (void)written;
}

static void leave(struct session *session, int code) {
  session->end->code = code;
  session->over = true;
}

/* After the two keys; in Docker's words. */
static void leave_running(struct session *session) {
  complain("read escape sequence\n");
  leave(session, EXIT_LOST);
}

/* As Node says it. */
static void unwritable(struct session *session, int error) {
  char line[160];
  struct out out = out_start(line, sizeof line);
  put(&out, "tsbox: write: ");
  put(&out, strerrorname_np(error));
  put(&out, " (");
  put(&out, strerror(error));
  put(&out, ")\n");
  complain(line);
  leave(session, EXIT_LOST);
}

/* All of it, however long the reader takes: meanwhile the container waits too. */
static void pass_on(struct session *session, int fd, const u8 *bytes, size_t length) {
  if (fd == STDERR_FILENO && session->muted) return;
  while (length > 0 && !session->over) {
    ssize_t written = write(fd, bytes, length);
    if (written >= 0) {
      bytes += written;
      length -= (size_t)written;
    } else if (errno == EAGAIN) {
      struct pollfd one = {.fd = fd, .events = POLLOUT};
      poll(&one, 1, -1);
    } else if (errno != EINTR) {
      if (fd == STDERR_FILENO) session->muted = true;
      else if (errno == EPIPE) leave(session, EXIT_SIGPIPE);
      else unwritable(session, errno);
      return;
    }
  }
}

/* The number behind a name in a report: `"pid":123`. */
static int number_in(const char *report, const char *name) {
  const char *at = strstr(report, name);
  return at == NULL ? 0 : atoi(at + strlen(name));
}

static void take_report(struct session *session, enum frame_type type) {
  struct end *end = session->end;
  session->report[session->have] = 0;
  if (type == FRAME_STARTED) {
    session->pid = number_in(session->report, "\"pid\":");
    if (session->own) raw_begin();
  }
  else if (type == FRAME_EXIT) end->code = number_in(session->report, "\"code\":");
  else if (type == FRAME_FAILED && session->pid == 0 && end->report[0] == 0) strcpy(end->report, session->report);
  if (type == FRAME_EXIT) session->over = true;
}

static bool is_output(u8 type) { return type == FRAME_STDOUT || type == FRAME_STDERR; }

/* Takes what it can of these bytes: a part of a header, of output, or of a report. */
static size_t take_some(struct session *session, const u8 *bytes, size_t length) {
  if (!session->inside) {
    size_t missing = HEADER_SIZE - session->have, size = length < missing ? length : missing;
    memcpy(session->header + session->have, bytes, size);
    session->have += size;
    if (session->have < HEADER_SIZE) return size;
    const u8 *number = session->header + 4;
    session->remaining = (u32)number[0] << 24 | (u32)number[1] << 16 | (u32)number[2] << 8 | number[3];
    session->inside = true;
    session->have = 0;
    return size;
  }
  size_t size = length < session->remaining ? length : session->remaining;
  u8 type = session->header[0];
  if (is_output(type)) {
    if (!session->detached) pass_on(session, type, bytes, size); /* their numbers are those of the descriptors */
  } else {
    size_t room = sizeof session->report - 1 - session->have, kept = size < room ? size : room;
    memcpy(session->report + session->have, bytes, kept);
    session->have += kept;
  }
  session->remaining -= (u32)size;
  return size;
}

static void end_of_frame(struct session *session) {
  if (!session->inside || session->remaining > 0) return;
  if (!is_output(session->header[0])) take_report(session, (enum frame_type)session->header[0]);
  session->inside = false;
  session->have = 0;
}

static void take_frames(struct session *session) {
  u8 bytes[CHUNK];
  ssize_t got = recv(session->socket, bytes, sizeof bytes, MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got <= 0) {
    session->over = true;
    if (session->pid == 0) {
      session->end->failed = true;
      return;
    }
    complain("tsbox: the connection to the container's monitor was lost\n");
    session->end->code = EXIT_LOST;
    return;
  }
  for (size_t at = 0; at < (size_t)got && !session->over;) {
    at += take_some(session, bytes + at, (size_t)got - at);
    end_of_frame(session);
  }
}

/* An empty one is the end. A terminal that has gone away reports EIO: there is nothing more to read. */
static void read_input(struct session *session) {
  u8 typed[CHUNK];
  u8 *to = session->chunk + HEADER_SIZE;
  ssize_t got = read(STDIN_FILENO, session->own ? typed : to, CHUNK);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got <= 0) {
    got = 0;
    session->input = false;
  }
  size_t length = (size_t)got;
  if (session->own && got > 0) {
    length = keys_scan(&session->keys, to, typed, (size_t)got, &session->left);
    if (session->left && length == 0) leave_running(session);
    if (length == 0) return; /* an empty frame would be the end */
  }
  frame_header(session->chunk, FRAME_STDIN, (u32)length);
  session->start = 0;
  session->length = HEADER_SIZE + length;
}

static void tell_size(struct session *session) {
  u16 rows, columns;
  session->resized = false;
  if (!window_size(&rows, &columns)) return;
  const u8 size[] = {(u8)(rows >> 8), (u8)rows, (u8)(columns >> 8), (u8)columns};
  frame_header(session->chunk, FRAME_RESIZE, sizeof size);
  memcpy(session->chunk + HEADER_SIZE, size, sizeof size);
  session->start = 0;
  session->length = HEADER_SIZE + sizeof size;
}

static void send_input(struct session *session) {
  ssize_t sent = send(session->socket, session->chunk + session->start, session->length, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (sent < 0) { /* the monitor has left; its last words are still to be read */
    session->input = false;
    session->length = 0;
    return;
  }
  session->start += (size_t)sent;
  session->length -= (size_t)sent;
  if (session->left && session->length == 0) leave_running(session);
}

/* A process that has just ended cannot get a signal any more; its exit code is on its way. */
static void take_signal(struct session *session, int source) {
  struct signalfd_siginfo info;
  if (read(source, &info, sizeof info) != sizeof info) return;
  int number = (int)info.ssi_signo;
  if (number == SIGWINCH) session->resized = true;
  else if (number == SIGCONT) raw_again();
  else if (session->own) leave(session, 128 + number);
  if (number == SIGWINCH || session->own) return;
  bool urgent = number == SIGINT || number == SIGTERM;
  if (urgent && ++session->impatience >= PATIENCE) {
    complain("tsbox: got 3 signals, leaving; the process goes on\n");
    leave(session, EXIT_LOST);
    return;
  }
  kill(session->pid, number);
}

/* Signals wait until there is somebody to get them, input until there is a place for it. */
static void turn(struct session *session, int source) {
  short wanted = (short)(POLLIN | (session->length > 0 ? POLLOUT : 0));
  struct pollfd all[] = {
      {.fd = session->socket, .events = wanted},
      {.fd = session->pid > 0 ? source : -1, .events = POLLIN},
      {.fd = session->input && session->length == 0 && (!session->own || session->pid > 0) ? STDIN_FILENO : -1, .events = POLLIN},
  };
  if (poll(all, 3, -1) < 0) return;
  if (all[0].revents & ~POLLOUT) take_frames(session);
  if (!session->over && all[1].revents != 0) take_signal(session, source);
  if (!session->over && session->resized && session->length == 0) tell_size(session);
  if (!session->over && all[2].revents != 0 && session->length == 0) read_input(session);
  if (!session->over && session->length > 0) send_input(session);
}

void serve(int socket, const struct call *call, struct end *end) {
  static u8 chunk[HEADER_SIZE + CHUNK + 1];
  struct session session = {.socket = socket, .end = end, .chunk = chunk, .input = call->input && !call->detach,
                            .detached = call->detach, .own = call->own};
  int source = call->detach ? -1 : signal_source(call);
  *end = (struct end){0};
  while (!session.over && !(call->detach && session.pid > 0)) turn(&session, source);
  raw_end();
  /* What could not be started has an exit code all the same; what is to be said of it is more. */
  if (session.pid == 0) end->failed = true;
  close(socket);
  if (source >= 0) close(source);
}
