#include "format.h"

#include <string.h>

struct out out_start(char *buffer, size_t size) {
  buffer[0] = 0;
  return (struct out){.start = buffer, .at = buffer, .end = buffer + size - 1};
}

static void put_bytes(struct out *out, const char *bytes, size_t length) {
  size_t room = (size_t)(out->end - out->at);
  if (length > room) length = room;
  memcpy(out->at, bytes, length);
  out->at += length;
  *out->at = 0;
}

void put(struct out *out, const char *text) { put_bytes(out, text, strlen(text)); }

void put_number(struct out *out, i64 value) {
  char digits[20];
  size_t at = sizeof digits;
  u64 left = value < 0 ? 0 - (u64)value : (u64)value;
  do digits[--at] = (char)('0' + left % 10);
  while ((left /= 10) != 0);
  if (value < 0) digits[--at] = '-';
  put_bytes(out, digits + at, sizeof digits - at);
}

void put_json(struct out *out, const char *text) {
  put(out, "\"");
  /* By whole characters: one that does not fit is left out and not cut. One byte stays for the closing quote. */
  for (const u8 *at = (const u8 *)text; *at != 0;) {
    char escaped[4 * ESCAPE_MAX];
    size_t size = 1;
    while (size < 4 && (at[size] & 0xc0) == 0x80) size++;
    size_t length = json_escape(escaped, at, size, NULL);
    if ((size_t)(out->end - out->at) < length + 1) break;
    put_bytes(out, escaped, length);
    at += size;
  }
  put(out, "\"");
}

/* The last two digits of a number. */
static char *two_digits(char *to, int value) {
  *to++ = (char)('0' + value / 10 % 10);
  *to++ = (char)('0' + value % 10);
  return to;
}

/* Year, month and day of a count of days since 1970. The C library's gmtime would read the time zone files first. Years begin
 * in March here, so that the leap day is the last one; 146097 days are 400 years. */
static void civil_date(i64 days, int date[3]) {
  i64 shifted = days + 719468;
  i64 era = shifted / 146097, day = shifted % 146097;
  i64 year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
  i64 day_of_year = day - (365 * year + year / 4 - year / 100);
  i64 month = (5 * day_of_year + 2) / 153;
  date[2] = (int)(day_of_year - (153 * month + 2) / 5 + 1);
  date[1] = (int)(month < 10 ? month + 3 : month - 9);
  date[0] = (int)(era * 400 + year + (date[1] <= 2 ? 1 : 0));
}

void format_time(char to[TIME_LENGTH], const struct timespec *time) {
  int date[3];
  civil_date(time->tv_sec / 86400, date);
  int second = (int)(time->tv_sec % 86400);
  to = two_digits(two_digits(to, date[0] / 100), date[0]);
  *to++ = '-';
  to = two_digits(to, date[1]);
  *to++ = '-';
  to = two_digits(to, date[2]);
  *to++ = 'T';
  to = two_digits(to, second / 3600);
  *to++ = ':';
  to = two_digits(to, second / 60 % 60);
  *to++ = ':';
  to = two_digits(to, second % 60);
  *to++ = '.';
  long rest = time->tv_nsec;
  for (int digit = 8; digit >= 0; digit--, rest /= 10) to[digit] = (char)('0' + rest % 10);
  to[9] = 'Z';
}

/* Bytes that a character takes by its first byte; 0 when no character begins so. */
static size_t utf8_size(u8 first) {
  if (first >= 0xc2 && first <= 0xdf) return 2;
  if (first >= 0xe0 && first <= 0xef) return 3;
  if (first >= 0xf0 && first <= 0xf4) return 4;
  return 0;
}

/* The second byte has a narrower range after some first bytes: no overlong forms, no surrogates, nothing above U+10FFFF. */
static bool utf8_second(u8 first, u8 second) {
  u8 low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
  u8 high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
  return second >= low && second <= high;
}

