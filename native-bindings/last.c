/* Lists below a step. `last`: what only the last one of several has to do; each has a symlink in a directory, which leads nowhere when it is
 * gone. `together`: steps of which each needs the one before. */
#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ops.h"

static bool leads_nowhere(int directory, const char *name) {
  struct stat status;
  if (fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISLNK(status.st_mode)) return false;
  return fstatat(directory, name, &status, 0) < 0 && (errno == ENOENT || errno == ENOTDIR);
}

/* Then nobody is left if the directory can be removed. */
static int sweep(const char *path) {
  DIR *directory = opendir(path);
  if (directory == NULL) return errno;
  for (const struct dirent *entry; (entry = readdir(directory)) != NULL;)
    if (leads_nowhere(dirfd(directory), entry->d_name)) unlinkat(dirfd(directory), entry->d_name, 0);
  closedir(directory);
  return ERRNO_OF(rmdir(path));
}

/* A step of it that fails is reported, and then this one, as a list that failed. */
static int run_below(struct run *run, u32 list) {
  struct outcome own = run->outcome;
  u16 op = run->op;
  int error = run_list(run, list);
  if (error != 0) run->on_failure(run, &run->outcome);
  run->outcome = own;
  run->outcome.nested = error != 0;
  run->op = op;
  return error;
}

OPERATION(last) {
  const char *lock, *directory;
  int error = text_string(run, &args[0], &lock);
  if (error == 0) error = text_string(run, &args[1], &directory);
  if (error != 0) return error;
  int fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY, 0600);
  if (fd < 0) return errno;
  do error = ERRNO_OF(flock(fd, LOCK_EX));
  while (error == EINTR);
  if (error == 0) error = sweep(directory);
  if (error == 0) error = run_below(run, (u32)args[2].number);
  else if (error == ENOENT || error == ENOTEMPTY || error == EEXIST) error = 0;
  close(fd);
  return error;
}

OPERATION(together) { return run_below(run, (u32)args[0].number); }
