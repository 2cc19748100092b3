/* What the resolver reads: messages by themselves and at random, names, and the files they are from. A seed may be given: dns_test CASES SEED */
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "resolver/json.h"
#include "resolver/names.h"
#include "resolver/resolver.h"
#include "test.h"

struct upstream upstreams[UPSTREAMS_MAX];
size_t upstream_count;

static char root[64];

/* A query for a name with its labels as they go over the wire. */
static size_t make_query(u8 *bytes, const char *wire, size_t size, u16 type, bool edns) {
  static const u8 head[DNS_HEADER] = {0x12, 0x34, 1, 0, 0, 1};
  static const u8 opt[] = {0, 0, 41, 0x10, 0, 0, 0, 0, 0, 0, 0};
  memcpy(bytes, head, sizeof head);
  memcpy(bytes + DNS_HEADER, wire, size);
  u8 *at = bytes + DNS_HEADER + size;
  const u8 rest[] = {0, (u8)(type >> 8), (u8)type, 0, 1};
  memcpy(at, rest, sizeof rest);
  at += sizeof rest;
  if (edns) {
    bytes[11] = 1;
    memcpy(at, opt, sizeof opt);
    at += sizeof opt;
  }
  return (size_t)(at - bytes);
}

static int read_exactly(const u8 *bytes, size_t length, struct dns_query *query) {
  u8 *copy = exact(bytes, length);
  int code = dns_read(copy, length, query);
  free(copy);
  return code;
}

static void test_reading(void) {
  u8 bytes[512];
  struct dns_query query;
  size_t length = make_query(bytes, "\3wEb\4Mine", 9, DNS_A, true);
  CHECK(read_exactly(bytes, length, &query) == DNS_NOERROR);
  CHECK(strcmp(query.name, "web.mine") == 0 && query.type == DNS_A && query.class == DNS_IN && query.id == 0x1234);
  CHECK(query.edns && query.udp_size == 4096 && query.end == DNS_HEADER + 14);
  /* Cut anywhere it is refused or ignored, and nothing behind it is read. */
  for (size_t cut = 0; cut < length; cut++) CHECK(read_exactly(bytes, cut, &query) == (cut < DNS_HEADER ? -1 : DNS_FORMERR));
  bytes[2] = 0x81;
  CHECK(read_exactly(bytes, length, &query) == -1);
  bytes[2] = 0x28;
  CHECK(read_exactly(bytes, length, &query) == DNS_NOTIMP);
  bytes[2] = 1;
  bytes[5] = 2;
  CHECK(read_exactly(bytes, length, &query) == DNS_FORMERR);
  /* A pointer to itself, and a dot within a label. */
  length = make_query(bytes, "\300\14", 2, DNS_A, false);
  CHECK(read_exactly(bytes, length, &query) == DNS_FORMERR);
  length = make_query(bytes, "\3a.b", 4, DNS_A, false);
  CHECK(read_exactly(bytes, length, &query) == DNS_NOERROR && query.name[0] == 0);
  /* 255 bytes are a name, one more is none. */
  char wire[300];
  memset(wire, 'x', sizeof wire);
  for (size_t at = 0; at < 256; at += 64) wire[at] = 63;
  wire[192] = 61;
  length = make_query(bytes, wire, 254, DNS_A, false);
  CHECK(read_exactly(bytes, length, &query) == DNS_NOERROR && strlen(query.name) == 253);
  wire[192] = 62;
  length = make_query(bytes, wire, 255, DNS_A, false);
  CHECK(read_exactly(bytes, length, &query) == DNS_FORMERR);
}

static void test_reverse(void) {
  u8 address[16];
  CHECK(dns_reverse("4.0.18.172.in-addr.arpa", address) == 4 && memcmp(address, "\254\22\0\4", 4) == 0);
  const char *six = "3.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa";
  CHECK(dns_reverse(six, address) == 16 && address[0] == 0xfd && address[15] == 3);
  const char *const none[] = {"", "4", "4.0.18", "256.0.0.1.in-addr.arpa", "1.2.3.4.in-addr.arp", "1.2.3.4.5.in-addr.arpa", "a.0.", six + 2};
  for (size_t index = 0; index < sizeof none / sizeof none[0]; index++) CHECK(dns_reverse(none[index], address) == 0);
}

static void test_json(void) {
  char text[] = " {\"skip\": [1, {\"a\": \"]}\"}, null], \"text\": \"a\\\"\\u0041\\u00e9\\n\", \"list\":[ ] } ";
  char *key, *value;
  char *copy = (char *)exact(text, strlen(text));
  struct json json = {copy, copy + strlen(text), false};
  CHECK(json_enter(&json, '{') && json_key(&json, &key) && strcmp(key, "skip") == 0);
  json_skip(&json);
  CHECK(json_key(&json, &key) && strcmp(key, "text") == 0 && json_text(&json, &value));
  CHECK(strcmp(value, "a\"A?\n") == 0);
  CHECK(json_key(&json, &key) && strcmp(key, "list") == 0 && json_enter(&json, '[') && !json_item(&json));
  CHECK(!json_key(&json, &key) && !json.bad);
  free(copy);
}

static void write_file(const char *id, const char *text, size_t length) {
  char path[256];
  snprintf(path, sizeof path, "%s/%s", root, id);
  mkdir(path, 0700);
  snprintf(path, sizeof path, "%s/%s/network.json", root, id);
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  CHECK(fd >= 0 && write(fd, text, length) == (ssize_t)length);
  close(fd);
}

static void remove_all(void) {
  char command[128];
  snprintf(command, sizeof command, "rm -rf %s", root);
  CHECK(system(command) == 0);
}

