#include "format.h"
#include "test.h"

static void escapes(const char *from, size_t length, const char *expected) {
  u8 *bytes = exact(from, length);
  char *to = malloc(length * ESCAPE_MAX + 1);
  CHECK(to != NULL);
  size_t got = json_escape(to, bytes, length, NULL);
  to[got] = 0;
  if (strcmp(to, expected) != 0) fprintf(stderr, "got %s, expected %s\n", to, expected);
  CHECK(got == strlen(expected) && strcmp(to, expected) == 0);
  free(to);
  free(bytes);
}

#define ESCAPES(from, expected) escapes(from, sizeof(from) - 1, expected)

/* Each byte at each place of a word, among plain ones: the fast way must not let one pass that the slow way escapes. */
static void every_byte_everywhere(void) {
  for (unsigned byte = 1; byte < 256; byte++) {
    char alone[ESCAPE_MAX + 1] = {0}, text[25], expected[64];
    u8 one = (u8)byte;
    json_escape(alone, &one, 1, NULL);
    for (size_t place = 0; place < 24; place++) {
      memset(text, 'x', 24);
      text[place] = (char)byte;
      snprintf(expected, sizeof expected, "%.*s%s%.*s", (int)place, "xxxxxxxxxxxxxxxxxxxxxxxx", alone, (int)(23 - place),
               "xxxxxxxxxxxxxxxxxxxxxxxx");
      escapes(text, 24, expected);
    }
  }
}

static void times(i64 second, long nanosecond, const char *expected) {
  char text[TIME_LENGTH];
  format_time(text, &(struct timespec){.tv_sec = second, .tv_nsec = nanosecond});
  CHECK(memcmp(text, expected, TIME_LENGTH) == 0);
}

static void every_day_is_the_library_s(void) {
  for (i64 day = 0; day < 365 * 200; day++) {
    time_t second = day * 86400 + 86399 - day % 86400;
    struct tm parts;
    char library[40], text[TIME_LENGTH];
    gmtime_r(&second, &parts);
    strftime(library, sizeof library, "%Y-%m-%dT%H:%M:%S.000000000Z", &parts);
    format_time(text, &(struct timespec){.tv_sec = second});
    CHECK(memcmp(text, library, TIME_LENGTH) == 0);
  }
}

static void numbers(i64 value, const char *expected) {
  char text[24];
  struct out out = out_start(text, sizeof text);
  put_number(&out, value);
  CHECK(strcmp(text, expected) == 0 && out_length(&out) == strlen(expected));
}

int main(void) {
  ESCAPES("", "");
  ESCAPES("plain text, longer than a word", "plain text, longer than a word");
  ESCAPES("\"\\\n\r\t\b\f\x01\x1f\x7f", "\\\"\\\\\\n\\r\\u0009\\u0008\\u000c\\u0001\\u001f\x7f");
  ESCAPES("<a> & b", "\\u003ca\\u003e \\u0026 b");
  ESCAPES("\xe2\x80\xa8\xe2\x80\xa9\xe2\x80\xa7", "\\u2028\\u2029\xe2\x80\xa7");
  ESCAPES("\xc3\xa4\xe2\x82\xac\xf0\x9d\x84\x9e", "\xc3\xa4\xe2\x82\xac\xf0\x9d\x84\x9e");
  ESCAPES("\xff\xfe\x80", "\\ufffd\\ufffd\\ufffd");
  ESCAPES("\xc0\xaf", "\\ufffd\\ufffd");
  ESCAPES("\xed\xa0\x80", "\\ufffd\\ufffd\\ufffd");
  ESCAPES("\xf4\x90\x80\x80", "\\ufffd\\ufffd\\ufffd\\ufffd");
  ESCAPES("\xe2\x82", "\\ufffd\\ufffd");
  ESCAPES("\0", "\\u0000");
  every_byte_everywhere();

  CHECK(utf8_cut((const u8 *)"a\xe2\x82", 3) == 2);
  CHECK(utf8_cut((const u8 *)"a\xe2\x82\xac", 4) == 0);
  CHECK(utf8_cut((const u8 *)"\xf0\x9d\x84", 3) == 3);
  CHECK(utf8_cut((const u8 *)"\xe0\x80", 2) == 0);
  CHECK(utf8_cut((const u8 *)"\x80\x80\x80", 3) == 0);
  CHECK(utf8_cut((const u8 *)"\xff", 1) == 0);
  CHECK(utf8_cut((const u8 *)"", 0) == 0);

  times(0, 0, "1970-01-01T00:00:00.000000000Z");
  times(951782399, 999999999, "2000-02-28T23:59:59.999999999Z");
  times(1709164800, 1, "2024-02-29T00:00:00.000000001Z");
  every_day_is_the_library_s();

  numbers(0, "0");
  numbers(-7, "-7");
  numbers(INT64_MIN, "-9223372036854775808");
  numbers(INT64_MAX, "9223372036854775807");

  char small[8];
  struct out out = out_start(small, sizeof small);
  put(&out, "0123456789");
  CHECK(strcmp(small, "0123456") == 0);
  out = out_start(small, sizeof small);
  put_json(&out, "ab\"cdefg");
  CHECK(strcmp(small, "\"ab\\\"cd") == 0 || strcmp(small, "\"ab\\\"c\"") == 0);
  return 0;
}
