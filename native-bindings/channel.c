/* The child's side of the channel, and the steps that are nothing but a message. */
#include "channel.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ops.h"

enum { EXIT_START = 125, EXIT_NOT_EXECUTABLE = 126, EXIT_NOT_FOUND = 127 };

static struct packet packet_of(const struct run *run, char kind) {
  return (struct packet){.kind = kind, .ns = now_ns(), .outcome = {.list = run->outcome.list, .index = run->outcome.index}};
}

/* write(2) and not send(2): a seccomp filter may be in force already, and programs that may not write are rare. */
static int tell(const struct run *run, const struct packet *packet) {
  ssize_t written;
  do written = write(run->channel, packet, sizeof *packet);
  while (written < 0 && errno == EINTR);
  return ERRNO_OF(written);
}

/* Sends a question and waits for its answer, one number. */
static int ask(const struct run *run, const struct packet *packet, i32 *answer) {
  int error = tell(run, packet);
  if (error != 0) return error;
  ssize_t got;
  do got = read(run->channel, answer, sizeof *answer);
  while (got < 0 && errno == EINTR);
  if (got < 0) return errno == ECONNRESET ? EPIPE : errno;
  return got == sizeof *answer ? 0 : EPIPE;
}

int channel_tell(const struct run *run, char kind) {
  struct packet packet = packet_of(run, kind);
  return tell(run, &packet);
}

int channel_ask_pid(struct run *run) {
  struct packet packet = packet_of(run, 'Q');
  i32 pid;
  int error = ask(run, &packet, &pid);
  if (error == 0) run->pid = pid;
  return error;
}

int channel_send_fd(const struct run *run, int fd) {
  struct packet packet = packet_of(run, 'T');
  struct iovec data = {.iov_base = &packet, .iov_len = sizeof packet};
  _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof fd)];
  memset(control, 0, sizeof control);
  struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof fd);
  memcpy(CMSG_DATA(header), &fd, sizeof fd);
  return ERRNO_OF(sendmsg(run->channel, &message, MSG_NOSIGNAL));
}

/* The monitor runs a list that needs to be outside of the namespaces or privileged there. */
OPERATION(outside) {
  struct packet packet = packet_of(run, 'O');
  i32 answer;
  packet.outcome.list = (u32)args[0].number;
  int error = ask(run, &packet, &answer);
  if (error != 0) return error;
  run->outcome.nested = answer != 0;
  return answer;
}

OPERATION(wait) {
  struct packet packet = packet_of(run, 'W');
  const char *name;
  i32 answer;
  int error = text_string(run, &args[0], &name);
  if (error != 0) return error;
  if (strlen(name) >= sizeof packet.outcome.detail) return ENAMETOOLONG;
  strcpy(packet.outcome.detail, name);
  error = ask(run, &packet, &answer);
  return error != 0 ? error : answer;
}

/* Without a monitor there is nobody to hear that there is none. */
static void tell_step(struct run *run, const struct outcome *outcome, u64 ns) {
  struct packet packet = {.kind = 'S', .ns = ns, .outcome = *outcome};
  tell(run, &packet);
}

void child_main(struct run *run, u32 list) {
  run->on_step = tell_step;
  int error = run_list(run, list);
  struct packet packet = {.kind = 'E', .outcome = run->outcome};
  packet.outcome.error = error;
  if (error == 0) strcpy(packet.outcome.detail, "the list ends without exec");
  tell(run, &packet);
  if (error == 0 || run->op != OP_EXEC) _exit(EXIT_START);
  _exit(error == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE);
}
