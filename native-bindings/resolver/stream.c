/* Queries over TCP: a length of two bytes, then the message. One at a time of each client; what it sends meanwhile waits in its socket.
 * @see RFC 7766 */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "resolver.h"

enum { QUERY_MAX = 4096, IDLE_MS = 10000, PREFIX = 2 };

enum state { FREE, READING, ASKING, HEARING, WRITING };

/* Taken from the kernel for a client, and given back when it has gone. */
struct buffers {
  u8 query[PREFIX + QUERY_MAX];
  u8 reply[PREFIX + DNS_LARGEST + 1];
};

struct stream {
  enum state state;
  int client, server; /* -1: none */
  size_t upstream;
  u16 id;
  /* Of what is read or written now. */
  size_t done, total;
  i64 deadline;
  struct dns_query query;
  struct buffers *buffers;
};

static struct stream streams[STREAMS_MAX];

static size_t get_length(const u8 *prefix) { return (size_t)(prefix[0] << 8 | prefix[1]); }

static void put_length(u8 *prefix, size_t length) {
  prefix[0] = (u8)(length >> 8);
  prefix[1] = (u8)length;
}

static void enter(struct stream *stream, enum state state, size_t total, i64 deadline) {
  stream->state = state;
  stream->done = 0;
  stream->total = total;
  stream->deadline = deadline;
}

static void hang_up(struct stream *stream) {
  if (stream->server >= 0) close(stream->server);
  stream->server = -1;
}

static void end(struct stream *stream) {
  hang_up(stream);
  close(stream->client);
  munmap(stream->buffers, sizeof *stream->buffers);
  *stream = (struct stream){0};
}

static void write_reply(struct stream *stream, size_t length, i64 now) {
  hang_up(stream);
  put_length(stream->buffers->reply, length);
  enter(stream, WRITING, PREFIX + length, now + IDLE_MS);
}

static void write_code(struct stream *stream, int code, i64 now) {
  struct buffers *buffers = stream->buffers;
  write_reply(stream, answer_code(buffers->query + PREFIX, &stream->query, code, buffers->reply + PREFIX, DNS_LARGEST), now);
}

/* Asks from `upstream` on; when nobody can be asked the client is told. */
static void ask_from(struct stream *stream, size_t upstream, i64 now) {
  u8 *query = stream->buffers->query;
  size_t total = PREFIX + get_length(query);
  hang_up(stream);
  for (; upstream < upstream_count; upstream++) {
    const struct upstream *server = &upstreams[upstream];
    int fd = socket(server->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) continue;
    if (connect(fd, (const struct sockaddr *)&server->address, server->size) < 0 && errno != EINPROGRESS) {
      close(fd);
      continue;
    }
    stream->server = fd;
    stream->upstream = upstream;
    stream->id = random_id();
    dns_set_id(query + PREFIX, stream->id);
    enter(stream, ASKING, total, now + PATIENCE_MS);
    return;
  }
  dns_set_id(query + PREFIX, stream->query.id);
  write_code(stream, DNS_SERVFAIL, now);
}

static void serve_query(struct stream *stream, i64 now) {
  struct buffers *buffers = stream->buffers;
  const u8 *message = buffers->query + PREFIX;
  int code = dns_read(message, get_length(buffers->query), &stream->query);
  size_t length = code == DNS_NOERROR ? answer_own(message, &stream->query, buffers->reply + PREFIX, DNS_LARGEST) : 0;
  if (code < 0) end(stream);
  else if (code != DNS_NOERROR) write_code(stream, code, now);
  else if (length > 0) write_reply(stream, length, now);
  else ask_from(stream, 0, now);
}

static void serve_response(struct stream *stream, i64 now) {
  u8 *response = stream->buffers->reply + PREFIX;
  size_t length = get_length(stream->buffers->reply);
  const u8 *message = stream->buffers->query + PREFIX;
  bool matches = dns_matches(response, length, message, &stream->query) && dns_id(response) == stream->id;
  if (!matches || !is_final(response, stream->upstream)) {
    ask_from(stream, stream->upstream + 1, now);
    return;
  }
  dns_set_id(response, stream->query.id);
  write_reply(stream, length, now);
}