static const char OWN[] = "a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0";
static const char OTHER[] = "c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3";
static const char OWN_FILE[] =
    "{\"endpoints\":[{\"networkId\":\"n\",\"network\":\"mine\",\"address\":\"10.0.0.2/8\",\"names\":[\"me\"],\"links\":[\"web:www\"]}]}";
static const char OTHER_FILE[] =
    "{\"ports\":[{}],\"endpoints\":[{\"network\":\"default\",\"names\":[]},"
    "{\"networkId\":\"n\",\"network\":\"mine\",\"address\":\"10.0.0.3/8\",\"address6\":\"fd00::3/64\",\"names\":[\"web\",\"All\"]}]}";

static void test_names(void) {
  struct addresses found;
  char text[DNS_NAME_SIZE];
  write_file(OWN, OWN_FILE, strlen(OWN_FILE));
  write_file(OTHER, OTHER_FILE, strlen(OTHER_FILE));
  CHECK(names_open(open(root, O_RDONLY | O_DIRECTORY), OWN) == 0);
  names_refresh();
  CHECK(names_lookup("all", 4, &found) && found.count == 1 && memcmp(found.bytes[0], "\12\0\0\3", 4) == 0);
  CHECK(names_lookup("www", 16, &found) && found.count == 1 && found.bytes[0][15] == 3);
  CHECK(names_lookup("web.mine", 4, &found) && names_lookup("me", 16, &found) && found.count == 0);
  CHECK(!names_lookup("web.other", 4, &found) && !names_lookup(".mine", 4, &found) && !names_lookup("w", 4, &found));
  CHECK(names_reverse((const u8 *)"\12\0\0\3", 4, text, sizeof text) && strcmp(text, "web.mine") == 0);
  CHECK(!names_reverse((const u8 *)"\12\0\0\3", 4, text, 8));
  names_close();
}

/* Files cut anywhere or changed at random: nothing is read behind them, and a whole one counts again. */
static void fuzz_files(int cases) {
  struct addresses found;
  char text[sizeof OTHER_FILE];
  CHECK(names_open(open(root, O_RDONLY | O_DIRECTORY), OWN) == 0);
  for (int index = 0; index < cases; index++) {
    size_t length = sizeof OTHER_FILE - 1;
    memcpy(text, OTHER_FILE, length);
    if (index % 2 == 0) length = (size_t)rand() % length;
    for (int change = rand() % 4; change > 0; change--) text[(size_t)rand() % sizeof OTHER_FILE] = (char)(rand() % 3 == 0 ? "\"[]{}\\,:"[rand() % 8] : rand());
    write_file(OTHER, text, length);
    names_refresh();
    names_lookup("web", 4, &found);
  }
  write_file(OTHER, OTHER_FILE, strlen(OTHER_FILE));
  names_refresh();
  CHECK(names_lookup("web", 4, &found) && found.count == 1);
  names_close();
}

/* Whatever comes: an answer is to what was asked, has room, and is one that can be read. */
static void check_answer(const u8 *message, const struct dns_query *query, size_t room) {
  u8 *reply = malloc(room);
  CHECK(reply != NULL);
  size_t length = answer_own(message, query, reply, room);
  if (length == 0) length = answer_code(message, query, DNS_SERVFAIL, reply, room);
  CHECK(length <= room && dns_id(reply) == query->id);
  u8 *copy = exact(reply, length);
  CHECK(dns_matches(copy, length, message, query));
  /* Read as if it were a query: its records are whole. */
  struct dns_query again;
  copy[2] &= 0x7f;
  CHECK(dns_read(copy, length, &again) == DNS_NOERROR && again.end == query->end);
  free(copy);
  free(reply);
}

static void fuzz_messages(int cases) {
  static const u16 types[] = {DNS_A, DNS_AAAA, DNS_PTR, 15};
  static const struct { const char *wire; size_t size; } names[] = {
      {"\3web", 4}, {"\3ALL\4mine", 9}, {"\13example-org\3com", 16}, {"\1" "3\1" "0\1" "0\2" "10\7in-addr\4arpa", 22}};
  u8 bytes[512];
  struct dns_query query;
  CHECK(names_open(open(root, O_RDONLY | O_DIRECTORY), OWN) == 0);
  for (int index = 0; index < cases; index++) {
    size_t name = (size_t)rand() % 4;
    size_t length = make_query(bytes, names[name].wire, names[name].size, types[rand() % 4], rand() % 2 == 0);
    for (int change = rand() % 4; change > 0; change--) bytes[(size_t)rand() % length] = (u8)rand();
    if (rand() % 8 == 0) length = (size_t)rand() % length;
    u8 *copy = exact(bytes, length);
    int code = dns_read(copy, length, &query);
    if (code == DNS_NOERROR) check_answer(copy, &query, query.udp_size);
    u8 *other = exact(bytes, length);
    if (code == DNS_NOERROR) dns_matches(other, length, copy, &query);
    free(other);
    free(copy);
  }
  names_close();
}

int main(int argc, char **argv) {
  int cases = argc > 1 ? atoi(argv[1]) : 50000;
  unsigned seed = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : (unsigned)time(NULL);
  printf("seed %u\n", seed);
  fflush(stdout);
  srand(seed);
  snprintf(root, sizeof root, "/tmp/tsbox-dns-test-%d", getpid());
  CHECK(mkdir(root, 0700) == 0);
  test_reading();
  test_reverse();
  test_json();
  test_names();
  fuzz_files(cases / 20);
  fuzz_messages(cases);
  remove_all();
  return 0;
}
