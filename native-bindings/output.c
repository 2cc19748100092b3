/* What the container writes: to the log first, then to every client. */
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "log.h"
#include "monitor.h"

bool output_blocked(const struct monitor *monitor) {
  for (int index = 0; index < MAX_CLIENTS; index++) {
    const struct client *client = &monitor->clients[index];
    if (client->fd >= 0 && client->output && client->queue.length >= QUEUE_FULL) return true;
  }
  return log_blocked();
}

/* Whoever started the container and has its output is waited for: nothing of that is lost. One that came later and stands still,
 * a stopped `attach`, holds the container up so long and no longer. */
static const u64 PATIENCE_NS = 5000000000u;

int output_patience(struct monitor *monitor) {
  int next = -1;
  for (int index = 0; index < MAX_CLIENTS; index++) {
    struct client *client = &monitor->clients[index];
    bool full = client->fd >= 0 && client->visitor && client->output && client->queue.length >= QUEUE_FULL;
    u64 now = full ? now_ns() : 0;
    if (!full || client->full_since == 0) client->full_since = now;
    if (!full) continue;
    u64 waited = now - client->full_since;
    if (waited >= PATIENCE_NS) {
      client_leave(monitor, client);
      continue;
    }
    int left = (int)((PATIENCE_NS - waited) / 1000000) + 1;
    if (next < 0 || left < next) next = left;
  }
  return next;
}

static void stream_close(struct monitor *monitor, int stream) {
  if (monitor->input.terminal) input_close(monitor);
  close(monitor->streams[stream].fd);
  monitor->streams[stream].fd = -1;
}

void output_read(struct monitor *monitor, int index) {
  struct stream *stream = &monitor->streams[index];
  size_t most = stream->left < CHUNK_SIZE ? stream->left : CHUNK_SIZE;
  ssize_t got = read(stream->fd, monitor->chunk + HEADER_SIZE, most);
  if (got < 0 && (errno == EINTR || (errno == EAGAIN && !monitor->reaped))) return;
  if (got <= 0) { /* EIO: nobody has the terminal open */
    stream_close(monitor, index);
    return;
  }
  if (monitor->reaped) stream->left -= (size_t)got;
  log_write(index == 0 ? LOG_STDOUT : LOG_STDERR, monitor->chunk + HEADER_SIZE, (size_t)got);
  frame_header(monitor->chunk, index == 0 ? FRAME_STDOUT : FRAME_STDERR, (u32)got);
  for (int place = 0; place < MAX_CLIENTS; place++) {
    struct client *client = &monitor->clients[place];
    if (client->fd >= 0 && client->output) client_send(client, monitor->chunk, HEADER_SIZE + (size_t)got);
  }
}

/* What lies in the pipes when the process has ended. Full queues do not stop this: a client that stands still must not keep the
 * cleanup waiting, and it is no more than a pipe holds. */
void output_drain(struct monitor *monitor) {
  for (int stream = 0; stream < STREAMS; stream++)
    while (monitor->streams[stream].fd >= 0) output_read(monitor, stream);
}

void terminal_size(struct monitor *monitor) {
  struct winsize size = {.ws_row = monitor->rows, .ws_col = monitor->columns};
  if (monitor->input.terminal && monitor->has_size && monitor->streams[0].fd >= 0)
    ioctl(monitor->streams[0].fd, TIOCSWINSZ, &size);
}

void terminal_take(struct monitor *monitor, int master) {
  if (master < 0) return;
  if (monitor->streams[0].fd >= 0) {
    close(master);
    return;
  }
  fcntl(master, F_SETFL, O_NONBLOCK);
  monitor->streams[0].fd = master;
  monitor->input.fd = master;
  monitor->input.terminal = true;
  monitor->input.known = true;
  terminal_size(monitor);
}
