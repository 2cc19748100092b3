/* What of the library is not the writer: calls with their errno, checksums, base64, gzip, plain files. */
#include <errno.h>
#include <fcntl.h>

#include "library/bytes.h"
#include "library/call.h"
#include "library/inflate.h"
#include "library/logs.h"
#include "library/plain.h"
#include "test.h"

static void keeps_errno(void) {
  int kept = 0, other = 0;
  tsbox_keep_errno(&kept);
  tsbox_function *call = tsbox_symbol(NULL, "open");
  CHECK(call != NULL && tsbox_symbol(NULL, "no_such_function") == NULL);
  CHECK(tsbox_symbol("no-such-library.so", "open") == NULL);
  CHECK((int)tsbox_call(call, (long)"/no/such/file", O_RDONLY, 0, 0, 0, 0, 0) == -1);
  errno = EBADF;
  CHECK(kept == ENOENT);
  CHECK((int)tsbox_call_on(&other, call, (long)"/proc/self/exe/x", O_RDONLY, 0, 0, 0, 0, 0) == -1);
  CHECK(other == ENOTDIR && kept == ENOENT);
}

static u64 crc_of(const char *text, size_t length, size_t cut) {
  u64 crc = ~UINT64_C(0);
  u8 *bytes = exact(text, length);
  tsbox_crc64(&crc, bytes, 0, cut);
  tsbox_crc64(&crc, bytes, cut, length);
  free(bytes);
  return ~crc;
}

static void sums(void) {
  /* The check value of CRC-64/GO-ISO in the catalogue of CRC algorithms. */
  for (size_t cut = 0; cut <= 9; cut++) CHECK(crc_of("123456789", 9, cut) == UINT64_C(0xb90956c775a41001));
  /* In pieces it is the same: of one byte, and so bit by bit, or of many, two words at a time. */
  const char *text = "more than sixteen bytes, and not a multiple of eight; so long that every way of adding them is taken more than once";
  for (size_t length = 0; length <= strlen(text); length++) {
    u64 crc = ~UINT64_C(0);
    for (size_t at = 0; at < length; at++) tsbox_crc64(&crc, (const u8 *)text, at, at + 1);
    for (size_t cut = 0; cut <= length; cut++) CHECK(crc_of(text, length, cut) == ~crc);
  }
}

/* The vectors of RFC 4648, section 10. */
static void encodes(void) {
  static const char *const vectors[][2] = {{"", ""},         {"f", "Zg=="},         {"fo", "Zm8="},        {"foo", "Zm9v"},
                                           {"foob", "Zm9vYg=="}, {"fooba", "Zm9vYmE="}, {"foobar", "Zm9vYmFy"}};
  for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
    size_t length = strlen(vectors[i][1]);
    char *into = (char *)exact("", 0);
    into = realloc(into, length + 1);
    CHECK(into != NULL);
    into[0] = '>';
    u8 *bytes = exact(vectors[i][0], strlen(vectors[i][0]));
    CHECK(tsbox_base64(into, 1, bytes, strlen(vectors[i][0])) == length + 1);
    CHECK(memcmp(into + 1, vectors[i][1], length) == 0);
    free(bytes);
    free(into);
  }
}

/* Runs of zeros are written at once; they are the same as one by one. */
static void encodes_zeros(void) {
  for (size_t length = 0; length < 100; length++) {
    for (size_t other = 0; other <= length; other++) {
      u8 *bytes = exact("", 0);
      bytes = realloc(bytes, length + 1);
      CHECK(bytes != NULL);
      memset(bytes, 0, length + 1);
      if (other < length) bytes[other] = 0xff;
      char whole[200], parts[200];
      size_t end = tsbox_base64(whole, 0, bytes, length), at = 0;
      for (size_t from = 0; from < length; from += 3) at = tsbox_base64(parts, at, bytes + from, length - from < 3 ? length - from : 3);
      CHECK(end == at && memcmp(whole, parts, end) == 0);
      free(bytes);
    }
  }
}

/* `printf abc | gzip -n` */
static const u8 ABC[] = {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0x4b, 0x4c, 0x4a, 6, 0, 0xc2, 0x41, 0x24, 0x35, 3, 0, 0, 0};

static void inflates(void) {
  struct inflater *inflater = tsbox_inflate_open();
  struct inflate_result result;
  u8 out[3];
  CHECK(inflater != NULL);
  /* In two pieces, into two outputs; then a second member. */
  u8 *in = exact(ABC, sizeof ABC);
  CHECK(tsbox_inflate(inflater, in, 0, 12, out, 1, &result) == INFLATE_MORE && result.used <= 12 && result.made <= 1);
  u32 used = result.used, made = result.made;
  while (tsbox_inflate(inflater, in, used, sizeof ABC, out + made, 3 - made, &result) == INFLATE_MORE) {
    used += result.used;
    made += result.made;
    CHECK(result.used + result.made > 0);
  }
  CHECK(used + result.used == sizeof ABC && made + result.made == 3 && memcmp(out, "abc", 3) == 0);
  CHECK(tsbox_inflate(inflater, in, 0, sizeof ABC, out, 3, &result) == INFLATE_END && result.made == 3);
  in[12] ^= 0xff;
  int state;
  do state = tsbox_inflate(inflater, in, 0, sizeof ABC, out, 3, &result);
  while (state == INFLATE_MORE && result.used > 0);
  CHECK(state == INFLATE_BAD && result.message[0] != 0);
  free(in);
  tsbox_inflate_close(inflater);
}

