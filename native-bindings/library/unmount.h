/* A file system's own process is told to end: it takes its mount away, for src/union/main.ts. */
#ifndef TSBOX_UNMOUNT_H
#define TSBOX_UNMOUNT_H

/* From now on SIGTERM, SIGINT and SIGHUP unmount `target` (an absolute path, copied) lazily: what is open stays until it is closed, and
   then /dev/fuse says ENODEV to the loop that reads it. `helper` is the path of fusermount3(1), which does it for who may not, or NULL.
   0, or -1 with errno. */
int tsbox_unmount_when_told(const char *target, const char *helper);

#endif
