/* The operation `bind_port`: a port of the host that nobody else gets while the container lives. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "monitor.h"
#include "ops.h"

union address {
  struct sockaddr any;
  struct sockaddr_in four;
  struct sockaddr_in6 six;
};

static int parse(const char *text, i64 port, union address *address, socklen_t *size) {
  bool six = strchr(text, ':') != NULL;
  memset(address, 0, sizeof *address);
  *size = six ? sizeof address->six : sizeof address->four;
  if (port < 1 || port > UINT16_MAX) return EINVAL;
  address->any.sa_family = six ? AF_INET6 : AF_INET;
  *(six ? &address->six.sin6_port : &address->four.sin_port) = htons((u16)port);
  void *bytes = six ? (void *)&address->six.sin6_addr : (void *)&address->four.sin_addr;
  return inet_pton(address->any.sa_family, text, bytes) == 1 ? 0 : EINVAL;
}

static int set(int fd, int level, int option, int value) { return ERRNO_OF(setsockopt(fd, level, option, &value, sizeof value)); }

/* A TCP port whose last connections are still waiting for their end is free for who says so. Once it is ours, nobody else may say so. */
static int bind_to(int fd, bool stream, const union address *address, socklen_t size) {
  int error = ERRNO_OF(bind(fd, &address->any, size));
  if (error != EADDRINUSE || !stream) return error;
  error = set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  if (error == 0) error = ERRNO_OF(bind(fd, &address->any, size));
  set(fd, SOL_SOCKET, SO_REUSEADDR, 0);
  return error;
}

static int keep(struct monitor *monitor, int fd) {
  int *ports = realloc(monitor->ports, (monitor->port_count + 1) * sizeof *ports);
  if (ports == NULL) return ENOMEM;
  ports[monitor->port_count++] = fd;
  monitor->ports = ports;
  return 0;
}

/* It never listens: who comes past the rules is refused at once, and a datagram is not kept. */
OPERATION(bind_port) {
  const char *protocol, *text;
  union address address;
  socklen_t size;
  int error = text_string(run, &args[0], &protocol);
  if (error == 0) error = text_string(run, &args[1], &text);
  if (error == 0) error = parse(text, args[2].number, &address, &size);
  if (error != 0) return error;
  bool stream = strcmp(protocol, "tcp") == 0;
  if (!stream && strcmp(protocol, "udp") != 0) return EPROTONOSUPPORT;
  int fd = socket(address.any.sa_family, (stream ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC, 0);
  if (fd < 0) return errno;
  if (address.any.sa_family == AF_INET6) error = set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
  if (error == 0 && !stream) error = set(fd, SOL_SOCKET, SO_RCVBUF, 0);
  if (error == 0) error = bind_to(fd, stream, &address, size);
  if (error == 0) error = keep(run->monitor, fd);
  if (error != 0) close(fd);
  return error;
}

void ports_release(struct monitor *monitor) {
  for (size_t index = 0; index < monitor->port_count; index++) close(monitor->ports[index]);
  free(monitor->ports);
  monitor->ports = NULL;
  monitor->port_count = 0;
}
