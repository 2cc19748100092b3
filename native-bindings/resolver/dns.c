#include "dns.h"

#include <string.h>

enum { QR = 0x8000, OPCODE = 0x7800, TRUNCATED = 0x0200, RD = 0x0100, RA = 0x0080, CD = 0x0010 };
enum { LABEL_MAX = 63, POINTER = 0xc0, FIXED_PART = 10, OPT_SIZE = 11 };

static u16 get16(const u8 *at) { return (u16)(at[0] << 8 | at[1]); }

static void put16(u8 *at, u16 value) {
  at[0] = (u8)(value >> 8);
  at[1] = (u8)value;
}

static void put32(u8 *at, u32 value) {
  put16(at, (u16)(value >> 16));
  put16(at + 2, (u16)value);
}

u16 dns_id(const u8 *message) { return get16(message); }
void dns_set_id(u8 *message, u16 id) { put16(message, id); }
int dns_code(const u8 *response) { return response[3] & 15; }

static char lower(u8 byte) { return (char)(byte >= 'A' && byte <= 'Z' ? byte | 0x20 : byte); }

/* A label of what may be a host's name: a dot within it, or a byte that is not to be seen, would make another name of it as text. */
static bool is_plain(const u8 *label, size_t size) {
  for (size_t at = 0; at < size; at++)
    if (label[at] <= ' ' || label[at] >= 0x7f || label[at] == '.') return false;
  return true;
}

/* @returns where the name ends; 0 when it is none. A query has nothing before it that it could point to. */
static size_t read_name(const u8 *message, size_t length, size_t at, char *text) {
  size_t used = 0, wire = 1;
  bool plain = true;
  for (;;) {
    if (at >= length) return 0;
    size_t size = message[at++];
    if (size == 0) break;
    wire += size + 1;
    if (size > LABEL_MAX || size > length - at || wire >= DNS_NAME_SIZE) return 0;
    plain = plain && is_plain(message + at, size);
    if (used > 0) text[used++] = '.';
    for (size_t end = at + size; at < end; at++) text[used++] = lower(message[at]);
  }
  text[plain ? used : 0] = 0;
  return at;
}

/* @returns where it ends; 0 when it is none */
static size_t skip_name(const u8 *message, size_t length, size_t at) {
  while (at < length) {
    size_t size = message[at];
    if (size == 0) return at + 1;
    if ((size & POINTER) == POINTER) return length - at >= 2 ? at + 2 : 0;
    if (size > LABEL_MAX) return 0;
    at += size + 1;
  }
  return 0;
}

/* The records behind the question: of interest is what the client takes. */
static bool read_records(const u8 *message, size_t length, struct dns_query *query) {
  unsigned count = (unsigned)get16(message + 6) + get16(message + 8) + get16(message + 10);
  size_t at = query->end;
  for (; count > 0; count--) {
    at = skip_name(message, length, at);
    if (at == 0 || length - at < FIXED_PART) return false;
    size_t size = get16(message + at + 8);
    if (get16(message + at) == DNS_OPT) {
      query->edns = true;
      query->udp_size = get16(message + at + 2);
    }
    at += FIXED_PART;
    if (size > length - at) return false;
    at += size;
  }
  return true;
}

int dns_read(const u8 *message, size_t length, struct dns_query *query) {
  *query = (struct dns_query){.udp_size = DNS_PLAIN_UDP};
  if (length < DNS_HEADER || (get16(message + 2) & QR) != 0) return -1;
  query->id = get16(message);
  if ((get16(message + 2) & OPCODE) != 0) return DNS_NOTIMP;
  if (get16(message + 4) != 1) return DNS_FORMERR;
  size_t end = read_name(message, length, DNS_HEADER, query->name);
  if (end == 0 || length - end < 4) {
    query->name[0] = 0;
    return DNS_FORMERR;
  }
  query->type = get16(message + end);
  query->class = get16(message + end + 2);
  query->end = end + 4;
  if (!read_records(message, length, query)) return DNS_FORMERR;
  if (query->udp_size < DNS_PLAIN_UDP) query->udp_size = DNS_PLAIN_UDP;
  if (query->udp_size > DNS_LARGEST_UDP) query->udp_size = DNS_LARGEST_UDP;
  return DNS_NOERROR;
}

void dns_begin(struct dns_answer *answer, u8 *bytes, size_t capacity, const u8 *message, const struct dns_query *query) {
  size_t end = query->end == 0 ? DNS_HEADER : query->end;
  *answer = (struct dns_answer){.bytes = bytes, .length = end, .capacity = capacity - (query->edns ? OPT_SIZE : 0)};
  memmove(bytes, message, end);
  put16(bytes + 2, (u16)(QR | RA | (get16(message + 2) & (OPCODE | RD | CD))));
  put16(bytes + 4, query->end == 0 ? 0 : 1);
  memset(bytes + 6, 0, 6);
}

