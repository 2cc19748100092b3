/* DNS messages: reading a query, making an answer. Every byte that is read was sent by the container or by a server. Pure.
 * @see RFC 1035, 4.1; RFC 6891 */
#pragma once

#include "../base.h"

enum { DNS_HEADER = 12, DNS_NAME_SIZE = 256, DNS_PLAIN_UDP = 512, DNS_LARGEST_UDP = 4096, DNS_LARGEST = 65535 };
enum { DNS_A = 1, DNS_PTR = 12, DNS_AAAA = 28, DNS_OPT = 41 };
enum { DNS_IN = 1, DNS_ANY_CLASS = 255 };
enum { DNS_NOERROR = 0, DNS_FORMERR = 1, DNS_SERVFAIL = 2, DNS_NOTIMP = 4, DNS_REFUSED = 5 };

/* Seconds that an answer may be kept: Docker's. */
enum { DNS_TTL = 600 };

struct dns_query {
  u16 id, type, class;
  /* Where the question ends, for it is echoed byte for byte; 0 when it is none. */
  size_t end;
  /* What the client takes over UDP. */
  size_t udp_size;
  bool edns;
  /* In lower case and without the last dot; empty when a label has a byte that no host's name has, and for the root. */
  char name[DNS_NAME_SIZE];
};

/* @returns DNS_NOERROR, the code to refuse it with, or -1 for what is no query and gets no answer */
int dns_read(const u8 *message, size_t length, struct dns_query *query);

/* An answer in the making. */
struct dns_answer {
  u8 *bytes;
  size_t length, capacity;
  u16 count;
  bool truncated;
};

/* @param capacity at least DNS_PLAIN_UDP */
void dns_begin(struct dns_answer *answer, u8 *bytes, size_t capacity, const u8 *message, const struct dns_query *query);
/* 4 or 16 bytes. What does not fit is left out, and the answer says so. */
void dns_add_address(struct dns_answer *answer, const u8 *address, size_t size);
void dns_add_name(struct dns_answer *answer, const char *name);
/* @returns the length of the message */
size_t dns_end(struct dns_answer *answer, const struct dns_query *query, int code);

/* Is it an answer to this query, whichever its id is? */
bool dns_matches(const u8 *response, size_t length, const u8 *message, const struct dns_query *query);
int dns_code(const u8 *response);
u16 dns_id(const u8 *message);
void dns_set_id(u8 *message, u16 id);

/* The address of a name below in-addr.arpa or ip6.arpa. @returns 4, 16, or 0 when it is none */
size_t dns_reverse(const char *name, u8 address[16]);
