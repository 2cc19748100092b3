/* The parts of the resolver between its sockets. */
#pragma once

#include <poll.h>
#include <sys/socket.h>

#include "dns.h"

enum { UPSTREAMS_MAX = 8, PATIENCE_MS = 2000 };

/* Who is asked for names of outside, in this order. None: nobody is. */
struct upstream {
  struct sockaddr_storage address;
  socklen_t size;
};
extern struct upstream upstreams[UPSTREAMS_MAX];
extern size_t upstream_count;

/* Milliseconds of a clock that only goes forward. */
i64 now_ms(void);
u16 random_id(void);

/* A refusal or a failure has no say as long as there is somebody else to ask. */
static inline bool is_final(const u8 *response, size_t upstream) {
  int code = dns_code(response);
  return upstream + 1 >= upstream_count || (code != DNS_SERVFAIL && code != DNS_REFUSED);
}

/* What is answered without asking anybody. @param room of `reply` @returns its length, or 0 when somebody else has to be asked */
size_t answer_own(const u8 *message, const struct dns_query *query, u8 *reply, size_t room);
/* @returns the length of a refusal with this code */
size_t answer_code(const u8 *message, const struct dns_query *query, int code, u8 *reply, size_t room);

/* Queries by datagram, and by stream. Each part fills in what it waits for, and is then told what has happened. */
enum { DATAGRAMS_MAX = 128, STREAMS_MAX = 16, POLLS_MAX = 1 + 1 + DATAGRAMS_MAX + 1 + 2 * STREAMS_MAX };

size_t datagrams_poll(int listener, struct pollfd *polls, i64 *deadline);
void datagrams_serve(int listener, const struct pollfd *polls, i64 now);
size_t streams_poll(int listener, struct pollfd *polls, i64 *deadline);
void streams_serve(int listener, const struct pollfd *polls, i64 now);
