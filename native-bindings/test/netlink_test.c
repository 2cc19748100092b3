/* Messages for the kernel: their shape, and that what does not fit is not sent. */
#include "netlink.h"

#include <linux/netlink.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ops.h"
#include "test.h"

static u32 number32(const u8 *at) {
  u32 value;
  memcpy(&value, at, sizeof value);
  return value;
}

static u16 number16(const u8 *at) {
  u16 value;
  memcpy(&value, at, sizeof value);
  return value;
}

static void shape(void) {
  struct message message;
  message_start(&message);
  message_begin(&message, 16, NLM_F_ACK, "body", 4);
  message_add_text(&message, 3, "ab"); /* 4 + 3, padded to 8 */
  size_t nest = message_open(&message, 18);
  message_add_number(&message, 4, 0x01020304);
  message_close(&message, nest);
  message_add(&message, 5, NULL, 0);
  const u8 *at = message.bytes;
  CHECK(!message.full && message.length == 16 + 4 + 8 + 12 + 4);
  CHECK(number32(at) == message.length && number16(at + 4) == 16 && number16(at + 6) == (NLM_F_REQUEST | NLM_F_ACK));
  CHECK(memcmp(at + 16, "body", 4) == 0);
  CHECK(number16(at + 20) == 7 && number16(at + 22) == 3 && memcmp(at + 24, "ab\0", 4) == 0);
  CHECK(number16(at + 28) == 12 && number16(at + 30) == 18 && number16(at + 32) == 8 && number32(at + 36) == 0x01020304);
  CHECK(number16(at + 40) == 4);
}

static void several(void) {
  struct message message;
  message_start(&message);
  message_begin(&message, 1, 0, "12345", 5);
  size_t first = message.length;
  message_begin(&message, 2, 0, NULL, 0);
  message_add_number(&message, 1, 7);
  CHECK(first == 24 && number32(message.bytes) == 24); /* the first is as long as it was */
  CHECK(message.start == 24 && number32(message.bytes + 24) == 24 && message.length == 48);
}

/* Each length at the end of what there is room for: the sanitizer sees the first byte behind it. */
static void too_much(void) {
  struct run run = {.channel = -1};
  u8 data[MESSAGE_SIZE + 8] = {0};
  for (size_t size = 0; size <= sizeof data; size++) {
    struct message *message = malloc(sizeof *message);
    CHECK(message != NULL);
    message_start(message);
    message_begin(message, 1, 0, NULL, 0);
    size_t nest = message_open(message, 9);
    message_add(message, 1, data, size);
    message_add(message, 2, data, size);
    message_close(message, nest);
    CHECK(message->length <= MESSAGE_SIZE);
    size_t whole = 20 + 2 * (4 + ((size + 3) & ~(size_t)3));
    CHECK(message->full == (whole > MESSAGE_SIZE));
    if (message->full) CHECK(message_send(&run, message, 0) == EMSGSIZE);
    else CHECK(number16(message->bytes + nest) == message->length - nest);
    free(message);
  }
}

int main(void) {
  shape();
  several();
  too_much();
  return 0;
}