/* Is what is there (up to the size that the first byte asks for) a character or the beginning of one? */
static bool utf8_begins(const u8 *from, size_t length, size_t size) {
  if (length > 1 && !utf8_second(from[0], from[1])) return false;
  for (size_t index = 2; index < size && index < length; index++)
    if ((from[index] & 0xc0) != 0x80) return false;
  return true;
}

size_t utf8_cut(const u8 *from, size_t length) {
  for (size_t back = 1; back <= 3 && back <= length; back++) {
    const u8 *at = from + length - back;
    if ((*at & 0xc0) == 0x80) continue;
    size_t size = utf8_size(*at);
    return size > back && utf8_begins(at, back, size) ? back : 0;
  }
  return 0;
}

static char *unicode_escape(char *to, unsigned value) {
  static const char hex[] = "0123456789abcdef";
  memcpy(to, "\\u", 2);
  for (int digit = 0; digit < 4; digit++) to[2 + digit] = hex[value >> (12 - 4 * digit) & 15];
  return to + 6;
}

static bool plain(u8 byte) {
  return byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\' && byte != '<' && byte != '>' && byte != '&';
}

/* Are all of eight bytes plain? Bit 7 of a byte of `hit` is set where the byte is not; a borrow can only set more of them,
 * and then the slow way looks again. */
static bool word_plain(const u8 *from) {
  const u64 ones = 0x0101010101010101, highs = 0x8080808080808080;
  u64 word;
  memcpy(&word, from, sizeof word);
  u64 quote = word ^ ones * '"', slash = word ^ ones * '\\', amp = word ^ ones * '&';
  u64 angle = (word & ~(ones * 2)) ^ ones * '<'; /* < is 0x3c and > is 0x3e */
  u64 hit = (word - ones * 0x20) | word | (quote - ones) | (slash - ones) | (amp - ones) | (angle - ones);
  return (hit & highs) == 0;
}

static char *escape_one(char *to, u8 byte) {
  char letter = byte == '\n' ? 'n' : byte == '\r' ? 'r' : byte == '"' || byte == '\\' ? (char)byte : 0;
  if (letter == 0) return unicode_escape(to, byte);
  *to++ = '\\';
  *to++ = letter;
  return to;
}

size_t json_escape(char *to, const u8 *from, size_t length, bool *lost) {
  char *start = to;
  const u8 *end = from + length;
  while (from < end) {
    while (end - from >= 8 && word_plain(from)) {
      memcpy(to, from, 8);
      to += 8;
      from += 8;
    }
    if (from == end) break;
    u8 byte = *from;
    if (plain(byte)) {
      *to++ = (char)byte;
      from++;
    } else if (byte < 0x80) {
      to = escape_one(to, byte);
      from++;
    } else {
      size_t size = utf8_size(byte);
      if (size == 0 || (size_t)(end - from) < size || !utf8_begins(from, size, size)) {
        to = unicode_escape(to, 0xfffd);
        from++;
        if (lost != NULL) *lost = true;
      } else if (byte == 0xe2 && from[1] == 0x80 && (from[2] == 0xa8 || from[2] == 0xa9)) {
        to = unicode_escape(to, 0x2000u | (from[2] & 0x3f));
        from += size;
      } else {
        memcpy(to, from, size);
        to += size;
        from += size;
      }
    }
  }
  return (size_t)(to - start);
}

size_t base64(char *to, const u8 *from, size_t length) {
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  char *start = to;
  for (; length > 0; from += 3) {
    size_t size = length < 3 ? length : 3;
    u32 bits = (u32)from[0] << 16 | (size > 1 ? (u32)from[1] << 8 : 0) | (size > 2 ? from[2] : 0);
    for (size_t digit = 0; digit < 4; digit++) *to++ = digit <= size ? digits[bits >> (18 - 6 * digit) & 63] : '=';
    length -= size;
  }
  return (size_t)(to - start);
}
