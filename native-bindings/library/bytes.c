#include "bytes.h"

#include <string.h>

/*
 * The polynomial x^64 + x^4 + x^3 + x + 1 has so few terms that words go in by shifts alone: multiplying by x^64 is multiplying by
 * x^4 + x^3 + x + 1, and by x^128 is by its square, x^8 + x^6 + x^2 + 1. Reflected: bit 0 is x^63, and a shift to the right multiplies.
 * What falls out on the right stands for x^64 and beyond, and is multiplied by x^64 once more.
 */
static uint64_t times_x64(uint64_t v)
{
  uint64_t out = (v << 63) ^ (v << 61) ^ (v << 60);
  return v ^ (v >> 1) ^ (v >> 3) ^ (v >> 4) ^ out ^ (out >> 1) ^ (out >> 3) ^ (out >> 4);
}

static uint64_t times_x128(uint64_t v)
{
  uint64_t out = (v << 62) ^ (v << 58) ^ (v << 56);
  return v ^ (v >> 2) ^ (v >> 6) ^ (v >> 8) ^ out ^ (out >> 1) ^ (out >> 3) ^ (out >> 4);
}

/* Both machines that tsbox runs on are little-endian. */
static uint64_t load(const uint8_t *bytes)
{
  uint64_t value;
  memcpy(&value, bytes, sizeof value);
  return value;
}

void tsbox_crc64(uint64_t *crc, const uint8_t *bytes, size_t from, size_t to)
{
  uint64_t v = *crc;
  if (to - from >= 32) {
    /* Every other word on its own: the processor works on both at once. */
    uint64_t even = v ^ load(bytes + from), odd = load(bytes + from + 8);
    for (from += 16; to - from >= 16; from += 16) {
      even = times_x128(even) ^ load(bytes + from);
      odd = times_x128(odd) ^ load(bytes + from + 8);
    }
    v = times_x64(times_x64(even) ^ odd);
  }
  for (; to - from >= 8; from += 8) v = times_x64(v ^ load(bytes + from));
  for (; from < to; from++) {
    v ^= bytes[from];
    for (int bit = 0; bit < 8; bit++) v = v >> 1 ^ ((v & 1) != 0 ? UINT64_C(0xd800000000000000) : 0);
  }
  *crc = v;
}

static const char DIGITS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static char *put_group(char *to, uint32_t bits)
{
  *to++ = DIGITS[bits >> 18];
  *to++ = DIGITS[bits >> 12 & 63];
  *to++ = DIGITS[bits >> 6 & 63];
  *to++ = DIGITS[bits & 63];
  return to;
}

size_t tsbox_base64(char *into, size_t at, const uint8_t *bytes, size_t length)
{
  char *to = into + at;
  size_t i = 0;
  for (; length - i >= 3; i += 3) {
    /* Headers of an archive are mostly zeros. */
    for (; length - i >= 24 && (load(bytes + i) | load(bytes + i + 8) | load(bytes + i + 16)) == 0; i += 24, to += 32)
      memset(to, 'A', 32);
    if (length - i < 3) break;
    to = put_group(to, (uint32_t)(bytes[i] << 16 | bytes[i + 1] << 8 | bytes[i + 2]));
  }
  if (i < length) {
    uint32_t bits = (uint32_t)bytes[i] << 16 | (i + 1 < length ? (uint32_t)bytes[i + 1] << 8 : 0);
    to = put_group(to, bits);
    to[-1] = '=';
    if (i + 1 == length) to[-2] = '=';
  }
  return (size_t)(to - into);
}