/* A header as most tars have it; the checksum is filled in. */
static void put_header(u8 *to, const char *name, unsigned size) {
  memset(to, 0, 512);
  memcpy(to, name, strlen(name));
  memcpy(to + 100, "0000644", 8);
  memcpy(to + 108, "0000000", 8);
  memcpy(to + 116, "0000000", 8);
  snprintf((char *)to + 124, 12, "%011o", size);
  memcpy(to + 136, "00000000007", 12);
  memset(to + 148, ' ', 8);
  memcpy(to + 156, "0", 1);
  memcpy(to + 257, "ustar\00000", 8);
  unsigned sum = 0;
  for (int i = 0; i < 512; i++) sum += to[i];
  snprintf((char *)to + 148, 8, "%06o", sum);
}

/* Whatever a header says, nothing is read or written beyond what was given. */
static void takes_plain_files(void) {
  static struct plain_run run;
  u8 *chunk = malloc(1536), *raw = malloc(PLAIN_MOST_RAW + 512);
  char *operations = malloc(256), *lines = malloc(1200);
  put_header(chunk, "d/a", 5);
  memset(chunk + 512, 0, 512);
  memcpy(chunk + 512, "hello", 5);
  put_header(chunk + 1024, "d/b", 0);
  for (unsigned to = 0; to <= 1536; to++) {
    run = (struct plain_run){.to = to, .operations_size = 256, .lines_size = 1200, .directory_fd = 3, .directory_length = 1};
    run.directory[0] = 'd';
    run.most_entries = 9;
    run.most_bytes = 100;
    tsbox_plain(&run, chunk, operations, lines, raw);
    CHECK(run.count == (to < 1024 ? 0 : 1));
    CHECK(run.end == (to < 1536 ? PLAIN_OTHER : PLAIN_OPERATIONS));
  }
  CHECK(run.entries[0].data == 517 && run.entries[0].next == 1024 && run.names_length == 4);
  CHECK(memcmp(operations + 48, "d/a", 3) != 0 && memcmp(operations + 48, "a", 2) == 0);
  for (int at = 0; at < 512; at++) {
    for (int value = 0; value < 256; value += 51) {
      put_header(chunk, "d/a", 5);
      chunk[at] = (u8)value;
      unsigned sum = 8 * ' ';
      for (int i = 0; i < 512; i++) sum += i >= 148 && i < 156 ? 0 : chunk[i];
      snprintf((char *)chunk + 148, 8, "%06o", sum);
      run.operations = run.lines = run.raw = 0;
      run.most_bytes = 1e9;
      run.most_entries = 9;
      tsbox_plain(&run, chunk, operations, lines, raw);
      CHECK(run.count <= 2);
    }
  }
  free(chunk);
  free(raw);
  free(operations);
  free(lines);
}

#define LINE(text, stream) "{\"log\":\"" text "\",\"stream\":\"" stream "\",\"time\":\"2024-05-06T07:08:09.1Z\"}\n"

static void says(const char *lines, size_t expected_end, const char *expected, int expected_stream) {
  size_t length = strlen(lines), from = 0;
  u8 *bytes = exact(lines, length), *into = exact(lines, length);
  int stream = -1;
  size_t written = tsbox_log_texts(into, bytes, &from, length, &stream);
  if (from != expected_end) fprintf(stderr, "%s: stopped at %zu\n", lines, from);
  CHECK(from == expected_end && written == strlen(expected) && memcmp(into, expected, written) == 0);
  CHECK(stream == expected_stream);
  free(bytes);
  free(into);
}

static void texts_of_log_lines(void) {
  const char *two = LINE("a\\n", "stdout") LINE("b", "stdout");
  says(two, strlen(two), "a\nb", TSBOX_LOG_STDOUT);
  says(LINE("a\\n", "stdout") LINE("b\\n", "stderr"), strlen(LINE("a\\n", "stdout")), "a\n", TSBOX_LOG_STDOUT);
  const char *escaped = LINE("\\\"\\\\\\/\\b\\f\\r\\t\\u001b\\u003c\\u00e9\\u2028\\n", "stderr");
  says(escaped, strlen(escaped), "\"\\/\b\f\r\t\x1b<\xc3\xa9\xe2\x80\xa8\n", TSBOX_LOG_STDERR);
  /* What is another's to read, and what is damaged or has no end yet. */
  const char *others[] = {
      LINE("\\ufffd", "stdout"), LINE("\\ud83d\\ude00", "stdout"), LINE("\\x", "stdout"), LINE("\\u12", "stdout"), LINE("a", "other"),
      "{\"log\":\"a\",\"stream\":\"stdout\",\"attrs\":{},\"time\":\"1\"}\n", "{\"log\":\"a\",\"stream\":\"stdout\",\"time\":\"1\",\"raw\":\"\"}\n",
      "{\"log\":\"a\",\"stream\":\"stdout\",\"time\":\"1\"}", "{\"log\":\"a", "\n", "{\"log\":\"a\\", "{\"log\":\"a\",\"stream\":\"stdout\",\"time\":\"\n"};
  for (size_t other = 0; other < sizeof others / sizeof others[0]; other++) says(others[other], 0, "", -1);
  /* However it is cut: nothing is read beyond the end, and no half line counts. */
  for (size_t length = 0; length < strlen(escaped); length++) {
    char cut[256];
    memcpy(cut, escaped, length);
    cut[length] = 0;
    says(cut, 0, "", -1);
  }
}

int main(void) {
  texts_of_log_lines();
  keeps_errno();
  sums();
  encodes();
  encodes_zeros();
  inflates();
  takes_plain_files();
  return 0;
}
