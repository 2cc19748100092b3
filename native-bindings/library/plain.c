#include "plain.h"

#include <stdbool.h>
#include <string.h>

#include "bytes.h"
#include "writer.h"

enum { BLOCK = 512 };

struct header {
  char name[PLAIN_NAME];
  size_t length; /* of the name */
  size_t parent; /* of what is before its last slash */
  uint64_t mode, uid, gid, size, time;
};

/* Digits, then a space, a NUL or the end: src/layer/header.ts knows the other forms. */
static bool octal(const uint8_t *field, size_t length, uint64_t *value)
{
  size_t i = 0;
  *value = 0;
  for (; i < length && field[i] >= '0' && field[i] <= '7'; i++) *value = *value * 8 + (uint64_t)(field[i] - '0');
  return i > 0 && (i == length || field[i] == 0 || field[i] == ' ');
}

static bool has_right_checksum(const uint8_t *block)
{
  uint64_t wanted;
  uint32_t sum = 8 * ' ';
  for (int i = 0; i < BLOCK; i++) sum += block[i];
  for (int i = 148; i < 156; i++) sum -= block[i];
  return octal(block + 148, 8, &wanted) && wanted == sum;
}

/* Components that are empty or begin with a dot may mean something; other characters are not the same in JSON. */
static bool read_name(const uint8_t *block, bool posix, struct header *h)
{
  size_t prefix = posix ? strnlen((const char *)block + 345, 155) : 0;
  size_t length = strnlen((const char *)block, 100);
  char *to = h->name;
  memcpy(to, block + 345, prefix);
  to += prefix;
  if (prefix > 0) *to++ = '/';
  memcpy(to, block, length);
  h->length = (size_t)(to - h->name) + length;
  h->parent = 0;
  char before = '/';
  for (size_t i = 0; i < h->length; i++) {
    char c = h->name[i];
    if (c < ' ' || c > '~' || c == '"' || c == '\\') return false;
    if (before == '/' && (c == '/' || c == '.')) return false;
    if (c == '/') h->parent = i;
    before = c;
  }
  return before != '/';
}

static bool read_header(const uint8_t *block, struct header *h)
{
  bool posix = memcmp(block + 257, "ustar", 6) == 0;
  bool gnu = memcmp(block + 257, "ustar  ", 8) == 0;
  /* star has something else behind the prefix. */
  bool star = memcmp(block + 508, "tar", 4) == 0;
  return block[156] == '0' && (posix || gnu) && !star && has_right_checksum(block) && read_name(block, posix, h) &&
         octal(block + 100, 8, &h->mode) && octal(block + 108, 8, &h->uid) && octal(block + 116, 8, &h->gid) &&
         octal(block + 124, 12, &h->size) && octal(block + 136, 12, &h->time);
}

static size_t padded(size_t length, size_t unit)
{
  return (length + unit - 1) / unit * unit;
}

static size_t base_length(const struct header *h)
{
  return h->length - (h->parent > 0 ? h->parent + 1 : 0);
}

static size_t operations_for(const struct header *h)
{
  size_t data = h->size > 0 ? sizeof(struct writer_op) + padded(h->size, 8) : 0;
  return 2 * sizeof(struct writer_op) + padded(base_length(h) + 1, 8) + data;
}

/* Room for its two lines, numbers and all. */
static size_t lines_for(const struct header *h, size_t raw)
{
  return (raw / 3 + 1) * 4 + h->length + 256;
}

static char *begin(char *to, struct writer_op op, size_t extra)
{
  op.total = (uint32_t)(sizeof op + padded(extra, 8));
  memcpy(to, &op, sizeof op);
  return to + sizeof op;
}

static char *put_operations(char *to, const struct plain_run *run, const struct header *h, const uint8_t *data)
{
  uint32_t mode = (uint32_t)h->mode & 07777;
  size_t base = base_length(h);
  to = begin(to, (struct writer_op){.kind = WRITER_CREATE, .fd = run->directory_fd, .mode = mode & 0777}, base + 1);
  memset(to, 0, padded(base + 1, 8));
  memcpy(to, h->name + h->length - base, base);
  to += padded(base + 1, 8);
  if (h->size > 0) {
    to = begin(to, (struct writer_op){.kind = WRITER_WRITE, .length = (uint32_t)h->size}, h->size);
    memcpy(to, data, h->size);
    to += padded(h->size, 8);
  }
  bool own = run->chown && !(run->given && h->uid == run->uid && h->gid == run->gid);
  bool other_mode = mode != (mode & 0777 & ~run->umask);
  return begin(to, (struct writer_op){
    .kind = WRITER_FINISH,
    .what = (own ? WRITER_CHOWN : 0) | (other_mode ? WRITER_CHMOD : 0),
    .mode = mode,
    .uid = (uint32_t)h->uid,
    .gid = (uint32_t)h->gid,
    .seconds = (int64_t)h->time,
  }, 0);
}

