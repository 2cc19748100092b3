/* The least that a test needs. A failing check says where and ends the test. */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base.h"

#define CHECK(condition)                                                                    \
  do {                                                                                      \
    if (!(condition)) {                                                                     \
      fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);               \
      exit(1);                                                                              \
    }                                                                                       \
  } while (0)

/* A copy of exactly this size on the heap, so that the sanitizer sees a read past its end. */
static inline u8 *exact(const void *bytes, size_t length) {
  u8 *copy = malloc(length == 0 ? 1 : length);
  CHECK(copy != NULL);
  if (length > 0) memcpy(copy, bytes, length);
  return copy;
}
