/* Who watches the container: a socket, what has come of its present frame, and what it has yet to take. */
#pragma once

#include "base.h"

enum frame_type {
  FRAME_STDIN = 0,
  FRAME_STDOUT = 1,
  FRAME_STDERR = 2,
  FRAME_STARTED = 3,
  FRAME_FAILED = 4,
  FRAME_EXIT = 5,
  FRAME_STEP = 6,
  FRAME_WAITING = 7,
  FRAME_HELLO = 16,
  FRAME_RESIZE = 17,
  FRAME_GO = 18,
};

enum { HEADER_SIZE = 8, QUEUE_FULL = 1 << 20 };

/* Bytes that a socket would not take yet. Pages of its own, given back when it is empty. */
struct queue {
  u8 *bytes;
  size_t start;
  size_t length;
  size_t capacity;
};

struct client {
  int fd; /* -1: an empty place */
  bool hello;
  bool output;
  bool input;
  bool deaf;       /* it takes nothing any more; what it sent may still be there to read */
  bool input_done; /* it sends nothing any more */
  u8 have;         /* bytes of the header, then of a small payload */
  u8 header[HEADER_SIZE];
  u8 payload[4];
  u32 remaining; /* of the payload, once the header is there */
  bool visitor;    /* it came by the door: the container does not wait for it without end */
  u64 full_since;  /* when its queue was found full; 0: it is not */
  struct queue queue;
};

void frame_header(u8 header[HEADER_SIZE], enum frame_type type, u32 length);

/* Sends or queues a whole frame, header and payload in one piece. */
void client_send(struct client *client, const u8 *frame, size_t length);
/* Sends what is queued as far as the socket takes it. */
void client_flush(struct client *client);
void client_close(struct client *client);
