#include "log.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "format.h"

enum {
  LINE_MAX_BYTES = 16384, /* where Docker splits a line */
  ENTRY_FRAME = 128,      /* an object without its text */
  ATTRS_MAX = 16384,
  BUFFER_SIZE = LINE_MAX_BYTES * (ESCAPE_MAX + 2) + ENTRY_FRAME + 2 * ATTRS_MAX,
};

/* The beginning of a line whose end has not come. */
struct line {
  size_t length;
  u8 bytes[LINE_MAX_BYTES];
};

static int fd = -1;
static i64 size, max_size, max_files; /* size: with what is in the buffer */
static char path[PATH_MAX];
static char time_text[TIME_LENGTH];
static char attrs[ATTRS_MAX];
static size_t attrs_length;
static struct line lines[LOG_STREAMS];
static size_t used;
static char buffer[BUFFER_SIZE];

static int open_file(int flags) {
  struct stat status;
  fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | flags, 0640);
  if (fd < 0) return errno;
  size = fstat(fd, &status) == 0 ? status.st_size : 0;
  return 0;
}

int log_open(const char *to, i64 bytes, i64 files, const char *beside) {
  if (fd >= 0) return EBUSY;
  attrs_length = strlen(beside);
  if (attrs_length > sizeof attrs) return E2BIG;
  memcpy(attrs, beside, attrs_length);
  if (strlen(to) >= sizeof path - 24) return ENAMETOOLONG; /* room for the number of a rotated file */
  strcpy(path, to);
  max_size = bytes;
  max_files = files;
  return open_file(0);
}

/* Everything in the buffer or nothing of it. */
static void flush(void) {
  i64 before = size - (i64)used;
  for (size_t at = 0; at < used && fd >= 0;) {
    ssize_t written = write(fd, buffer + at, used - at);
    if (written > 0) {
      at += (size_t)written;
    } else if (errno != EINTR) {
      size = before;
      if (ftruncate(fd, before) < 0) close(fd), fd = -1;
      break;
    }
  }
  used = 0;
}

static void rotated_name(char name[PATH_MAX], i64 number) {
  struct out out = out_start(name, PATH_MAX);
  put(&out, path);
  if (number == 0) return;
  put(&out, ".");
  put_number(&out, number);
}

/* log.1 is the youngest of the old ones. With one file there is nothing to keep: another takes its place, so that who reads the old one
 * can do so to its end. */
static void rotate(void) {
  char from[PATH_MAX], to[PATH_MAX];
  flush();
  close(fd);
  for (i64 number = max_files - 1; number > 0; number--) {
    rotated_name(from, number - 1);
    rotated_name(to, number);
    rename(from, to); /* ENOENT: so many do not exist yet */
  }
  if (max_files <= 1) unlink(path);
  open_file(O_TRUNC);
}

static void append(const char *text, size_t length) {
  memcpy(buffer + used, text, length);
  used += length;
}

#define APPEND(literal) append(literal, sizeof(literal) - 1)

static void entry(int stream, const u8 *bytes, size_t length) {
  if (max_size > 0 && size >= max_size) rotate();
  if (sizeof buffer - used < length * (ESCAPE_MAX + 2) + attrs_length + ENTRY_FRAME) flush();
  size_t before = used;
  bool lost = false;
  APPEND("{\"log\":\"");
  used += json_escape(buffer + used, bytes, length, &lost);
  if (stream == LOG_STDOUT) APPEND("\",\"stream\":\"stdout\"");
  else APPEND("\",\"stream\":\"stderr\"");
  if (attrs_length > 0) {
    APPEND(",\"attrs\":");
    append(attrs, attrs_length);
  }
  APPEND(",\"time\":\"");
  append(time_text, TIME_LENGTH);
  if (lost) { /* not Docker's: what JSON cannot say */
    APPEND("\",\"raw\":\"");
    used += base64(buffer + used, bytes, length);
  }
  APPEND("\"}\n");
  size += (i64)(used - before);
}

static void take_time(void) {
  struct timespec time;
  clock_gettime(CLOCK_REALTIME, &time);
  format_time(time_text, &time);
}

static void keep(struct line *line, const u8 *bytes, size_t length) {
  memcpy(line->bytes + line->length, bytes, length);
  line->length += length;
}

/* A line that is too long is split where it is full, but not inside a character. */
static void split(int stream, const u8 *bytes, size_t length) {
  struct line *line = &lines[stream];
  size_t cut = utf8_cut(bytes, length);
  entry(stream, bytes, length - cut);
  memmove(line->bytes, bytes + length - cut, cut);
  line->length = cut;
}

void log_write(int stream, const u8 *bytes, size_t length) {
  struct line *line = &lines[stream];
  if (fd < 0) return;
  take_time();
  while (length > 0) {
    size_t room = sizeof line->bytes - line->length;
    size_t span = length < room ? length : room;
    const u8 *newline = memchr(bytes, '\n', span);
    if (newline != NULL) span = (size_t)(newline - bytes) + 1;
    bool kept = line->length > 0;
    if (kept || (newline == NULL && span < room)) keep(line, bytes, span);
    const u8 *whole = kept ? line->bytes : bytes;
    size_t whole_length = kept ? line->length : span;
    if (newline != NULL) {
      entry(stream, whole, whole_length);
      line->length = 0;
    } else if (span == room) {
      split(stream, whole, whole_length);
    }
    bytes += span;
    length -= span;
  }
  flush();
}

void log_close(void) {
  if (fd < 0) return;
  take_time();
  for (int stream = 0; stream < LOG_STREAMS; stream++) {
    if (lines[stream].length > 0) entry(stream, lines[stream].bytes, lines[stream].length);
    lines[stream].length = 0;
  }
  flush();
  close(fd);
  fd = -1;
}
