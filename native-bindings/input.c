/* What clients type, on its way to the container. One buffer for all of them: a client is only read when it is empty. */
#include <unistd.h>

#include "monitor.h"

bool input_blocked(const struct input *input) { return input->length > 0 || !input->known; }

void input_close(struct monitor *monitor) {
  struct input *input = &monitor->input;
  if (input->fd >= 0 && !input->terminal) close(input->fd);
  input->fd = -1;
  input->known = true;
  input->length = 0;
}

void input_write(struct monitor *monitor) {
  struct input *input = &monitor->input;
  while (input->length > 0 && input->fd >= 0) {
    ssize_t written = write(input->fd, input->bytes + input->start, input->length);
    if (written < 0 && errno == EAGAIN) return;
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) break; /* the container reads no more */
    input->start += (size_t)written;
    input->length -= (size_t)written;
  }
  if (input->length > 0 || input->closing) input_close(monitor);
}

void input_give(struct monitor *monitor, size_t length) {
  monitor->input.start = 0;
  monitor->input.length = length;
  input_write(monitor);
}

/* A terminal has no end of file of its own: the program decides what ^D means. */
void input_end(struct monitor *monitor) {
  struct input *input = &monitor->input;
  if (input->terminal) return;
  input->closing = true;
  if (input->length == 0) input_close(monitor);
}