/* Reads on: the length first, then what it says. @returns 1 when all is there, 0 when not yet, -1 at an end or an error */
static int read_on(struct stream *stream, int fd, u8 *bytes, size_t limit) {
  for (;;) {
    ssize_t got = recv(fd, bytes + stream->done, stream->total - stream->done, MSG_DONTWAIT);
    if (got < 0) return errno == EAGAIN || errno == EINTR ? 0 : -1;
    if (got == 0) return -1;
    stream->done += (size_t)got;
    if (stream->done < stream->total) continue;
    if (stream->total > PREFIX) return 1;
    size_t length = get_length(bytes);
    if (length < DNS_HEADER || length > limit) return -1;
    stream->total = PREFIX + length;
  }
}

static int write_on(struct stream *stream, int fd, const u8 *bytes) {
  ssize_t sent = send(fd, bytes + stream->done, stream->total - stream->done, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent < 0) return errno == EAGAIN || errno == EINTR ? 0 : -1;
  stream->done += (size_t)sent;
  return stream->done == stream->total;
}

static void go_on(struct stream *stream, i64 now) {
  struct buffers *buffers = stream->buffers;
  int result;
  switch (stream->state) {
    case READING:
      result = read_on(stream, stream->client, buffers->query, QUERY_MAX);
      if (result < 0) end(stream);
      else if (result > 0) serve_query(stream, now);
      break;
    case ASKING:
      result = write_on(stream, stream->server, buffers->query);
      if (result < 0) ask_from(stream, stream->upstream + 1, now);
      else if (result > 0) enter(stream, HEARING, PREFIX, stream->deadline);
      break;
    case HEARING:
      result = read_on(stream, stream->server, buffers->reply, DNS_LARGEST);
      if (result < 0) ask_from(stream, stream->upstream + 1, now);
      else if (result > 0) serve_response(stream, now);
      break;
    case WRITING:
      result = write_on(stream, stream->client, buffers->reply);
      if (result < 0) end(stream);
      else if (result > 0) enter(stream, READING, PREFIX, now + IDLE_MS);
      break;
    case FREE:
      break;
  }
}

/* A place for one more client: at the worst that of the one which has been silent for the longest time. */
static struct stream *place(void) {
  struct stream *silent = NULL;
  for (size_t index = 0; index < STREAMS_MAX; index++) {
    struct stream *one = &streams[index];
    if (one->state == FREE) return one;
    if (one->state == READING && (silent == NULL || one->deadline < silent->deadline)) silent = one;
  }
  if (silent != NULL) end(silent);
  return silent;
}

static void take_client(int listener, i64 now) {
  int client = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (client < 0) return;
  struct stream *stream = place();
  struct buffers *buffers = MAP_FAILED;
  if (stream != NULL) buffers = mmap(NULL, sizeof *buffers, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (buffers == MAP_FAILED) {
    close(client);
    return;
  }
  *stream = (struct stream){.client = client, .server = -1, .buffers = buffers};
  enter(stream, READING, PREFIX, now + IDLE_MS);
}

static void time_out(struct stream *stream, i64 now) {
  if (stream->state == ASKING || stream->state == HEARING) ask_from(stream, stream->upstream + 1, now);
  else end(stream);
}

/* One of the two is waited for. The client's other is looked at as well while a server is asked: it may have gone. */
size_t streams_poll(int listener, struct pollfd *polls, i64 *deadline) {
  polls[0] = (struct pollfd){listener, POLLIN, 0};
  for (size_t index = 0; index < STREAMS_MAX; index++) {
    const struct stream *one = &streams[index];
    bool asks = one->state == ASKING || one->state == HEARING;
    short client = one->state == READING ? POLLIN : one->state == WRITING ? POLLOUT : 0;
    polls[1 + 2 * index] = (struct pollfd){one->state == FREE ? -1 : one->client, client, 0};
    polls[2 + 2 * index] = (struct pollfd){asks ? one->server : -1, one->state == ASKING ? POLLOUT : POLLIN, 0};
    if (one->state != FREE && one->deadline < *deadline) *deadline = one->deadline;
  }
  return 1 + 2 * STREAMS_MAX;
}

void streams_serve(int listener, const struct pollfd *polls, i64 now) {
  for (size_t index = 0; index < STREAMS_MAX; index++) {
    struct stream *one = &streams[index];
    if (one->state == FREE) continue;
    bool asks = one->state == ASKING || one->state == HEARING;
    short client = polls[1 + 2 * index].revents, server = polls[2 + 2 * index].revents;
    if (asks && (client & (POLLERR | POLLHUP)) != 0) end(one);
    else if ((asks ? server : client) != 0) go_on(one, now);
    if (one->state != FREE && one->deadline <= now) time_out(one, now);
  }
  if (polls[0].revents != 0) take_client(listener, now);
}
