/* The log against a slow and simple model of it: random bytes in random pieces, joined again from what was written. */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "format.h"
#include "log.h"
#include "test.h"

static char path[64];

static char *contents(const char *name, size_t *length) {
  struct stat status;
  int fd = open(name, O_RDONLY);
  CHECK(fd >= 0 && fstat(fd, &status) == 0);
  char *text = malloc((size_t)status.st_size + 1);
  CHECK(text != NULL && read(fd, text, (size_t)status.st_size) == status.st_size);
  close(fd);
  *length = (size_t)status.st_size;
  text[*length] = 0;
  return text;
}

/* What the entries say, joined: their texts are between `{"log":"` and `","stream":`. */
static char *texts(void) {
  size_t length, used = 0;
  char *all = contents(path, &length), *joined = malloc(length + 1);
  CHECK(joined != NULL);
  for (char *line = all; *line != 0;) {
    char *end = strchr(line, '\n');
    CHECK(end != NULL); /* strstr under the sanitizer would look at all that follows */
    char *stream = memmem(line, (size_t)(end - line), "\",\"stream\":\"std", 15);
    CHECK(strncmp(line, "{\"log\":\"", 8) == 0 && stream != NULL && stream < end);
    CHECK(end[-1] == '}');
    memcpy(joined + used, line + 8, (size_t)(stream - line - 8));
    used += (size_t)(stream - line - 8);
    line = end + 1;
  }
  joined[used] = 0;
  free(all);
  return joined;
}

static void compare(const u8 *bytes, size_t length, size_t piece) {
  unlink(path);
  const struct log_config config = {.path = path, .max_size = -1, .max_files = 1, .attrs = ""};
  CHECK(log_open(&config) == 0);
  for (size_t at = 0; at < length; at += piece) {
    size_t size = length - at < piece ? length - at : piece;
    u8 *part = exact(bytes + at, size);
    log_write(LOG_STDOUT, part, size);
    free(part);
  }
  log_close();
  char *expected = malloc(length * ESCAPE_MAX + 1), *found = texts();
  CHECK(expected != NULL);
  expected[json_escape(expected, bytes, length, NULL)] = 0;
  if (strcmp(expected, found) != 0) fprintf(stderr, "pieces of %zu bytes, first byte %d\n", piece, bytes[0]);
  CHECK(strcmp(expected, found) == 0);
  free(expected);
  free(found);
}

/* What the messages of `local` say, joined; each stands between its length and its length. */
static u8 *messages(const char *name, size_t *joined_length) {
  size_t length, used = 0;
  char *all = contents(name, &length);
  u8 *joined = malloc(length + 1);
  CHECK(joined != NULL);
  for (size_t at = 0; at < length;) {
    const u8 *frame = (const u8 *)all + at;
    size_t size = (size_t)frame[0] << 24 | (size_t)frame[1] << 16 | (size_t)frame[2] << 8 | frame[3];
    CHECK(at + size + 8 <= length && memcmp(frame, frame + 4 + size, 4) == 0);
    const u8 *field = frame + 4, *end = field + size;
    CHECK(memcmp(field, "\x0a\x06stdout\x10", 9) == 0);
    for (field += 9; (*field++ & 0x80) != 0;) continue; /* the time */
    bool ends = true;
    if (field < end && *field == 0x1a) {
      size_t text = 0;
      int shift = 0;
      for (field++;; shift += 7) {
        text |= (size_t)(*field & 0x7f) << shift;
        if ((*field++ & 0x80) == 0) break;
      }
      CHECK(field + text <= end);
      memcpy(joined + used, field, text);
      used += text;
      field += text;
    }
    if (field < end) { /* partial, and which part */
      CHECK(memcmp(field, "\x20\x01\x2a", 3) == 0);
      ends = field[4] == 0x08;
    }
    if (ends) joined[used++] = '\n';
    at += size + 8;
  }
  free(all);
  *joined_length = used;
  return joined;
}

