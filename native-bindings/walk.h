/* Paths as an untrusted image or a shared directory has them. A symlink of theirs may lead anywhere in the root, which is theirs; a magic
 * link of /proc (/proc/self/fd/7, /proc/1/root) would lead out of it and is not followed: ELOOP. */
#pragma once

#include "base.h"

/* As openat(2), close-on-exec. -1 and errno. `resolve` is or-ed to RESOLVE_NO_MAGICLINKS. */
int walk_open(int directory, const char *path, int flags, mode_t mode, u64 resolve);

/* The directory of `path`, and where in it the last name begins. AT_FDCWD when there is nothing to walk through. -1 and errno. */
int walk_parent(const char *path, const char **name);
void walk_close(int directory);
