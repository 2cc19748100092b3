/* The loop of a file system in user space: src/union/serve.ts. */
#ifndef TSBOX_EXCHANGE_H
#define TSBOX_EXCHANGE_H

#include <stddef.h>
#include <sys/types.h>

/* Gives /dev/fuse an answer, if its size is not 0, and waits for the next request. Returns as read(2) does. */
ssize_t tsbox_exchange(int device, const void *answer, size_t size, void *request, size_t room);

#endif
