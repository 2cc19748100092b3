/*
 * A call and its errno in one. Between a call through FFI and a second one that asks for errno, JavaScript runs, and its garbage
 * collector makes system calls of its own.
 */
#include "call.h"

#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

static _Thread_local int *kept;

tsbox_function *tsbox_symbol(const char *library, const char *name)
{
  void *handle = library == NULL ? RTLD_DEFAULT : dlopen(library, RTLD_NOW);
  void *symbol = library != NULL && handle == NULL ? NULL : dlsym(handle, name);
  tsbox_function *function;
  _Static_assert(sizeof function == sizeof symbol, "a function's address is an address");
  memcpy(&function, &symbol, sizeof function);
  return function;
}

void tsbox_keep_errno(int *where) { kept = where; }

long tsbox_call(tsbox_function *f, long a, long b, long c, long d, long e, long g, long h)
{
  return tsbox_call_on(kept, f, a, b, c, d, e, g, h);
}

long tsbox_call_on(int *where, tsbox_function *f, long a, long b, long c, long d, long e, long g, long h)
{
  long result = f(a, b, c, d, e, g, h);
  *where = errno;
  return result;
}
