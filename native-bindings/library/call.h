/* Calls of C functions from src/sys/ffi.ts, with their errno. */
#ifndef TSBOX_CALL_H
#define TSBOX_CALL_H

#include <stdint.h>

typedef long tsbox_function(long, long, long, long, long, long, long);

/* The function of this name in a library, or in the C library for NULL. NULL when there is none. */
tsbox_function *tsbox_symbol(const char *library, const char *name);
/* Where tsbox_call leaves errno on this thread. */
void tsbox_keep_errno(int *where);
/* Calls it with as many arguments as were given; what the others hold, nobody reads. */
long tsbox_call(tsbox_function *f, long a, long b, long c, long d, long e, long g, long h);
/* As that from any thread, leaving errno at `where`. */
long tsbox_call_on(int *where, tsbox_function *f, long a, long b, long c, long d, long e, long g, long h);

#endif
