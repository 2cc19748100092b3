#include "receive.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

int tsbox_receive_descriptor(int socket)
{
  char byte;
  struct iovec data = {.iov_base = &byte, .iov_len = sizeof byte};
  _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))];
  struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  ssize_t got;
  do {
    got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  } while (got == -1 && errno == EINTR);
  if (got == -1) return -1;
  const struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  if (header == NULL || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) {
    errno = ENODATA;
    return -1;
  }
  int fd;
  memcpy(&fd, CMSG_DATA(header), sizeof fd);
  return fd;
}
