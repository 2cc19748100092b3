/* What src/sys/writer.ts gives to the thread that makes files. All numbers in the machine's own order. */
#ifndef TSBOX_WRITER_H
#define TSBOX_WRITER_H

#include <stdint.h>

/* Batches that may be under way at once. A batch stays as it is until it is done. */
#define WRITER_BATCHES 16

enum writer_kind {
  WRITER_CREATE = 1, /* a file in directory `fd` with permissions `mode` as the umask leaves them; its name follows, with a NUL */
  WRITER_WRITE = 2,  /* `length` bytes follow */
  WRITER_FINISH = 3, /* owner and permissions as `what` says, time, close */
  WRITER_CLOSE = 4,  /* closes directory `fd` */
};

enum writer_what { WRITER_CHOWN = 1, WRITER_CHMOD = 2 };

struct writer_op {
  uint32_t kind;
  uint32_t total; /* bytes to the next operation, a multiple of 8 */
  int32_t fd;
  uint32_t length;
  uint32_t what;
  uint32_t mode;
  uint32_t uid;
  uint32_t gid;
  int64_t seconds;
  int64_t nanoseconds;
};

struct writer;

/* NULL with errno when there is no thread to be had. */
struct writer *tsbox_writer_open(void);
/* Waits until there is room for a batch. 0, or the errno of an operation that was refused. `done`: batches that are done, ever;
   `at`: where in the next one the operation stands. */
int tsbox_writer_room(struct writer *w, uint64_t *done, uint32_t *at);
/* As that, but until all batches are done. */
int tsbox_writer_wait(struct writer *w, uint64_t *done, uint32_t *at);
/* Hands over a batch; there must be room. */
void tsbox_writer_give(struct writer *w, const char *bytes, uint32_t length);
/* The operation that was refused is tried once more. */
void tsbox_writer_again(struct writer *w);
/* Ends the thread after the operation in hand. A file that is not finished is closed, and so are the directories that were to be. */
void tsbox_writer_close(struct writer *w);

#endif
