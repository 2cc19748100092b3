/* Text without stdio: numbers, times, JSON strings. Everything writes into memory that the caller has. */
#pragma once

#include <time.h>

#include "base.h"

/* A place to write to. What does not fit is left out and the text stays terminated. */
struct out {
  char *start;
  char *at;
  char *end; /* one byte less than there is, for the NUL */
};

struct out out_start(char *buffer, size_t size);
void put(struct out *out, const char *text);
void put_number(struct out *out, i64 value);
/* A JSON string with its quotes. */
void put_json(struct out *out, const char *text);
static inline size_t out_length(const struct out *out) { return (size_t)(out->at - out->start); }

enum { TIME_LENGTH = 30 };
/* RFC 3339 in UTC with nine digits of a second: 2024-05-06T07:08:09.123456789Z. TIME_LENGTH bytes, no NUL. */
void format_time(char to[TIME_LENGTH], const struct timespec *time);

enum { ESCAPE_MAX = 6 }; /* bytes that one byte can become */
/* The inside of a JSON string as Docker's json-file writes it: `"` and `\` with a backslash, \n, \r, other control characters and
 * < > & U+2028 U+2029 as \uXXXX, each byte that is not UTF-8 as \ufffd. Writes at most ESCAPE_MAX * length bytes and returns how many. */
size_t json_escape(char *to, const u8 *from, size_t length, bool *lost); /* lost: set when there was such a byte; may be NULL */

/* Writes 4 bytes for each 3, and returns how many. */
size_t base64(char *to, const u8 *from, size_t length);

/* How many bytes at the end are the beginning of a UTF-8 character whose rest is missing: 0 to 3. */
size_t utf8_cut(const u8 *from, size_t length);
