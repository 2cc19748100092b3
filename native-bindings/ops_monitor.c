/* What only the monitor has: a lock, a door for clients, a log. */
#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "format.h"
#include "log.h"
#include "monitor.h"
#include "ops.h"

/* Held as long as the monitor lives: the descriptor stays open, and the child closes its copy before anything else. */
OPERATION(flock) {
  const char *path;
  int error = text_string(run, &args[0], &path);
  if (error != 0) return error;
  int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY, 0600);
  if (fd < 0) return errno;
  error = ERRNO_OF(flock(fd, LOCK_EX | LOCK_NB));
  if (error != 0) close(fd);
  else if (run->monitor != NULL) run->monitor->lock = fd;
  return error;
}

/* A socket's address has room for 107 bytes. A longer path goes by a descriptor of its directory, which *directory keeps open. */
static int socket_address(const char *path, struct sockaddr_un *address, int *directory) {
  *address = (struct sockaddr_un){.sun_family = AF_UNIX};
  *directory = -1;
  if (strlen(path) < sizeof address->sun_path) {
    strcpy(address->sun_path, path);
    return 0;
  }
  const char *slash = strrchr(path, '/');
  char parent[PATH_MAX];
  struct out out = out_start(address->sun_path, sizeof address->sun_path);
  if (slash == NULL || strlen(path) >= sizeof parent) return ENAMETOOLONG;
  memcpy(parent, path, (size_t)(slash - path));
  parent[slash - path] = 0;
  *directory = open(parent, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (*directory < 0) return errno;
  put(&out, "/proc/self/fd/");
  put_number(&out, *directory);
  if (strlen(slash) > (size_t)(out.end - out.at)) return ENAMETOOLONG;
  put(&out, slash);
  return 0;
}

static int bind_and_listen(int fd, const struct sockaddr_un *address) {
  struct stat status;
  /* One that nobody listens on any more: the lock says that there is no other monitor. */
  if (lstat(address->sun_path, &status) == 0 && S_ISSOCK(status.st_mode)) unlink(address->sun_path);
  mode_t mask = umask(0177);
  int error = ERRNO_OF(bind(fd, (const struct sockaddr *)address, sizeof *address));
  umask(mask);
  return error != 0 ? error : ERRNO_OF(listen(fd, SOMAXCONN));
}

OPERATION(listen) {
  const char *path;
  struct sockaddr_un address;
  int directory;
  int error = text_string(run, &args[0], &path);
  if (error != 0) return error;
  if (run->monitor->listener >= 0) return EBUSY;
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return errno;
  error = socket_address(path, &address, &directory);
  if (error == 0) error = bind_and_listen(fd, &address);
  if (directory >= 0) close(directory);
  if (error != 0) close(fd);
  else run->monitor->listener = fd;
  return error;
}

OPERATION(log) {
  const char *form;
  struct log_config config = {
      .max_size = args[1].number, .max_files = args[2].number, .compress = args[5].number, .buffer = args[6].number};
  int error = text_string(run, &args[0], &config.path);
  if (error == 0) error = text_string(run, &args[3], &config.attrs);
  if (error == 0) error = text_string(run, &args[4], &form);
  if (error != 0) return error;
  if (strcmp(form, "local") == 0) config.form = LOG_LOCAL;
  else if (strcmp(form, "json-file") == 0) config.form = LOG_JSON_FILE;
  else return EINVAL;
  return log_open(&config);
}