/* The head of a record about the name that was asked for. @returns where its data goes; NULL when there is no room */
static u8 *add_record(struct dns_answer *answer, u16 type, size_t size) {
  size_t whole = 2 + FIXED_PART + size;
  if (answer->truncated || whole > answer->capacity - answer->length) {
    answer->truncated = true;
    return NULL;
  }
  u8 *at = answer->bytes + answer->length;
  put16(at, (u16)(POINTER << 8 | DNS_HEADER));
  put16(at + 2, type);
  put16(at + 4, DNS_IN);
  put32(at + 6, DNS_TTL);
  put16(at + 10, (u16)size);
  answer->length += whole;
  answer->count++;
  return at + 12;
}

void dns_add_address(struct dns_answer *answer, const u8 *address, size_t size) {
  u8 *data = add_record(answer, size == 4 ? DNS_A : DNS_AAAA, size);
  if (data != NULL) memcpy(data, address, size);
}

/* A name as text to its bytes. @returns how many; 0 when it is none */
static size_t write_name(u8 *bytes, const char *name) {
  size_t used = 0;
  for (const char *label = name; *label != 0;) {
    size_t size = strcspn(label, ".");
    if (size == 0 || size > LABEL_MAX || used + size + 2 > DNS_NAME_SIZE - 1) return 0;
    bytes[used++] = (u8)size;
    memcpy(bytes + used, label, size);
    used += size;
    label += size + (label[size] == '.');
  }
  bytes[used++] = 0;
  return used;
}

void dns_add_name(struct dns_answer *answer, const char *name) {
  u8 bytes[DNS_NAME_SIZE];
  size_t size = write_name(bytes, name);
  u8 *data = size == 0 ? NULL : add_record(answer, DNS_PTR, size);
  if (data != NULL) memcpy(data, bytes, size);
}

size_t dns_end(struct dns_answer *answer, const struct dns_query *query, int code) {
  u8 *bytes = answer->bytes;
  u16 flags = get16(bytes + 2);
  put16(bytes + 2, (u16)(flags | (answer->truncated ? TRUNCATED : 0) | code));
  put16(bytes + 6, answer->count);
  if (!query->edns) return answer->length;
  u8 *at = bytes + answer->length;
  at[0] = 0;
  put16(at + 1, DNS_OPT);
  put16(at + 3, DNS_LARGEST_UDP);
  memset(at + 5, 0, OPT_SIZE - 5);
  put16(bytes + 10, 1);
  return answer->length + OPT_SIZE;
}

bool dns_matches(const u8 *response, size_t length, const u8 *message, const struct dns_query *query) {
  if (length < DNS_HEADER || (get16(response + 2) & QR) == 0) return false;
  /* Some refuse without repeating what was asked. */
  if (get16(response + 4) == 0) return dns_code(response) != DNS_NOERROR;
  size_t size = query->end - DNS_HEADER;
  return length >= query->end && memcmp(response + DNS_HEADER, message + DNS_HEADER, size) == 0;
}

static int digit(char one) {
  if (one >= '0' && one <= '9') return one - '0';
  return one >= 'a' && one <= 'f' ? one - 'a' + 10 : -1;
}

/* `2.0.18.172.in-addr.arpa` */
static size_t reverse4(const char *at, u8 address[16]) {
  for (int index = 3; index >= 0; index--) {
    int value = 0, digits = 0;
    for (; *at >= '0' && *at <= '9' && digits < 3; digits++) value = value * 10 + (*at++ - '0');
    if (digits == 0 || value > 255 || *at++ != '.') return 0;
    address[index] = (u8)value;
  }
  return strcmp(at, "in-addr.arpa") == 0 ? 4 : 0;
}

/* Its digits from the last to the first, each with a dot. */
static size_t reverse6(const char *at, u8 address[16]) {
  for (int index = 15; index >= 0; index--) {
    int low = digit(at[0]);
    if (low < 0 || at[1] != '.') return 0;
    int high = digit(at[2]);
    if (high < 0 || at[3] != '.') return 0;
    address[index] = (u8)(high << 4 | low);
    at += 4;
  }
  return strcmp(at, "ip6.arpa") == 0 ? 16 : 0;
}

size_t dns_reverse(const char *name, u8 address[16]) {
  size_t size = reverse4(name, address);
  return size != 0 ? size : reverse6(name, address);
}
