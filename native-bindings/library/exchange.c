/*
 * An answer and the next request are two system calls, but one call through FFI: 2 to 3 % more small requests a second. Nobody wants to
 * know whether the answer was taken: it is refused when who asked has gone.
 */
#include "exchange.h"

#include <unistd.h>

ssize_t tsbox_exchange(int device, const void *answer, size_t size, void *request, size_t room)
{
  if (size > 0 && write(device, answer, size) == -1) { /* taken back, or unmounted: read(2) says that too */
  }
  return read(device, request, room);
}
