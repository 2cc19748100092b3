/* What a container wrote, out of many lines of its json-file log at once, for src/engine/log-lines.ts. */
#ifndef TSBOX_LOGS_H
#define TSBOX_LOGS_H

#include <stddef.h>
#include <stdint.h>

enum { TSBOX_LOG_STDOUT, TSBOX_LOG_STDERR };

/* Writes the texts of the whole lines in `bytes`, from `from` to `to`, to `into`, which has room for as many bytes, as long as they are of
 * one stream and have nothing but what the monitor writes for usual text. Returns how many bytes were written; `*from` is then where it has
 * stopped, `*stream` which stream they are of. */
size_t tsbox_log_texts(uint8_t *into, const uint8_t *bytes, size_t *from, size_t to, int *stream);

#endif
