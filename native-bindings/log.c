#include "log.h"

#include <string.h>

#include "format.h"

/* The beginning of a line whose end has not come. */
struct line {
  size_t length;
  u32 parts;            /* of it that are logged already */
  struct timespec time; /* of the first of them */
  u8 bytes[LOG_ENTRY_MAX];
};

static bool is_open;
static struct timespec present;
static struct line lines[LOG_STREAMS];

int log_open(const struct log_config *config) {
  if (is_open) return EBUSY;
  int error = log_form_open(config);
  if (error == 0) error = log_file_open(config);
  if (error == 0 && config->buffer > 0) error = log_ring_open(config);
  is_open = error == 0;
  return error;
}

/* All parts of a line have the time of the first. */
static void entry(int stream, const u8 *bytes, size_t length, bool ends) {
  struct line *line = &lines[stream];
  struct log_entry it = {.length = (u32)length, .stream = (u8)stream, .time = present};
  if (line->parts > 0) it.time = line->time;
  else line->time = present;
  if (line->parts > 0 || !ends) {
    it.ordinal = ++line->parts;
    it.last = ends;
  }
  if (ends) line->parts = 0;
  if (log_ring_is_open()) log_ring_put(&it, bytes);
  else log_form_write(&it, bytes);
}

static void keep(struct line *line, const u8 *bytes, size_t length) {
  memcpy(line->bytes + line->length, bytes, length);
  line->length += length;
}

/* A line that is too long is split where it is full, but not inside a character. */
static void split(int stream, const u8 *bytes, size_t length) {
  struct line *line = &lines[stream];
  size_t cut = utf8_cut(bytes, length);
  entry(stream, bytes, length - cut, false);
  memmove(line->bytes, bytes + length - cut, cut);
  line->length = cut;
}

void log_write(int stream, const u8 *bytes, size_t length) {
  struct line *line = &lines[stream];
  if (!is_open) return;
  clock_gettime(CLOCK_REALTIME, &present);
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
      entry(stream, whole, whole_length, true);
      line->length = 0;
    } else if (span == room) {
      split(stream, whole, whole_length);
    }
    bytes += span;
    length -= span;
  }
  if (!log_ring_is_open()) log_file_flush();
}

bool log_blocked(void) { return is_open && !log_ring_is_open() && log_file_blocked(); }

void log_child_ended(pid_t pid, int status) {
  if (!is_open || log_file_child_ended(pid, status)) return;
  log_ring_child_ended(pid);
}

void log_close(void) {
  if (!is_open) return;
  clock_gettime(CLOCK_REALTIME, &present);
  for (int stream = 0; stream < LOG_STREAMS; stream++) {
    if (lines[stream].length > 0) entry(stream, lines[stream].bytes, lines[stream].length, false);
    lines[stream].length = 0;
    lines[stream].parts = 0;
  }
  if (log_ring_is_open()) log_ring_close();
  log_file_close();
  is_open = false;
}
