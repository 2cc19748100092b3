/* The life of the outer half: start, serve, end. */
#include <link.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "log.h"
#include "monitor.h"

enum { EXIT_START = 125, DRAIN_MOST = 1 << 20 };

void monitor_init(struct monitor *monitor, int client) {
  struct run *run = &monitor->run;
  sigset_t child;
  run->monitor = monitor;
  run->monitor_pid = getpid();
  run->channel = -1;
  run->on_failure = report_failure;
  run->on_step = report_step;
  monitor->listener = monitor->channel = monitor->lock = monitor->birth_cgroup = monitor->input.fd = -1;
  for (int fd = 0; fd < 3; fd++) monitor->child_stdio[fd] = -1;
  for (int stream = 0; stream < STREAMS; stream++) monitor->streams[stream] = (struct stream){.fd = -1, .left = SIZE_MAX};
  for (int index = 0; index < MAX_CLIENTS; index++) monitor->clients[index].fd = -1;
  client_add(monitor, client, false);
  monitor->clients[0].hello = monitor->clients[0].output = monitor->clients[0].input = true;
  /* Neither the caller's terminal nor a careless kill ends a container's monitor; SIGCHLD may come ignored and would be lost. */
  const int ignored[] = {SIGPIPE, SIGHUP, SIGINT, SIGTERM};
  for (size_t index = 0; index < sizeof ignored / sizeof ignored[0]; index++) signal(ignored[index], SIG_IGN);
  signal(SIGCHLD, SIG_DFL);
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  sigprocmask(SIG_SETMASK, &child, NULL);
  monitor->signals = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* Gives back the pages of the program that only the start needed: what is asked for again comes from the page cache. They are
 * most of what a monitor would keep in memory for as long as its container runs. */
static int shrink(struct dl_phdr_info *object, size_t size, void *unused) {
  (void)size, (void)unused;
  for (u16 index = 0; index < object->dlpi_phnum; index++) {
    const ElfW(Phdr) *header = &object->dlpi_phdr[index];
    if (header->p_type != PT_LOAD || (header->p_flags & PF_W) != 0) continue;
    madvise((void *)(object->dlpi_addr + header->p_vaddr), header->p_memsz, MADV_DONTNEED);
  }
  return 1; /* the program itself comes first, and it is all there is */
}

void give_back_program(void) { dl_iterate_phdr(shrink, NULL); }

/* The descriptors of one turn. Streams and clients keep their places, so that an answer finds its way back. */
enum { AT_CHANNEL, AT_SIGNALS, AT_LISTENER, AT_INPUT, AT_STREAM, AT_CLIENT = AT_STREAM + STREAMS, PLACES = AT_CLIENT + MAX_CLIENTS };

static struct pollfd client_interest(const struct monitor *monitor, const struct client *client) {
  struct pollfd interest = {.fd = client->fd};
  bool reads = !client->input_done && !client_held_back(monitor, client);
  if (reads) interest.events |= POLLIN;
  if (client->queue.length > 0) interest.events |= POLLOUT;
  /* One that is held back and hangs up would be reported again and again. */
  if (interest.events == 0 && !client->input_done) interest.fd = -1;
  return interest;
}

static void fill_interests(const struct monitor *monitor, struct pollfd *places) {
  bool outputs = monitor->started && !output_blocked(monitor);
  places[AT_CHANNEL] = (struct pollfd){.fd = monitor->channel, .events = POLLIN};
  places[AT_SIGNALS] = (struct pollfd){.fd = monitor->signals, .events = POLLIN};
  places[AT_LISTENER] = (struct pollfd){.fd = monitor->crowded ? -1 : monitor->listener, .events = POLLIN};
  places[AT_INPUT] = (struct pollfd){.fd = monitor->input.length > 0 ? monitor->input.fd : -1, .events = POLLOUT};
  for (int stream = 0; stream < STREAMS; stream++)
    places[AT_STREAM + stream] = (struct pollfd){.fd = outputs ? monitor->streams[stream].fd : -1, .events = POLLIN};
  for (int index = 0; index < MAX_CLIENTS; index++)
    places[AT_CLIENT + index] = client_interest(monitor, &monitor->clients[index]);
}

/* Up to the last that is in use: for more than RLIMIT_NOFILE poll(2) refuses. */
static nfds_t used_places(const struct pollfd *places) {
  nfds_t count = PLACES;
  while (count > 0 && places[count - 1].fd < 0) count--;
  return count;
}

static void serve_client(struct monitor *monitor, struct client *client, short events) {
  if (client->queue.length > 0) client_flush(client);
  if ((events & (POLLIN | POLLHUP | POLLERR)) != 0) {
    if (!client->input_done && !client_held_back(monitor, client)) client_read(monitor, client);
    else if (client->input_done && (events & (POLLHUP | POLLERR)) != 0) client->deaf = true;
  }
  if (client->input_done && client->deaf) client_leave(monitor, client);
}

static void serve_clients(struct monitor *monitor, const struct pollfd *places) {
  for (int index = 0; index < MAX_CLIENTS; index++) {
    struct client *client = &monitor->clients[index];
    if (client->fd >= 0 && places[AT_CLIENT + index].revents != 0)
      serve_client(monitor, client, places[AT_CLIENT + index].revents);
  }
}

/* The channel goes first: `started` must be on its way before the first output. */
void monitor_turn(struct monitor *monitor) {
  struct pollfd places[PLACES];
  struct signalfd_siginfo info;
  int patience = output_patience(monitor);
  fill_interests(monitor, places);
  repeat_start(monitor);
  int wait = repeat_wait(monitor);
  if (wait < 0 || (patience >= 0 && patience < wait)) wait = patience;
  if (poll(places, used_places(places), wait) < 0) return;
  if (places[AT_CHANNEL].revents != 0) channel_read(monitor);
  if (places[AT_SIGNALS].revents != 0) {
    while (read(monitor->signals, &info, sizeof info) > 0) continue;
    monitor_reap(monitor);
  }
  if (places[AT_INPUT].revents != 0) input_write(monitor);
  for (int stream = 0; stream < STREAMS; stream++)
    if (places[AT_STREAM + stream].revents != 0 && monitor->streams[stream].fd >= 0) output_read(monitor, stream);
  serve_clients(monitor, places); /* before new ones take their places */
  if (places[AT_LISTENER].revents != 0) client_accept(monitor);
}

/* Waits for clients only; nothing comes from the container any more. */
void monitor_flush(struct monitor *monitor) {
  for (;;) {
    struct pollfd places[PLACES];
    bool queued = false;
    for (int index = 0; index < MAX_CLIENTS; index++) queued |= monitor->clients[index].queue.length > 0;
    if (!queued) break;
    fill_interests(monitor, places);
    poll(places + AT_CLIENT, used_places(places) - AT_CLIENT, -1);
    serve_clients(monitor, places);
  }
  /* A socket that is closed with something unread tells the other side of a reset instead of an end. */
  for (int index = 0; index < MAX_CLIENTS; index++)
    for (int turns = 0; turns < 64 && monitor->clients[index].fd >= 0; turns++)
      if (recv(monitor->clients[index].fd, monitor->chunk, sizeof monitor->chunk, MSG_DONTWAIT) <= 0) break;
}

/* Clients that have connected and not been heard yet are told the end as well. */
static void hear_the_last(struct monitor *monitor) {
  if (monitor->listener >= 0) {
    client_accept(monitor);
    close(monitor->listener);
    monitor->listener = -1;
  }
  for (int index = 0; index < MAX_CLIENTS; index++) {
    struct client *client = &monitor->clients[index];
    if (client->fd >= 0 && !client->input_done) client_read(monitor, client);
  }
}

static int exit_code(const struct monitor *monitor) {
  if (monitor->host_failed) return EXIT_START;
  if (WIFSIGNALED(monitor->status)) return 128 + WTERMSIG(monitor->status);
  int code = WEXITSTATUS(monitor->status);
  return code == 0 && monitor->failed ? EXIT_START : code;
}

void monitor_live(struct monitor *monitor, const struct plan *plan) {
  struct run *run = &monitor->run;
  run->plan = plan;
  monitor->preparing = true;
  if (run_list(run, 0) != 0 && !monitor->failed) monitor_fail_host(monitor);
  monitor->preparing = false;
  if (monitor->started) report_started(monitor, NULL);
  give_back_program();
  while (run->pid != 0 && !monitor->reaped) monitor_turn(monitor);
  repeat_stop(monitor);
  input_close(monitor);
  for (int stream = 0; stream < STREAMS; stream++) monitor->streams[stream].left = DRAIN_MOST;
  if (monitor->started) output_drain(monitor);
  log_close();
  run->exit_code = exit_code(monitor);
  run_whole_list(run, 1);
  ports_release(monitor);
  hear_the_last(monitor);
  report_exit(monitor, run->exit_code, WIFSIGNALED(monitor->status) && !monitor->host_failed ? WTERMSIG(monitor->status) : 0);
  monitor_flush(monitor);
  monitor_become(monitor);
}
