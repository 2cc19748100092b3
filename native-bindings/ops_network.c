/* Links, addresses, routes: what ip(8) does, by rtnetlink(7). Each is one message. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "netlink.h"
#include "ops.h"

enum { MAC_LENGTH = 6, MAKE = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL };

/* Six bytes in hexadecimal with colons. */
static int parse_mac(const char *text, u8 mac[MAC_LENGTH]) {
  for (int index = 0; index < MAC_LENGTH; index++) {
    char *end;
    unsigned long byte = strtoul(text, &end, 16);
    if (end != text + 2 || byte > 255 || *end != (index == MAC_LENGTH - 1 ? 0 : ':')) return EINVAL;
    mac[index] = (u8)byte;
    text = end + 1;
  }
  return 0;
}

/* `10.0.0.0/8`, or an address alone, which is all of its bits. */
struct subnet {
  u8 family;
  u8 prefix;
  u8 bits;
  u8 bytes[sizeof(struct in6_addr)];
};

static int parse_subnet(const char *text, struct subnet *subnet) {
  char address[INET6_ADDRSTRLEN];
  const char *slash = strchrnul(text, '/');
  size_t length = (size_t)(slash - text);
  if (length >= sizeof address) return EINVAL;
  memcpy(address, text, length);
  address[length] = 0;
  bool six = strchr(address, ':') != NULL;
  subnet->family = six ? AF_INET6 : AF_INET;
  subnet->bits = six ? 128 : 32;
  if (inet_pton(subnet->family, address, subnet->bytes) != 1) return EINVAL;
  subnet->prefix = subnet->bits;
  if (*slash == 0) return 0;
  char *end;
  unsigned long prefix = strtoul(slash + 1, &end, 10);
  if (end == slash + 1 || *end != 0 || prefix > subnet->bits) return EINVAL;
  subnet->prefix = (u8)prefix;
  return 0;
}

static int index_of(const char *link, u32 *index) {
  if (strlen(link) >= IFNAMSIZ) return ENAMETOOLONG;
  *index = if_nametoindex(link);
  return *index != 0 ? 0 : errno;
}

/* What a link is made with, besides its kind. */
struct link_wish {
  const char *name;
  const u8 *mac; /* NULL: the kernel's choice */
  u32 mtu;       /* 0: the kernel's */
};

static void put_wish(struct message *message, struct link_wish wish) {
  message_add_text(message, IFLA_IFNAME, wish.name);
  if (wish.mac != NULL) message_add(message, IFLA_ADDRESS, wish.mac, MAC_LENGTH);
  if (wish.mtu != 0) message_add_number(message, IFLA_MTU, wish.mtu);
}

/* @param netns -1: the peer is made in the namespace that this process is in */
static void put_peer(struct message *message, struct link_wish wish, int netns) {
  const struct ifinfomsg body = {0};
  size_t data = message_open(message, IFLA_INFO_DATA);
  size_t peer = message_open(message, VETH_INFO_PEER);
  message_append(message, &body, sizeof body);
  put_wish(message, wish);
  if (netns >= 0) message_add_number(message, IFLA_NET_NS_FD, (u32)netns);
  message_close(message, peer);
  message_close(message, data);
}

static int add_link(struct run *run, struct link_wish own, const char *type, const struct link_wish *peer, int netns) {
  const struct ifinfomsg body = {0};
  struct message message;
  message_start(&message);
  message_begin(&message, RTM_NEWLINK, MAKE, &body, sizeof body);
  put_wish(&message, own);
  size_t info = message_open(&message, IFLA_LINKINFO);
  message_add_text(&message, IFLA_INFO_KIND, type);
  if (peer != NULL) put_peer(&message, *peer, netns);
  message_close(&message, info);
  return message_send(run, &message, NETLINK_ROUTE);
}

OPERATION(link_add) {
  const char *name, *type, *peer, *netns, *mac;
  u8 bytes[MAC_LENGTH];
  int error = text_string(run, &args[0], &name);
  if (error == 0) error = text_string(run, &args[1], &type);
  if (error == 0) error = text_string(run, &args[2], &peer);
  if (error == 0) error = text_string(run, &args[3], &netns);
  if (error == 0) error = text_string(run, &args[4], &mac);
  if (error == 0 && mac[0] != 0) error = parse_mac(mac, bytes);
  if (error != 0) return error;
  struct link_wish own = {.name = name, .mtu = (u32)args[5].number};
  struct link_wish other = {.name = peer, .mtu = own.mtu};
  bool pair = peer[0] != 0;
  if (!pair && netns[0] != 0) return EINVAL;
  if (mac[0] != 0) *(pair ? &other.mac : &own.mac) = bytes;
  int fd = netns[0] == 0 ? -1 : open(netns, O_RDONLY | O_CLOEXEC);
  if (netns[0] != 0 && fd < 0) return errno;
  error = add_link(run, own, type, pair ? &other : NULL, fd);
  if (fd >= 0) close(fd);
  return error;
}

