/* Messages to the kernel about networks: put together in one buffer, sent, answered by an errno. See netlink(7). */
#pragma once

#include "run.h"

enum { MESSAGE_SIZE = 1024 };

/* One message after the other. What does not fit is left out, and then nothing is sent: EMSGSIZE. */
struct message {
  _Alignas(4) u8 bytes[MESSAGE_SIZE];
  size_t length;
  size_t start; /* of the last message */
  bool full;
};

void message_start(struct message *message);
/* A new message in it, whose kind of body is `size` bytes long. */
void message_begin(struct message *message, u16 type, u16 flags, const void *body, size_t size);
void message_add(struct message *message, u16 type, const void *data, size_t size);
void message_add_text(struct message *message, u16 type, const char *text); /* with its NUL */
void message_add_number(struct message *message, u16 type, u32 number);
/* What is added until message_close goes into this attribute; the result is what that wants. */
size_t message_open(struct message *message, u16 type);
void message_append(struct message *message, const void *data, size_t size); /* no attribute: a structure in front of some */
void message_close(struct message *message, size_t attribute);

/* Sends what is in it and waits for the kernel's answer to what was sent with NLM_F_ACK: 0 or an errno. Where the kernel says more than an errno, that
 * is the step's detail. */
int message_send(struct run *run, const struct message *message, int protocol);
