/* Rules of the firewall. Many at once go through nft(8); one thing is taken away by a message, without a program: see nfnetlink's batches in
 * linux/netfilter/nfnetlink.h and linux/netfilter/nf_tables.h. */
#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <string.h>
#include <sys/socket.h>

#include "netlink.h"
#include "ops.h"

/* What nft(8) says ends with the kernel's reason, when that was one. */
static int reason_in(const char *words) {
  static const int reasons[] = {EEXIST, ENOENT, EBUSY, EOPNOTSUPP};
  size_t length = strlen(words);
  for (size_t index = 0; index < sizeof reasons / sizeof reasons[0]; index++) {
    const char *reason = strerror(reasons[index]);
    size_t size = strlen(reason);
    if (length >= size && strcmp(words + length - size, reason) == 0) return reasons[index];
  }
  return EPERM;
}

/* All or nothing, whatever the number of commands. ENOSYS without nft(8). */
OPERATION(nft) {
  const char *commands;
  char program[] = "nft";
  int error = text_string(run, &args[0], &commands);
  if (error != 0) return error;
  /* execve's parameter type predates const; nothing writes to the strings. */
  char *arguments[] = {program, NULL, NULL};
  memcpy(&arguments[1], &commands, sizeof commands);
  error = run_program(run, arguments);
  if (error == ENOENT) {
    strcpy(run->outcome.detail, "nft is not installed");
    return ENOSYS;
  }
  return error == EPERM ? reason_in(run->outcome.detail) : error;
}

static void put_message(struct message *message, u16 type, u16 flags, u8 family, u16 resource) {
  const struct nfgenmsg body = {.nfgen_family = family, .version = NFNETLINK_V0, .res_id = htons(resource)};
  message_begin(message, type, flags, &body, sizeof body);
}

static void put_deletion(struct message *message, u16 what) {
  put_message(message, (u16)(NFNL_SUBSYS_NFTABLES << 8 | what), NLM_F_ACK, NFPROTO_INET, 0);
}

static void put_element(struct message *message, const char *table, const char *set, const struct arg *key) {
  put_deletion(message, NFT_MSG_DELSETELEM);
  message_add_text(message, NFTA_SET_ELEM_LIST_TABLE, table);
  message_add_text(message, NFTA_SET_ELEM_LIST_SET, set);
  size_t elements = message_open(message, NLA_F_NESTED | NFTA_SET_ELEM_LIST_ELEMENTS);
  size_t element = message_open(message, NLA_F_NESTED | NFTA_LIST_ELEM);
  size_t data = message_open(message, NLA_F_NESTED | NFTA_SET_ELEM_KEY);
  message_add(message, NFTA_DATA_VALUE, key->bytes, key->count);
  message_close(message, data);
  message_close(message, element);
  message_close(message, elements);
}

OPERATION(nft_delete) {
  const char *table, *set;
  struct message message;
  int error = text_string(run, &args[0], &table);
  if (error == 0) error = text_string(run, &args[1], &set);
  if (error != 0) return error;
  message_start(&message);
  put_message(&message, NFNL_MSG_BATCH_BEGIN, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
  if (set[0] == 0) {
    put_deletion(&message, NFT_MSG_DELTABLE);
    message_add_text(&message, NFTA_TABLE_NAME, table);
  } else {
    put_element(&message, table, set, &args[2]);
  }
  put_message(&message, NFNL_MSG_BATCH_END, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
  return message_send(run, &message, NETLINK_NETFILTER);
}