OPERATION(link_set) {
  const char *name, *master;
  u32 port, bridge = 0;
  struct message message;
  int error = text_string(run, &args[0], &name);
  if (error == 0) error = text_string(run, &args[1], &master);
  if (error == 0) error = index_of(name, &port);
  if (error == 0 && master[0] != 0) error = index_of(master, &bridge);
  if (error != 0) return error;
  const struct ifinfomsg body = {.ifi_index = (int)port};
  message_start(&message);
  message_begin(&message, RTM_SETLINK, NLM_F_ACK, &body, sizeof body);
  message_add_number(&message, IFLA_MASTER, bridge);
  return message_send(run, &message, NETLINK_ROUTE);
}

OPERATION(port_set) {
  const char *name;
  u32 port;
  struct message message;
  int error = text_string(run, &args[0], &name);
  if (error == 0) error = index_of(name, &port);
  if (error != 0) return error;
  const struct ifinfomsg body = {.ifi_index = (int)port};
  const u8 hairpin = args[1].number != 0, isolated = args[2].number != 0;
  message_start(&message);
  message_begin(&message, RTM_NEWLINK, NLM_F_ACK, &body, sizeof body);
  size_t info = message_open(&message, IFLA_LINKINFO);
  message_add_text(&message, IFLA_INFO_SLAVE_KIND, "bridge");
  size_t data = message_open(&message, IFLA_INFO_SLAVE_DATA);
  message_add(&message, IFLA_BRPORT_MODE, &hairpin, sizeof hairpin);
  message_add(&message, IFLA_BRPORT_ISOLATED, &isolated, sizeof isolated);
  message_close(&message, data);
  message_close(&message, info);
  return message_send(run, &message, NETLINK_ROUTE);
}

OPERATION(link_delete) {
  const char *name;
  u32 index;
  struct message message;
  int error = text_string(run, &args[0], &name);
  if (error == 0) error = index_of(name, &index);
  if (error != 0) return error;
  const struct ifinfomsg body = {.ifi_index = (int)index};
  message_start(&message);
  message_begin(&message, RTM_DELLINK, NLM_F_ACK, &body, sizeof body);
  return message_send(run, &message, NETLINK_ROUTE);
}

/* The last of an IPv4 subnet; RFC 3021 has none for two addresses, and one address has none. */
static void put_broadcast(struct message *message, const struct subnet *subnet) {
  u32 address;
  if (subnet->family != AF_INET || subnet->prefix > 30) return;
  memcpy(&address, subnet->bytes, sizeof address);
  message_add_number(message, IFA_BROADCAST, address | htonl(UINT32_MAX >> subnet->prefix));
}

OPERATION(address_add) {
  const char *link, *text;
  u32 index;
  struct subnet subnet;
  struct message message;
  int error = text_string(run, &args[0], &link);
  if (error == 0) error = text_string(run, &args[1], &text);
  if (error == 0) error = parse_subnet(text, &subnet);
  if (error == 0) error = index_of(link, &index);
  if (error != 0) return error;
  const struct ifaddrmsg body = {.ifa_family = subnet.family, .ifa_prefixlen = subnet.prefix, .ifa_index = index};
  message_start(&message);
  message_begin(&message, RTM_NEWADDR, MAKE, &body, sizeof body);
  message_add(&message, IFA_LOCAL, subnet.bytes, subnet.bits / 8);
  message_add(&message, IFA_ADDRESS, subnet.bytes, subnet.bits / 8);
  put_broadcast(&message, &subnet);
  /* Without asking around for a second whether somebody else has it. */
  if (subnet.family == AF_INET6) message_add_number(&message, IFA_FLAGS, IFA_F_NODAD);
  return message_send(run, &message, NETLINK_ROUTE);
}

/* `default` is of the version of the gateway, and of IPv4 without one. */
static int parse_destination(const char *text, const char *via, struct subnet *to) {
  if (strcmp(text, "default") != 0) return parse_subnet(text, to);
  return parse_subnet(strchr(via, ':') != NULL ? "::/0" : "0.0.0.0/0", to);
}

OPERATION(route_add) {
  const char *text, *via, *link;
  u32 index;
  struct subnet to, gateway;
  struct message message;
  int error = text_string(run, &args[0], &text);
  if (error == 0) error = text_string(run, &args[1], &via);
  if (error == 0) error = text_string(run, &args[2], &link);
  if (error == 0) error = parse_destination(text, via, &to);
  if (error == 0 && via[0] != 0) error = parse_subnet(via, &gateway);
  if (error == 0 && via[0] != 0 && (gateway.family != to.family || gateway.prefix != gateway.bits)) error = EINVAL;
  if (error == 0) error = index_of(link, &index);
  if (error != 0) return error;
  const struct rtmsg body = {
      .rtm_family = to.family,
      .rtm_dst_len = to.prefix,
      .rtm_table = RT_TABLE_MAIN,
      .rtm_protocol = RTPROT_BOOT,
      .rtm_scope = via[0] == 0 && to.family == AF_INET ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE,
      .rtm_type = RTN_UNICAST,
  };
  message_start(&message);
  message_begin(&message, RTM_NEWROUTE, MAKE, &body, sizeof body);
  if (to.prefix > 0) message_add(&message, RTA_DST, to.bytes, to.bits / 8);
  if (via[0] != 0) message_add(&message, RTA_GATEWAY, gateway.bytes, gateway.bits / 8);
  message_add_number(&message, RTA_OIF, index);
  return message_send(run, &message, NETLINK_ROUTE);
}
