#include "walk.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <string.h>
#include <unistd.h>

int walk_open(int directory, const char *path, int flags, mode_t mode, u64 resolve) {
  struct open_how how = {
      .flags = (u64)(u32)flags | O_CLOEXEC,
      .mode = (flags & O_CREAT) != 0 ? mode & 07777 : 0,
      .resolve = RESOLVE_NO_MAGICLINKS | resolve,
  };
  return (int)syscall(SYS_openat2, directory, path, &how, sizeof how);
}

int walk_parent(const char *path, const char **name) {
  const char *slash = strrchr(path, '/');
  char parent[PATH_MAX];
  if (slash == NULL || slash == path) {
    *name = path;
    return AT_FDCWD;
  }
  size_t length = (size_t)(slash - path);
  if (length >= sizeof parent) {
    errno = ENAMETOOLONG;
    return -1;
  }
  memcpy(parent, path, length);
  parent[length] = 0;
  *name = slash + 1;
  return walk_open(AT_FDCWD, parent, O_PATH | O_DIRECTORY, 0, 0);
}

void walk_close(int directory) {
  if (directory >= 0) close(directory);
}
