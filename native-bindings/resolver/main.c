/* tsbox-resolver: the DNS server at 127.0.0.11 of one container in networks that a user has made.
 *
 *   tsbox-resolver --pid PID --run-root DIRECTORY --id ID [--upstream ADDRESS[,ADDRESS...]] [--no-forward]
 *
 * Started by root in the host's network namespace, before the container's command is executed. It makes its sockets in the network
 * namespace of the process PID and goes into the background: when the command that was started ends with 0, they are there. It ends with
 * that process. Names are those of `<DIRECTORY>/<container>/network.json`; everything else is asked from the addresses, in their order,
 * from the host's network namespace, or from nobody with --no-forward.
 *
 * A container that wants to serve DNS itself finds port 53 of 127.0.0.11 taken: a server may bind each address of its own, or all of them
 * with SO_REUSEADDR (UDP) and SO_REUSEPORT (TCP). */
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "names.h"
#include "resolver.h"

enum { PORT = 53, BACKLOG = 16, FILES = 256 };
static const char ADDRESS[] = "127.0.0.11";

struct upstream upstreams[UPSTREAMS_MAX];
size_t upstream_count;

struct options {
  const char *run_root, *id, *upstream;
  pid_t pid;
  bool forward;
};

i64 now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * (i64)1000 + now.tv_nsec / 1000000;
}

u16 random_id(void) {
  u16 id = 0;
  if (getrandom(&id, sizeof id, 0) < 0) return (u16)now_ms();
  return id;
}

static void say(const char *text) {
  if (write(STDERR_FILENO, text, strlen(text)) < 0) return;
}

static _Noreturn void give_up(const char *what, int error) {
  say("tsbox-resolver: ");
  say(what);
  if (error != 0) {
    say(": ");
    say(strerror(error));
  }
  say("\n");
  _exit(1);
}

static int checked(int result, const char *what) {
  if (result < 0) give_up(what, errno);
  return result;
}

static const char USAGE[] = "usage: tsbox-resolver --pid PID --run-root DIRECTORY --id ID [--upstream ADDRESS,...] [--no-forward]";

static struct options read_options(char **argv) {
  struct options options = {.upstream = "", .forward = true};
  for (char **at = argv + 1; *at != NULL; at++) {
    if (strcmp(*at, "--no-forward") == 0) {
      options.forward = false;
      continue;
    }
    const char *name = *at, *value = *++at;
    if (value == NULL) give_up(USAGE, 0);
    if (strcmp(name, "--pid") == 0) options.pid = atoi(value);
    else if (strcmp(name, "--run-root") == 0) options.run_root = value;
    else if (strcmp(name, "--id") == 0) options.id = value;
    else if (strcmp(name, "--upstream") == 0) options.upstream = value;
    else give_up(USAGE, 0);
  }
  if (options.pid <= 0 || options.run_root == NULL || options.id == NULL) give_up(USAGE, 0);
  return options;
}

/* `10.0.0.1`, `2001:db8::1`, `fe80::1%eth0` */
static bool read_upstream(char *text, struct upstream *upstream) {
  struct sockaddr_in *v4 = (struct sockaddr_in *)&upstream->address;
  struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&upstream->address;
  if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(PORT);
    upstream->size = sizeof *v4;
    return true;
  }
  char *zone = strchr(text, '%');
  if (zone != NULL) {
    *zone = 0;
    v6->sin6_scope_id = if_nametoindex(zone + 1);
  }
  v6->sin6_family = AF_INET6;
  v6->sin6_port = htons(PORT);
  upstream->size = sizeof *v6;
  return inet_pton(AF_INET6, text, &v6->sin6_addr) == 1;
}

static void read_upstreams(const char *list) {
  char text[INET6_ADDRSTRLEN + IF_NAMESIZE + 1];
  for (const char *at = list; *at != 0 && upstream_count < UPSTREAMS_MAX;) {
    size_t size = strcspn(at, ",");
    if (size >= sizeof text) give_up("an upstream is no address", 0);
    memcpy(text, at, size);
    text[size] = 0;
    if (!read_upstream(text, &upstreams[upstream_count++])) give_up("an upstream is no address", 0);
    at += size + (at[size] == ',');
  }
}

static void bring_up_loopback(void) {
  struct ifreq request = {.ifr_name = "lo"};
  int fd = checked(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), "socket");
  checked(ioctl(fd, SIOCGIFFLAGS, &request), "ask for the flags of lo");
  request.ifr_flags |= IFF_UP;
  checked(ioctl(fd, SIOCSIFFLAGS, &request), "set lo up");
  close(fd);
}

