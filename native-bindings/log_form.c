/* What an entry looks like in the file: a JSON object a line (json-file), or a message of protobuf between two lengths (local).
 * See moby, daemon/logger/jsonfilelog, daemon/logger/local, api/types/plugins/logdriver/entry.proto. */
#include <string.h>
#include <sys/random.h>

#include "format.h"
#include "log.h"

enum {
  FRAME = 256,  /* an entry without its text */
  ID_BYTES = 32, /* of a line that was split, in hexadecimal digits twice as much */
  TIME_NONE = -1,
};

static i64 form;
static char attrs[LOG_ATTRS_MAX];
static size_t attrs_length;
static char time_text[TIME_LENGTH];
static struct timespec time_known = {.tv_nsec = TIME_NONE};
static char ids[LOG_STREAMS][2 * ID_BYTES];
static char *at;

int log_form_open(const struct log_config *config) {
  if (config->form != LOG_JSON_FILE && config->form != LOG_LOCAL) return EINVAL;
  attrs_length = strlen(config->attrs);
  if (attrs_length > sizeof attrs) return E2BIG;
  memcpy(attrs, config->attrs, attrs_length);
  form = config->form;
  return 0;
}

static void append(const void *bytes, size_t length) {
  memcpy(at, bytes, length);
  at += length;
}

#define APPEND(literal) append(literal, sizeof(literal) - 1)

/* Many entries come at the same time. */
static void take_time(const struct timespec *time) {
  if (time->tv_nsec == time_known.tv_nsec && time->tv_sec == time_known.tv_sec) return;
  format_time(time_text, time);
  time_known = *time;
}

static void write_json(const struct log_entry *entry, const u8 *bytes) {
  bool lost = false;
  take_time(&entry->time);
  APPEND("{\"log\":\"");
  at += json_escape(at, bytes, entry->length, &lost);
  if (entry->stream == LOG_STDOUT) APPEND("\",\"stream\":\"stdout\"");
  else APPEND("\",\"stream\":\"stderr\"");
  if (attrs_length > 0) {
    APPEND(",\"attrs\":");
    append(attrs, attrs_length);
  }
  APPEND(",\"time\":\"");
  append(time_text, TIME_LENGTH);
  if (lost) { /* not Docker's: what JSON cannot say */
    APPEND("\",\"raw\":\"");
    at += base64(at, bytes, entry->length);
  }
  APPEND("\"}\n");
}

static void varint(u64 value) {
  for (; value >= 0x80; value >>= 7) *at++ = (char)(value | 0x80);
  *at++ = (char)value;
}

static void number(int field, u64 value) {
  *at++ = (char)(field << 3);
  varint(value);
}

static void field(int which, const void *bytes, size_t length) {
  *at++ = (char)(which << 3 | 2);
  varint(length);
  append(bytes, length);
}

static void big_endian(char *to, size_t value) {
  for (int byte = 0; byte < 4; byte++) to[byte] = (char)(value >> (24 - 8 * byte));
}

static void new_id(char id[2 * ID_BYTES]) {
  u8 bytes[ID_BYTES] = {0};
  if (getrandom(bytes, sizeof bytes, 0) < 0) memcpy(bytes, &time_known, sizeof time_known);
  for (size_t index = 0; index < sizeof bytes; index++) {
    id[2 * index] = "0123456789abcdef"[bytes[index] >> 4];
    id[2 * index + 1] = "0123456789abcdef"[bytes[index] & 15];
  }
}

/* Which part of a line it is: {1: last, 2: id, 3: ordinal}, and what is false or 0 is left out. */
static void part_of_line(const struct log_entry *entry) {
  char *start = at, *id = ids[entry->stream];
  if (entry->ordinal == 1) new_id(id);
  at += 2;
  if (entry->last) number(1, 1);
  field(2, id, sizeof ids[0]);
  number(3, entry->ordinal);
  start[0] = 5 << 3 | 2;
  start[1] = (char)(at - start - 2); /* below 128 */
}

static void write_local(const struct log_entry *entry, const u8 *bytes) {
  char *start = at;
  bool whole = entry->ordinal == 0 || entry->last; /* then the newline says nothing */
  at += 4;
  field(1, entry->stream == LOG_STDOUT ? "stdout" : "stderr", 6);
  number(2, (u64)entry->time.tv_sec * 1000000000u + (u64)entry->time.tv_nsec);
  if (entry->length > whole) field(3, bytes, entry->length - whole);
  if (entry->ordinal > 0) {
    number(4, 1);
    part_of_line(entry);
  }
  big_endian(start, (size_t)(at - start - 4));
  append(start, 4);
}

void log_form_write(const struct log_entry *entry, const u8 *bytes) {
  size_t most = form == LOG_LOCAL ? entry->length : entry->length * (ESCAPE_MAX + 2) + attrs_length;
  char *start = log_file_room(most + FRAME);
  at = start;
  if (form == LOG_LOCAL) write_local(entry, bytes);
  else write_json(entry, bytes);
  log_file_used((size_t)(at - start));
}