/* @param buffer has room for everything, if there is one: the writer may be slow */
static void check_local(const u8 *bytes, size_t length, i64 buffer) {
  size_t found_length;
  unlink(path);
  const struct log_config config = {
      .path = path, .max_size = -1, .max_files = 1, .attrs = "", .form = LOG_LOCAL, .buffer = buffer};
  CHECK(log_open(&config) == 0);
  for (size_t at = 0; at < length; at += 5000) log_write(LOG_STDOUT, bytes + at, length - at < 5000 ? length - at : 5000);
  log_close();
  u8 *found = messages(path, &found_length);
  CHECK(found_length == length && memcmp(found, bytes, length) == 0);
  free(found);
}

/* What does not fit is thrown away whole: what is there is in order and has no half lines. */
static void check_buffer_overflows(void) {
  enum { LINES = 40000 };
  size_t length;
  char text[16];
  unlink(path);
  const struct log_config config = {
      .path = path, .max_size = -1, .max_files = 1, .attrs = "", .form = LOG_LOCAL, .buffer = 1};
  CHECK(log_open(&config) == 0);
  static u8 lines[LINES * 8];
  for (int line = 0; line < LINES; line++) {
    snprintf(text, sizeof text, "%07d\n", line);
    memcpy(lines + line * 8, text, 8);
  }
  log_write(LOG_STDOUT, lines, sizeof lines);
  log_close();
  u8 *found = messages(path, &length);
  CHECK(length > 0 && length % 8 == 0 && memcmp(found, lines, 8) == 0);
  for (size_t at = 8; at < length; at += 8) CHECK(memcmp(found + at - 8, found + at, 8) < 0);
  free(found);
}

/* Each number has one file, compressed once another has come, and together they are the end of what was written. */
static void check_rotation(void) {
  char command[512], joined[80], text[16];
  const struct log_config config = {
      .path = path, .max_size = 3000, .max_files = 3, .attrs = "", .form = LOG_LOCAL, .compress = 1};
  CHECK(log_open(&config) == 0);
  for (int line = 0; line < 1000; line++) {
    snprintf(text, sizeof text, "%07d\n", line);
    log_write(LOG_STDOUT, (const u8 *)text, 8);
  }
  log_close();
  snprintf(command, sizeof command,
           "set -e; cd /tmp; n=$(basename %s); test \"$(echo $n*)\" = \"$n $n.1.gz $n.2.gz\"; gzip -dc $n.2.gz > $n.x; "
           "gzip -dc $n.1.gz >> $n.x; cat $n >> $n.x; rm $n.1.gz $n.2.gz",
           path);
  CHECK(system(command) == 0);
  size_t length;
  snprintf(joined, sizeof joined, "%s.x", path);
  u8 *found = messages(joined, &length);
  unlink(joined);
  CHECK(length > 8 * 100 && memcmp(found + length - 8, "0000999\n", 8) == 0);
  for (size_t at = 8; at < length; at += 8) CHECK(strtol((char *)found + at, NULL, 10) == strtol((char *)found + at - 8, NULL, 10) + 1);
  free(found);
}

int main(void) {
  enum { LENGTH = 100000 };
  static u8 bytes[LENGTH];
  static const char *const alphabets[] = {"x", "ab\n", "\xe2\x82\xac", "\xf0\x9d\x84\x9e\n<", "\xff\xe2\x80\xa8\x80"};
  snprintf(path, sizeof path, "/tmp/tsbox-log-test-%d", getpid());
  for (size_t alphabet = 0; alphabet < 5; alphabet++) {
    for (size_t at = 0; at < LENGTH; at++)
      bytes[at] = (u8)alphabets[alphabet][alphabet == 2 ? at % 3 : (size_t)rand() % strlen(alphabets[alphabet])];
    const size_t pieces[] = {1, 7, 4096, 16384, 16385, 65536};
    for (size_t piece = 0; piece < 6; piece++) compare(bytes, pieces[piece] == 1 ? 20000 : LENGTH, pieces[piece]);
    check_local(bytes, LENGTH, 0);
    check_local(bytes, LENGTH, LENGTH * (i64)(sizeof(struct log_entry) + 1));
  }
  check_buffer_overflows();
  unlink(path);
  check_rotation();
  unlink(path);
  const struct log_config nowhere = {.path = "/proc/nosuch/log", .max_size = -1, .max_files = 1, .attrs = ""};
  CHECK(log_open(&nowhere) == ENOENT);
  return 0;
}
