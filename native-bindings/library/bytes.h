/* Loops over many bytes, for src/layer/. */
#ifndef TSBOX_BYTES_H
#define TSBOX_BYTES_H

#include <stddef.h>
#include <stdint.h>

/* Adds bytes to a CRC-64 of ISO 3309, reflected. It begins with all ones, and is inverted at the end. */
void tsbox_crc64(uint64_t *crc, const uint8_t *bytes, size_t from, size_t to);
/* Writes `length` bytes in base64, with padding, to `into` at `at`. Returns where the text ends. */
size_t tsbox_base64(char *into, size_t at, const uint8_t *bytes, size_t length);

#endif
