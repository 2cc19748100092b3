/* Docker's json-file log: an object a line, rotated by size. */
#pragma once

#include "base.h"

enum { LOG_STDOUT, LOG_STDERR, LOG_STREAMS };

/* Starts a log at `path`, or goes on with the one that is there. max_size in bytes, -1: never rotated; max_files counts the
 * file itself. `attrs` is a JSON object that each entry gets as it is, empty for none. Returns 0 or an errno. */
int log_open(const char *path, i64 max_size, i64 max_files, const char *attrs);

/* Logs the lines that these bytes complete, all with the present time, and keeps the rest for later. A full disk loses lines,
 * never the container: what could not be written is cut off again, so that the file stays a list of whole objects. */
void log_write(int stream, const u8 *bytes, size_t length);

/* Logs what is kept: the streams have ended. */
void log_close(void);