static char *put(char *to, const char *text)
{
  size_t length = strlen(text);
  memcpy(to, text, length);
  return to + length;
}

static char *put_number(char *to, uint64_t number)
{
  char digits[20];
  size_t at = sizeof digits;
  do digits[--at] = (char)('0' + number % 10);
  while ((number /= 10) > 0);
  memcpy(to, digits + at, sizeof digits - at);
  return to + sizeof digits - at;
}

static char *put_base64(char *to, const uint8_t *bytes, size_t length)
{
  return to + tsbox_base64(to, 0, bytes, length);
}

static char *put_end(char *to, uint32_t position)
{
  return put(put_number(put(to, "\"position\":"), position), "}\n");
}

static char *put_raw(char *to, const uint8_t *bytes, size_t length, uint32_t position)
{
  to = put_base64(put(to, "{\"type\":2,\"payload\":\""), bytes, length);
  return put_end(put(to, "\","), position);
}

static char *put_file(char *to, const struct header *h, const uint8_t *data, uint32_t position)
{
  to = put(to, "{\"type\":1,\"name\":\"");
  memcpy(to, h->name, h->length);
  to = put(to + h->length, "\",");
  if (h->size == 0) return put_end(put(to, "\"payload\":null,"), position);
  uint64_t crc = ~UINT64_C(0);
  tsbox_crc64(&crc, data, 0, h->size);
  crc = __builtin_bswap64(~crc);
  to = put(put_number(put(to, "\"size\":"), h->size), ",\"payload\":\"");
  return put_end(put(put_base64(to, (const uint8_t *)&crc, sizeof crc), "\","), position);
}

static bool is_in_directory(const struct plain_run *run, const struct header *h)
{
  return h->parent == run->directory_length && memcmp(h->name, run->directory, h->parent) == 0;
}

static enum plain_end find_end(const struct plain_run *run, const struct header *h, uint32_t operations, uint32_t lines, size_t raw)
{
  if (!is_in_directory(run, h)) return PLAIN_DIRECTORY;
  if (operations_for(h) > run->operations_size - operations) return PLAIN_OPERATIONS;
  if (lines_for(h, raw) > run->lines_size - lines) return PLAIN_LINES;
  return run->count == PLAIN_ENTRIES ? PLAIN_TABLE : PLAIN_OTHER;
}

void tsbox_plain(struct plain_run *run, const uint8_t *chunk, char *operations, char *lines, uint8_t *raw)
{
  uint32_t at = run->from, op = run->operations, line = run->lines, position = run->position;
  const uint8_t *before = NULL; /* raw bytes within the chunk, up to `at` */
  run->count = run->names_length = 0;
  run->end = PLAIN_OTHER;
  if (run->raw > PLAIN_MOST_RAW) return;
  while (run->count < run->most_entries && run->to - at >= BLOCK) {
    struct header h;
    const uint8_t *block = chunk + at, *data = block + BLOCK;
    if (!read_header(block, &h) || h.size > PLAIN_MOST_BYTES || (double)h.size > run->most_bytes) return;
    if (padded(h.size, BLOCK) > run->to - at - BLOCK) return;
    size_t raw_length = (before == NULL ? run->raw : (size_t)(block - before)) + BLOCK;
    run->end = find_end(run, &h, op, line, raw_length);
    if (run->end == PLAIN_DIRECTORY) memcpy(run->parent, h.name, run->parent_length = (uint32_t)h.parent);
    if (run->end != PLAIN_OTHER) return;
    if (before == NULL) memcpy(raw + run->raw, block, BLOCK);
    op = (uint32_t)(put_operations(operations + op, run, &h, data) - operations);
    char *to = put_raw(lines + line, before == NULL ? raw : before, raw_length, position++);
    line = (uint32_t)(put_file(to, &h, data, position++) - lines);
    before = data + h.size;
    at = (uint32_t)(data + padded(h.size, BLOCK) - chunk);
    run->most_bytes -= (double)h.size;
    run->entries[run->count++] = (struct plain_entry){(uint32_t)(before - chunk), at, op, line, (uint32_t)h.size};
    memcpy(run->names + run->names_length, h.name, h.length);
    run->names_length += (uint32_t)h.length;
    run->names[run->names_length++] = '\n';
  }
}
