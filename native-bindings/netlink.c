#include "netlink.h"

#include <linux/netlink.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

void message_start(struct message *message) {
  message->length = message->start = 0;
  message->full = false;
}

/* Zeroed, so that what pads to four bytes is zero; NULL when there is no room. The message that it belongs to becomes longer. */
static u8 *room(struct message *message, size_t size) {
  size_t whole = NLMSG_ALIGN(size);
  if (message->full || whole < size || whole > MESSAGE_SIZE - message->length) {
    message->full = true;
    return NULL;
  }
  u8 *at = message->bytes + message->length;
  memset(at, 0, whole);
  message->length += whole;
  u32 length = (u32)(message->length - message->start);
  memcpy(message->bytes + message->start, &length, sizeof length); /* nlmsg_len comes first */
  return at;
}

void message_append(struct message *message, const void *data, size_t size) {
  u8 *at = room(message, size);
  if (at != NULL && size > 0) memcpy(at, data, size);
}

void message_begin(struct message *message, u16 type, u16 flags, const void *body, size_t size) {
  struct nlmsghdr header = {.nlmsg_type = type, .nlmsg_flags = (u16)(flags | NLM_F_REQUEST)};
  message->start = message->length;
  u8 *at = room(message, sizeof header);
  if (at == NULL) return;
  header.nlmsg_len = sizeof header;
  memcpy(at, &header, sizeof header);
  message_append(message, body, size);
}

void message_add(struct message *message, u16 type, const void *data, size_t size) {
  struct nlattr header = {.nla_type = type, .nla_len = (u16)(sizeof header + size)};
  u8 *at = size > MESSAGE_SIZE ? NULL : room(message, sizeof header + size);
  if (at == NULL) {
    message->full = true;
    return;
  }
  memcpy(at, &header, sizeof header);
  if (size > 0) memcpy(at + sizeof header, data, size);
}

void message_add_text(struct message *message, u16 type, const char *text) { message_add(message, type, text, strlen(text) + 1); }

void message_add_number(struct message *message, u16 type, u32 number) { message_add(message, type, &number, sizeof number); }

size_t message_open(struct message *message, u16 type) {
  size_t at = message->length;
  message_add(message, type, NULL, 0);
  return at;
}

void message_close(struct message *message, size_t attribute) {
  u16 length = (u16)(message->length - attribute);
  if (!message->full) memcpy(message->bytes + attribute, &length, sizeof length); /* nla_len comes first */
}

/* The kernel's own words, which come as attributes behind its copy of the head of what it refuses. */
static void take_words(struct run *run, const u8 *at, const u8 *end) {
  struct nlattr header;
  while ((size_t)(end - at) >= sizeof header) {
    memcpy(&header, at, sizeof header);
    if (header.nla_len < sizeof header || header.nla_len > end - at) return;
    size_t length = header.nla_len - sizeof header;
    if (header.nla_type == NLMSGERR_ATTR_MSG) {
      if (length >= DETAIL_SIZE) length = DETAIL_SIZE - 1;
      memcpy(run->outcome.detail, at + sizeof header, length);
      run->outcome.detail[length] = 0;
    }
    size_t step = NLA_ALIGN(header.nla_len);
    if (step > (size_t)(end - at)) return;
    at += step;
  }
}

/* Of several messages one at most asks to be answered, so what comes is about that, or about the one that is wrong. */
static int answer(struct run *run, int fd) {
  _Alignas(4) u8 bytes[4096];
  ssize_t got;
  do got = recv(fd, bytes, sizeof bytes, 0);
  while (got < 0 && errno == EINTR);
  if (got < 0) return errno;
  struct nlmsghdr header;
  struct nlmsgerr error;
  const u8 *at = bytes;
  if ((size_t)got < sizeof header + sizeof error) return EPROTO;
  memcpy(&header, at, sizeof header);
  memcpy(&error, at + sizeof header, sizeof error);
  if (header.nlmsg_type != NLMSG_ERROR || header.nlmsg_len > (size_t)got) return EPROTO;
  if (error.error != 0 && (header.nlmsg_flags & NLM_F_ACK_TLVS) != 0 && header.nlmsg_len >= sizeof header + sizeof error)
    take_words(run, at + sizeof header + sizeof error, at + header.nlmsg_len);
  return -error.error;
}

int message_send(struct run *run, const struct message *message, int protocol) {
  if (message->full) return EMSGSIZE;
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
  if (fd < 0) return errno;
  /* With words, and without all of what was asked: then these come at a known place. Kernels before 4.12 do without. */
  setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &(int){1}, sizeof(int));
  setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &(int){1}, sizeof(int));
  int error = ERRNO_OF(send(fd, message->bytes, message->length, 0));
  if (error == 0) error = answer(run, fd);
  close(fd);
  return error;
}
