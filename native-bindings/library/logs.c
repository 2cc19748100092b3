#include "logs.h"

#include <stdbool.h>
#include <string.h>

static const char FRONT[] = "{\"log\":\"", OUT[] = "\",\"stream\":\"stdout\",\"time\":\"", ERR[] = "\",\"stream\":\"stderr\",\"time\":\"",
                  END[] = "\"}";
enum { TIME_MOST = 64, HEX = 16 };

static bool begins(const uint8_t *at, const uint8_t *end, const char *text, size_t length) {
  return (size_t)(end - at) >= length && memcmp(at, text, length) == 0;
}

#define BEGINS(at, end, literal) begins(at, end, literal, sizeof(literal) - 1)

static int digit(uint8_t character) {
  if (character >= '0' && character <= '9') return character - '0';
  if (character >= 'a' && character <= 'f') return character - 'a' + 10;
  return character >= 'A' && character <= 'F' ? character - 'A' + 10 : -1;
}

/* The character of \uXXXX, but not one of a pair, or one that stands for bytes which were none. -1 for those. */
static int32_t unicode(const uint8_t *at, const uint8_t *end) {
  int32_t code = 0;
  if (end - at < 4) return -1;
  for (int place = 0; place < 4; place++) {
    int value = digit(at[place]);
    if (value < 0) return -1;
    code = code * HEX + value;
  }
  return (code >= 0xd800 && code < 0xe000) || code == 0xfffd ? -1 : code;
}

static uint8_t *put_character(uint8_t *to, int32_t code) {
  if (code < 0x80) {
    *to++ = (uint8_t)code;
  } else if (code < 0x800) {
    *to++ = (uint8_t)(0xc0 | code >> 6);
    *to++ = (uint8_t)(0x80 | (code & 0x3f));
  } else {
    *to++ = (uint8_t)(0xe0 | code >> 12);
    *to++ = (uint8_t)(0x80 | (code >> 6 & 0x3f));
    *to++ = (uint8_t)(0x80 | (code & 0x3f));
  }
  return to;
}

/* What a backslash begins. NULL for what is not known. */
static const uint8_t *unescape(const uint8_t *at, const uint8_t *end, uint8_t **to) {
  static const char NAMES[] = "\"\\/bfnrt", VALUES[] = "\"\\/\b\f\n\r\t";
  if (at == end) return NULL;
  if (*at == 'u') {
    int32_t code = unicode(at + 1, end);
    if (code < 0) return NULL;
    *to = put_character(*to, code);
    return at + 5;
  }
  const char *name = *at == 0 ? NULL : strchr(NAMES, *at);
  if (name == NULL) return NULL;
  *(*to)++ = (uint8_t)VALUES[name - NAMES];
  return at + 1;
}

/* The text of a string up to its quote. A plain stretch is copied by words. NULL for what is not known. */
static const uint8_t *string(const uint8_t *at, const uint8_t *end, uint8_t **to) {
  for (;;) {
    const uint8_t *from = at;
    while (at < end && *at != '"' && *at != '\\') at++;
    memcpy(*to, from, (size_t)(at - from));
    *to += at - from;
    if (at == end) return NULL;
    if (*at == '"') return at;
    at = unescape(at + 1, end, to);
    if (at == NULL) return NULL;
  }
}

/* One line without its newline. What it says goes to `to`. -1 for one that has more than text, stream and time. */
static int line(const uint8_t *at, const uint8_t *end, uint8_t **to) {
  if (!BEGINS(at, end, FRONT)) return -1;
  at = string(at + sizeof FRONT - 1, end, to);
  if (at == NULL) return -1;
  int stream = BEGINS(at, end, OUT) ? TSBOX_LOG_STDOUT : BEGINS(at, end, ERR) ? TSBOX_LOG_STDERR : -1;
  if (stream < 0) return -1;
  at += sizeof OUT - 1;
  size_t left = (size_t)(end - at), tail = sizeof END - 1;
  if (left < tail || left > TIME_MOST || memcmp(end - tail, END, tail) != 0) return -1;
  return memchr(at, '"', left - tail) == NULL && memchr(at, '\\', left - tail) == NULL ? stream : -1;
}

size_t tsbox_log_texts(uint8_t *into, const uint8_t *bytes, size_t *from, size_t to, int *stream) {
  uint8_t *out = into;
  int first = -1;
  while (*from < to) {
    const uint8_t *at = bytes + *from, *end = memchr(at, '\n', to - *from);
    uint8_t *before = out;
    int found = end == NULL ? -1 : line(at, end, &out);
    if (found < 0 || (first >= 0 && found != first)) {
      out = before;
      break;
    }
    first = found;
    *from = (size_t)(end - bytes) + 1;
  }
  if (first >= 0) *stream = first;
  return (size_t)(out - into);
}
