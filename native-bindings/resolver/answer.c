/* Answers from the names of the container's networks. */
#include "names.h"
#include "resolver.h"

size_t answer_code(const u8 *message, const struct dns_query *query, int code, u8 *reply, size_t room) {
  struct dns_answer answer;
  dns_begin(&answer, reply, room, message, query);
  return dns_end(&answer, query, code);
}

static size_t answer_name(const u8 *message, const struct dns_query *query, u8 *reply, size_t room) {
  static struct addresses found;
  static size_t turn;
  struct dns_answer answer;
  if (!names_lookup(query->name, query->type == DNS_AAAA ? 16 : 4, &found)) return 0;
  /* One that is there but has no such record is answered so too: nobody else is to say that there is no such name. */
  if (query->type != DNS_A && query->type != DNS_AAAA) found.count = 0;
  dns_begin(&answer, reply, room, message, query);
  /* Several of one name take turns to be the first. */
  turn++;
  for (size_t index = 0; index < found.count; index++)
    dns_add_address(&answer, found.bytes[(turn + index) % found.count], found.size);
  return dns_end(&answer, query, DNS_NOERROR);
}

static size_t answer_address(const u8 *message, const struct dns_query *query, u8 *reply, size_t room) {
  u8 address[16];
  char name[DNS_NAME_SIZE];
  struct dns_answer answer;
  size_t size = dns_reverse(query->name, address);
  if (size == 0 || !names_reverse(address, size, name, sizeof name)) return 0;
  dns_begin(&answer, reply, room, message, query);
  dns_add_name(&answer, name);
  return dns_end(&answer, query, DNS_NOERROR);
}

size_t answer_own(const u8 *message, const struct dns_query *query, u8 *reply, size_t room) {
  if (query->name[0] != 0 && (query->class == DNS_IN || query->class == DNS_ANY_CLASS)) {
    names_refresh();
    size_t length = query->type == DNS_PTR ? answer_address(message, query, reply, room) : 0;
    if (length == 0) length = answer_name(message, query, reply, room);
    if (length != 0) return length;
  }
  return upstream_count == 0 ? answer_code(message, query, DNS_SERVFAIL, reply, room) : 0;
}
