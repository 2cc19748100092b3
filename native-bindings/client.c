#include "client.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

void frame_header(u8 header[HEADER_SIZE], enum frame_type type, u32 length) {
  memset(header, 0, HEADER_SIZE);
  header[0] = (u8)type;
  for (int byte = 0; byte < 4; byte++) header[4 + byte] = (u8)(length >> (24 - 8 * byte));
}

static void queue_free(struct queue *queue) {
  if (queue->bytes != NULL) munmap(queue->bytes, queue->capacity);
  *queue = (struct queue){0};
}

static bool queue_room(struct queue *queue, size_t length) {
  size_t capacity = queue->capacity == 0 ? (size_t)QUEUE_FULL / 4 : queue->capacity;
  if (queue->start > 0 && queue->start + queue->length + length > queue->capacity) {
    memmove(queue->bytes, queue->bytes + queue->start, queue->length);
    queue->start = 0;
  }
  while (capacity < queue->length + length) capacity *= 2;
  if (capacity == queue->capacity) return true;
  void *bytes = queue->bytes == NULL
                    ? mmap(NULL, capacity, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
                    : mremap(queue->bytes, queue->capacity, capacity, MREMAP_MAYMOVE);
  if (bytes == MAP_FAILED) return false;
  queue->bytes = bytes;
  queue->capacity = capacity;
  return true;
}

static void deafen(struct client *client) {
  client->deaf = true;
  queue_free(&client->queue);
}

/* How much the socket took; a client that has left is deaf from then on. */
static size_t send_some(struct client *client, const u8 *bytes, size_t length) {
  size_t sent = 0;
  while (sent < length) {
    ssize_t taken = send(client->fd, bytes + sent, length - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (taken >= 0) {
      sent += (size_t)taken;
    } else if (errno != EINTR) {
      if (errno != EAGAIN) deafen(client);
      break;
    }
  }
  return sent;
}

void client_send(struct client *client, const u8 *frame, size_t length) {
  if (client->deaf) return;
  size_t sent = client->queue.length == 0 ? send_some(client, frame, length) : 0;
  if (client->deaf || sent == length) return;
  struct queue *queue = &client->queue;
  if (!queue_room(queue, length - sent)) {
    deafen(client); /* half a frame is worse than none */
    return;
  }
  memcpy(queue->bytes + queue->start + queue->length, frame + sent, length - sent);
  queue->length += length - sent;
}

void client_flush(struct client *client) {
  struct queue *queue = &client->queue;
  size_t sent = send_some(client, queue->bytes + queue->start, queue->length);
  if (client->deaf) return;
  queue->start += sent;
  queue->length -= sent;
  if (queue->length == 0) queue_free(queue);
}

void client_close(struct client *client) {
  queue_free(&client->queue);
  close(client->fd);
  *client = (struct client){.fd = -1};
}
