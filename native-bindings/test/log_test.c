/* The log against a slow and simple model of it: random bytes in random pieces, joined again from what was written. */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "format.h"
#include "log.h"
#include "test.h"

static char path[64];

static char *contents(size_t *length) {
  struct stat status;
  int fd = open(path, O_RDONLY);
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
  char *all = contents(&length), *joined = malloc(length + 1);
  CHECK(joined != NULL);
  for (char *line = all; *line != 0;) {
    char *end = strchr(line, '\n');
    char *stream = strstr(line, "\",\"stream\":\"std");
    CHECK(end != NULL && strncmp(line, "{\"log\":\"", 8) == 0 && stream != NULL && stream < end);
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
  CHECK(log_open(path, -1, 1, "") == 0);
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
  }
  unlink(path);
  CHECK(log_open("/nosuch/log", -1, 1, "") == ENOENT);
  return 0;
}
