/* Queries over UDP. Each that is passed on has a socket of its own, connected to whom it was sent: so only that one can answer, and the
 * port and the id are anybody's guess. */
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

#include "resolver.h"

enum { QUERY_MAX = 1500, AT_ONCE = 32 };

struct pending {
  int fd; /* 0: free */
  u16 id; /* as it was passed on; the client's own is in the query */
  u16 length;
  u8 upstream;
  i64 deadline;
  struct sockaddr_in client;
  struct dns_query query;
};

/* The first that is free is taken, so that in calm days only the first few have memory. */
static struct pending pendings[DATAGRAMS_MAX];
static u8 messages[DATAGRAMS_MAX][QUERY_MAX];
static u8 buffer[DNS_LARGEST + 1];

static u8 *message_of(const struct pending *pending) { return messages[pending - pendings]; }

static void reply(int listener, const struct sockaddr_in *client, const u8 *message, size_t length) {
  /* A client that takes nothing gets nothing. */
  sendto(listener, message, length, MSG_DONTWAIT | MSG_NOSIGNAL, (const struct sockaddr *)client, sizeof *client);
}

static void drop(struct pending *pending) {
  close(pending->fd);
  pending->fd = 0;
}

static bool ask(struct pending *pending) {
  const struct upstream *upstream = &upstreams[pending->upstream];
  u8 head[2];
  int fd = socket(upstream->address.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  pending->id = random_id();
  dns_set_id(head, pending->id);
  struct iovec parts[] = {{head, 2}, {message_of(pending) + 2, (size_t)pending->length - 2}};
  struct msghdr whole = {.msg_iov = parts, .msg_iovlen = 2};
  if (connect(fd, (const struct sockaddr *)&upstream->address, upstream->size) < 0 || sendmsg(fd, &whole, MSG_NOSIGNAL) < 0) {
    close(fd);
    return false;
  }
  pending->fd = fd;
  return true;
}

/* Asks from `upstream` on; when nobody can be asked the client is told. */
static void ask_from(int listener, struct pending *pending, size_t upstream, i64 now) {
  if (pending->fd > 0) drop(pending);
  for (; upstream < upstream_count; upstream++) {
    pending->upstream = (u8)upstream;
    pending->deadline = now + PATIENCE_MS;
    if (ask(pending)) return;
  }
  size_t length = answer_code(message_of(pending), &pending->query, DNS_SERVFAIL, buffer, sizeof buffer);
  reply(listener, &pending->client, buffer, length);
}

/* A client that has waited asks once more: the first time counts. */
static bool is_pending(const struct sockaddr_in *client, const u8 *message, size_t length) {
  for (size_t index = 0; index < DATAGRAMS_MAX; index++) {
    const struct pending *one = &pendings[index];
    if (one->fd > 0 && one->client.sin_port == client->sin_port && one->length == length &&
        one->client.sin_addr.s_addr == client->sin_addr.s_addr && memcmp(message_of(one), message, length) == 0)
      return true;
  }
  return false;
}

static void pass_on(int listener, const struct sockaddr_in *client, const struct dns_query *query, size_t length, i64 now) {
  if (is_pending(client, buffer, length)) return;
  size_t index = 0;
  while (index < DATAGRAMS_MAX && pendings[index].fd > 0) index++;
  if (index == DATAGRAMS_MAX || length > QUERY_MAX) {
    reply(listener, client, buffer, answer_code(buffer, query, DNS_SERVFAIL, buffer, sizeof buffer));
    return;
  }
  struct pending *pending = &pendings[index];
  pending->length = (u16)length;
  pending->client = *client;
  pending->query = *query;
  memcpy(message_of(pending), buffer, length);
  ask_from(listener, pending, 0, now);
}

static void serve_query(int listener, const struct sockaddr_in *client, size_t length, i64 now) {
  static u8 own[DNS_LARGEST_UDP];
  struct dns_query query;
  int code = dns_read(buffer, length, &query);
  if (code < 0) return;
  size_t size = code != DNS_NOERROR ? answer_code(buffer, &query, code, own, sizeof own)
                                    : answer_own(buffer, &query, own, query.udp_size);
  if (size > 0) reply(listener, client, own, size);
  else pass_on(listener, client, &query, length, now);
}

static void serve_response(int listener, struct pending *pending, i64 now) {
  ssize_t got = recv(pending->fd, buffer, DNS_LARGEST, MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  /* Another error is most often that nobody listens there. */
  size_t length = got < 0 ? 0 : (size_t)got;
  bool matches = dns_matches(buffer, length, message_of(pending), &pending->query) && dns_id(buffer) == pending->id;
  if (got >= 0 && !matches) return;
  if (got < 0 || !is_final(buffer, pending->upstream)) {
    ask_from(listener, pending, pending->upstream + 1u, now);
    return;
  }
  dns_set_id(buffer, pending->query.id);
  reply(listener, &pending->client, buffer, length);
  drop(pending);
}

size_t datagrams_poll(int listener, struct pollfd *polls, i64 *deadline) {
  polls[0] = (struct pollfd){listener, POLLIN, 0};
  for (size_t index = 0; index < DATAGRAMS_MAX; index++) {
    const struct pending *one = &pendings[index];
    polls[1 + index] = (struct pollfd){one->fd > 0 ? one->fd : -1, POLLIN, 0};
    if (one->fd > 0 && one->deadline < *deadline) *deadline = one->deadline;
  }
  return 1 + DATAGRAMS_MAX;
}

void datagrams_serve(int listener, const struct pollfd *polls, i64 now) {
  for (size_t index = 0; index < DATAGRAMS_MAX; index++) {
    struct pending *one = &pendings[index];
    if (one->fd <= 0) continue;
    if (polls[1 + index].revents != 0) serve_response(listener, one, now);
    if (one->fd > 0 && one->deadline <= now) ask_from(listener, one, one->upstream + 1u, now);
  }
  for (int times = 0; polls[0].revents != 0 && times < AT_ONCE; times++) {
    struct sockaddr_in client;
    socklen_t size = sizeof client;
    ssize_t got = recvfrom(listener, buffer, sizeof buffer, MSG_DONTWAIT, (struct sockaddr *)&client, &size);
    if (got < 0) return;
    serve_query(listener, &client, (size_t)got, now);
  }
}
