/* Removing a directory with all that is in it, by descriptors: a symbolic link is removed and never followed, a mount point
 * ends it with EBUSY before anything below it is touched, and the depth does not matter because only one directory is open.
 *
 * The way up is `..`. Somebody may move a directory meanwhile, so the inode numbers of the way down are kept and compared. */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ops.h"

struct entry {
  u64 inode;
  i64 offset;
  u16 size;
  u8 type;
  char name[];
};

/* Inodes of the directories above the open one. */
struct way {
  u64 *inodes;
  size_t depth;
  size_t capacity;
};

static int open_directory(int parent, const char *name) {
  struct open_how how = {
      .flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
      .resolve = RESOLVE_NO_XDEV, /* a bind mount of the same file system has the same device number, so comparing is not enough */
  };
  return (int)syscall(SYS_openat2, parent, name, &how, sizeof how);
}

static int inode_of(int directory, u64 *inode) {
  struct stat status;
  if (fstat(directory, &status) < 0) return errno;
  *inode = status.st_ino;
  return 0;
}

static int remember(struct way *way, u64 inode) {
  if (way->depth == way->capacity) {
    size_t capacity = way->capacity == 0 ? 512 : way->capacity * 2;
    void *inodes = way->capacity == 0
                       ? mmap(NULL, capacity * 8, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
                       : mremap(way->inodes, way->capacity * 8, capacity * 8, MREMAP_MAYMOVE);
    if (inodes == MAP_FAILED) return ENOMEM;
    way->inodes = inodes;
    way->capacity = capacity;
  }
  way->inodes[way->depth++] = inode;
  return 0;
}

/* Puts `next` in the place of the open directory. */
static int enter(int *directory, int next) {
  if (next < 0) return errno == EXDEV ? EBUSY : errno;
  close(*directory);
  *directory = next;
  return 0;
}

static int go_down(int *directory, const char *name, struct way *way) {
  u64 inode = 0;
  int error = inode_of(*directory, &inode);
  if (error == 0) error = remember(way, inode);
  return error != 0 ? error : enter(directory, open_directory(*directory, name));
}

static int go_up(int *directory, struct way *way) {
  u64 inode = 0;
  int error = enter(directory, open_directory(*directory, ".."));
  if (error == 0) error = inode_of(*directory, &inode);
  if (error != 0) return error;
  return inode == way->inodes[--way->depth] ? 0 : ESTALE;
}

/* Removes what an entry names unless it is a directory with something in it: then ENOTEMPTY. */
static int remove_entry(int directory, const struct entry *entry) {
  if (entry->type != DT_DIR) {
    if (unlinkat(directory, entry->name, 0) == 0 || errno == ENOENT) return 0;
    if (errno != EISDIR && !(errno == EPERM && entry->type == DT_UNKNOWN)) return errno;
  }
  if (unlinkat(directory, entry->name, AT_REMOVEDIR) == 0 || errno == ENOENT) return 0;
  return errno == EEXIST ? ENOTEMPTY : errno;
}

static bool is_dot(const char *name) {
  return name[0] == '.' && (name[1] == 0 || (name[1] == '.' && name[2] == 0));
}

enum scan { SCAN_EMPTY, SCAN_AGAIN, SCAN_DOWN };

/* Goes through the entries of the open directory from its beginning, down into the first one that has something in it. */
static int scan(int *directory, struct way *way, enum scan *result) {
  _Alignas(struct entry) char buffer[16384];
  *result = SCAN_EMPTY;
  if (lseek(*directory, 0, SEEK_SET) < 0) return errno;
  for (;;) {
    long got = syscall(SYS_getdents64, *directory, buffer, sizeof buffer);
    if (got <= 0) return ERRNO_OF(got);
    for (long at = 0; at < got;) {
      const struct entry *entry = (const void *)(buffer + at);
      at += entry->size;
      if (is_dot(entry->name)) continue;
      int error = remove_entry(*directory, entry);
      *result = SCAN_AGAIN; /* some file systems skip entries when others vanish meanwhile */
      if (error == ENOTEMPTY) {
        *result = SCAN_DOWN;
        return go_down(directory, entry->name, way);
      }
      if (error != 0) return error;
    }
  }
}

/* Empties the open directory and all below it. */
static int empty(int *directory, struct way *way) {
  for (;;) {
    enum scan result;
    int error = scan(directory, way, &result);
    if (error != 0) return error;
    if (result != SCAN_EMPTY) continue;
    if (way->depth == 0) return 0;
    error = go_up(directory, way); /* whose next scan removes the directory that is empty now */
    if (error != 0) return error;
  }
}

static int remove_in(int parent, const char *name) {
  struct way way = {0};
  if (unlinkat(parent, name, 0) == 0) return 0;
  if (errno != EISDIR && errno != EPERM) return errno;
  if (unlinkat(parent, name, AT_REMOVEDIR) == 0) return 0;
  if (errno != ENOTEMPTY && errno != EEXIST) return errno;
  int directory = open_directory(parent, name);
  if (directory < 0) return errno == EXDEV ? EBUSY : errno;
  int error = empty(&directory, &way);
  close(directory);
  if (way.capacity > 0) munmap(way.inodes, way.capacity * 8);
  return error != 0 ? error : ERRNO_OF(unlinkat(parent, name, AT_REMOVEDIR));
}

OPERATION(remove_tree) {
  const char *path;
  char copy[PATH_MAX];
  int error = text_string(run, &args[0], &path);
  if (error != 0) return error;
  size_t length = strlen(path);
  if (length >= sizeof copy) return ENAMETOOLONG;
  while (length > 1 && path[length - 1] == '/') length--;
  memcpy(copy, path, length);
  copy[length] = 0;
  char *slash = strrchr(copy, '/');
  const char *name = slash == NULL ? copy : slash + 1;
  const char *parent = slash == NULL ? "." : slash == copy ? "/" : copy;
  if (slash != NULL) *slash = 0;
  if (name[0] == 0) return length == 0 ? ENOENT : EBUSY; /* nothing, or the root */
  if (is_dot(name)) return EINVAL;
  int fd = open(parent, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return errno;
  error = remove_in(fd, name);
  close(fd);
  return error;
}
