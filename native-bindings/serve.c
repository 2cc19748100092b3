/* Clients: how they come, what they send, how they leave. */
#include <sys/socket.h>
#include <unistd.h>

#include "monitor.h"

void client_add(struct monitor *monitor, int fd, bool visitor) {
  for (int index = 0; index < MAX_CLIENTS; index++) {
    struct client *client = &monitor->clients[index];
    if (client->fd >= 0) continue;
    *client = (struct client){.fd = fd, .visitor = visitor};
    return;
  }
  close(fd);
}

void client_accept(struct monitor *monitor) {
  int fd;
  while ((fd = accept4(monitor->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) client_add(monitor, fd, true);
  monitor->crowded = errno == EMFILE || errno == ENFILE;
}

/* The client sends nothing more. What it was to the container's input ends with that. */
static void end_of_input(struct monitor *monitor, struct client *client) {
  client->input_done = true;
  if (client->input && monitor->input.mode == STDIN_ONCE) input_end(monitor);
  client->input = false;
}

void client_leave(struct monitor *monitor, struct client *client) {
  end_of_input(monitor, client);
  client_close(client);
  monitor->crowded = false;
}

static u32 big_endian(const u8 *bytes) {
  return (u32)bytes[0] << 24 | (u32)bytes[1] << 16 | (u32)bytes[2] << 8 | bytes[3];
}

static void say_hello(struct monitor *monitor, struct client *client) {
  bool first = !client->hello;
  client->hello = true;
  client->output = client->payload[0] != 0;
  client->input = client->payload[1] != 0;
  if (!first) return;
  if (monitor->started && !monitor->preparing) report_started(monitor, client);
  else if (monitor->waiting) report_waiting(monitor, client);
}

/* A frame with all of its payload. */
static void handle_frame(struct monitor *monitor, struct client *client) {
  u8 type = client->header[0];
  if (type == FRAME_HELLO) say_hello(monitor, client);
  if (type == FRAME_STDIN && client->input) input_end(monitor); /* only the empty one comes here */
  if (type == FRAME_RESIZE) {
    monitor->rows = (u16)(client->payload[0] << 8 | client->payload[1]);
    monitor->columns = (u16)(client->payload[2] << 8 | client->payload[3]);
    monitor->has_size = true;
    terminal_size(monitor);
  }
  if (type == FRAME_GO && monitor->waiting) {
    monitor->waiting = false;
    channel_answer(monitor, 0);
  }
}

/* Does the header announce what its type allows? */
static bool size_fits(const struct client *client) {
  u8 type = client->header[0];
  if (type == FRAME_HELLO) return client->remaining == 2;
  if (type == FRAME_RESIZE) return client->remaining == 4;
  if (type == FRAME_GO) return client->remaining == 0;
  return type == FRAME_STDIN;
}

/* Takes the header, or the payload of a small frame. 1: there was something; 0: end; -1: nothing at present. */
static int receive(struct client *client, u8 *to, size_t length) {
  ssize_t got;
  do got = recv(client->fd, to, length, MSG_DONTWAIT);
  while (got < 0 && errno == EINTR);
  if (got < 0) return errno == EAGAIN ? -1 : 0;
  return (int)got;
}

static int read_header(struct monitor *monitor, struct client *client) {
  int got = receive(client, client->header + client->have, (size_t)(HEADER_SIZE - client->have));
  if (got <= 0) return got;
  client->have = (u8)(client->have + got);
  if (client->have < HEADER_SIZE) return 1;
  client->remaining = big_endian(client->header + 4);
  if (!size_fits(client)) return 0;
  if (client->remaining > 0) return 1;
  handle_frame(monitor, client);
  client->have = 0;
  return 1;
}

static int read_small(struct monitor *monitor, struct client *client) {
  u32 size = big_endian(client->header + 4);
  int got = receive(client, client->payload + (size - client->remaining), client->remaining);
  if (got <= 0) return got;
  client->remaining -= (u32)got;
  if (client->remaining > 0) return 1;
  handle_frame(monitor, client);
  client->have = 0;
  return 1;
}

/* Into the buffer of the input, from where it goes on at once or stays until the container takes it. */
static int read_stdin(struct monitor *monitor, struct client *client) {
  if (input_blocked(&monitor->input)) return -1;
  size_t most = client->remaining < CHUNK_SIZE ? client->remaining : CHUNK_SIZE;
  int got = receive(client, monitor->input.bytes, most);
  if (got <= 0) return got;
  client->remaining -= (u32)got;
  if (client->remaining == 0) client->have = 0;
  if (client->input) input_give(monitor, (size_t)got);
  return 1;
}

/* Has the client come to bytes that the container does not take at present? */
bool client_held_back(const struct monitor *monitor, const struct client *client) {
  return client->have == HEADER_SIZE && client->header[0] == FRAME_STDIN && input_blocked(&monitor->input);
}

void client_read(struct monitor *monitor, struct client *client) {
  enum { FRAMES_AT_ONCE = 16 }; /* others wait as well */
  for (int turn = 0; turn < FRAMES_AT_ONCE * 2; turn++) {
    int got = client->have < HEADER_SIZE           ? read_header(monitor, client)
              : client->header[0] == FRAME_STDIN ? read_stdin(monitor, client)
                                                   : read_small(monitor, client);
    if (got < 0) return;
    if (got == 0) {
      end_of_input(monitor, client);
      return;
    }
  }
}