static int listen_at(int type) {
  const int on = 1;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(PORT)};
  inet_pton(AF_INET, ADDRESS, &address.sin_addr);
  int fd = checked(socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), "socket");
  checked(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), "set SO_REUSEADDR");
  checked(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on), "set SO_REUSEPORT");
  checked(bind(fd, (const struct sockaddr *)&address, sizeof address), "bind 127.0.0.11:53");
  if (type == SOCK_STREAM) checked(listen(fd, BACKLOG), "listen at 127.0.0.11:53");
  return fd;
}

/* A socket belongs to the namespace that it was made in, whoever uses it. */
static void make_sockets(pid_t pid, int *datagrams, int *streams) {
  char path[32] = "/proc/";
  size_t length = strlen(path);
  char digits[12];
  size_t count = 0;
  for (pid_t rest = pid; rest > 0; rest /= 10) digits[count++] = (char)('0' + rest % 10);
  while (count > 0) path[length++] = digits[--count];
  memcpy(path + length, "/ns/net", sizeof "/ns/net");
  int own = checked(open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), "open the own network namespace");
  int other = checked(open(path, O_RDONLY | O_CLOEXEC), "open the container's network namespace");
  checked(setns(other, CLONE_NEWNET), "join the container's network namespace");
  bring_up_loopback();
  *datagrams = listen_at(SOCK_DGRAM);
  *streams = listen_at(SOCK_STREAM);
  checked(setns(own, CLONE_NEWNET), "join the own network namespace");
  close(own);
  close(other);
}

/* Nothing of root's is left but the ownership of the files that it reads. */
static void drop_rights(void) {
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct none[2] = {{0}, {0}};
  checked(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "set no_new_privs");
  checked((int)syscall(SYS_capset, &header, none), "drop the capabilities");
  checked(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0), "forbid core dumps");
}

static void let_go_of_streams(void) {
  int null = checked(open("/dev/null", O_RDWR | O_CLOEXEC), "open /dev/null");
  for (int fd = 0; fd <= 2; fd++) dup2(null, fd);
  if (null > 2) close(null);
}

/* As low as they go, so that what was inherited can be closed from there on. */
static int moved(int fd, int place) {
  if (fd == place) return fd;
  checked(dup3(fd, place, O_CLOEXEC), "move a descriptor");
  close(fd);
  return place;
}

static _Noreturn void serve(int process, int datagrams, int streams) {
  static struct pollfd polls[POLLS_MAX];
  for (;;) {
    i64 deadline = INT64_MAX;
    polls[0] = (struct pollfd){process, POLLIN, 0};
    size_t first = 1 + datagrams_poll(datagrams, polls + 1, &deadline);
    size_t count = first + streams_poll(streams, polls + first, &deadline);
    i64 wait = deadline == INT64_MAX ? -1 : deadline - now_ms();
    int ready = poll(polls, count, deadline == INT64_MAX ? -1 : wait < 0 ? 0 : (int)wait);
    if (ready < 0) continue;
    if (polls[0].revents != 0) _exit(0);
    i64 now = now_ms();
    datagrams_serve(datagrams, polls + 1, now);
    streams_serve(streams, polls + first, now);
  }
}

int main(int argc, char **argv) {
  int datagrams, streams;
  (void)argc;
  struct options options = read_options(argv);
  if (options.forward) read_upstreams(options.upstream);
  int process = checked((int)syscall(SYS_pidfd_open, options.pid, 0), "find the container's process");
  int root = checked(open(options.run_root, O_RDONLY | O_DIRECTORY | O_CLOEXEC), "open the run root");
  make_sockets(options.pid, &datagrams, &streams);
  struct rlimit files = {FILES, FILES};
  setrlimit(RLIMIT_NOFILE, &files);
  checked(chdir("/"), "change to /");
  pid_t pid = checked(fork(), "fork");
  if (pid > 0) _exit(0);
  setsid();
  /* Moved up first: none of them is where another one goes, not even where a stream is that the caller did not have. */
  int high[] = {fcntl(process, F_DUPFD_CLOEXEC, 100), fcntl(root, F_DUPFD_CLOEXEC, 100), fcntl(datagrams, F_DUPFD_CLOEXEC, 100),
                fcntl(streams, F_DUPFD_CLOEXEC, 100)};
  let_go_of_streams();
  for (int index = 0; index < 4; index++) moved(high[index], 3 + index);
  syscall(SYS_close_range, 7, ~0U, 0);
  drop_rights();
  int error = names_open(4, options.id);
  if (error != 0) give_up("read the run root", error);
  serve(3, 5, 6);
}
