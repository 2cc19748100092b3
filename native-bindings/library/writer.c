/*
 * A thread that makes regular files: a library for src/layer/, loaded through FFI. TypeScript decides everything and writes what is
 * to be done into batches; here it is done, in that order, while TypeScript reads on. An operation that the kernel refuses stops the
 * thread until TypeScript has looked at it and says how to go on.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "writer.h"

struct writer {
  pthread_t thread;
  pthread_mutex_t mutex;
  pthread_cond_t work;     /* for the thread: there is a batch, or go on, or end */
  pthread_cond_t progress; /* for the caller: a batch is done, or an operation failed */
  struct { const char *bytes; uint32_t length; } batches[WRITER_BATCHES];
  uint64_t given, done; /* batches, ever */
  int failed;           /* errno, while the thread waits for the caller's word */
  bool again;           /* try the operation that failed once more */
  bool ending;
  uint32_t at; /* of the operation in hand, in its batch */
  int fd;      /* of the file in hand, -1 for none */
};

static int write_all(int fd, const char *bytes, uint32_t length)
{
  while (length > 0) {
    ssize_t n = write(fd, bytes, length);
    if (n == -1 && errno == EINTR) continue;
    if (n == -1) return errno;
    bytes += n;
    length -= (uint32_t)n;
  }
  return 0;
}

static int finish(int fd, const struct writer_op *op)
{
  if ((op->what & WRITER_CHOWN) && fchown(fd, op->uid, op->gid) == -1) return errno;
  if ((op->what & WRITER_CHMOD) && fchmod(fd, op->mode) == -1) return errno;
  const struct timespec time = {op->seconds, op->nanoseconds};
  if (futimens(fd, (struct timespec[2]){time, time}) == -1) return errno;
  return 0;
}

/* One operation. Its errno, or 0. */
static int run(struct writer *w, const struct writer_op *op)
{
  const char *tail = (const char *)(op + 1);
  switch (op->kind) {
  case WRITER_CREATE:
    w->fd = openat(op->fd, tail, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, (mode_t)op->mode);
    return w->fd == -1 ? errno : 0;
  case WRITER_WRITE:
    return write_all(w->fd, tail, op->length);
  case WRITER_FINISH: {
    int error = finish(w->fd, op);
    if (error != 0) return error;
    int fd = w->fd;
    w->fd = -1;
    return close(fd) == -1 ? errno : 0;
  }
  case WRITER_CLOSE:
    return close(op->fd) == -1 ? errno : 0;
  default:
    return EINVAL;
  }
}

/* Waits for the caller's word about an operation that failed. Whether to try it once more. */
static bool ask(struct writer *w, int error)
{
  pthread_mutex_lock(&w->mutex);
  w->failed = error;
  w->again = false;
  pthread_cond_signal(&w->progress);
  while (!w->again && !w->ending) pthread_cond_wait(&w->work, &w->mutex);
  w->failed = 0;
  bool again = !w->ending;
  pthread_mutex_unlock(&w->mutex);
  return again;
}

static bool run_batch(struct writer *w, const char *bytes, uint32_t length)
{
  for (w->at = 0; w->at < length;) {
    const struct writer_op *op = (const struct writer_op *)(const void *)(bytes + w->at);
    int error = run(w, op);
    if (error != 0 && ask(w, error)) continue;
    w->at += op->total;
    if (error != 0) return false;
  }
  w->at = 0;
  return true;
}

static void *loop(void *argument)
{
  struct writer *w = argument;
  pthread_mutex_lock(&w->mutex);
  for (;;) {
    while (w->given == w->done && !w->ending) pthread_cond_wait(&w->work, &w->mutex);
    if (w->ending) break;
    const char *bytes = w->batches[w->done % WRITER_BATCHES].bytes;
    uint32_t length = w->batches[w->done % WRITER_BATCHES].length;
    pthread_mutex_unlock(&w->mutex);
    if (!run_batch(w, bytes, length)) return NULL;
    pthread_mutex_lock(&w->mutex);
    w->done++;
    pthread_cond_signal(&w->progress);
  }
  pthread_mutex_unlock(&w->mutex);
  return NULL;
}

struct writer *tsbox_writer_open(void)
{
  struct writer *w = calloc(1, sizeof *w);
  if (w == NULL) return NULL;
  w->fd = -1;
  pthread_mutex_init(&w->mutex, NULL);
  pthread_cond_init(&w->work, NULL);
  pthread_cond_init(&w->progress, NULL);
  /* Signals are for the threads that know what to do with them. */
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int error = pthread_create(&w->thread, NULL, loop, w);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (error == 0) return w;
  free(w);
  errno = error;
  return NULL;
}

/* Until there is room for a batch (`all`: until all are done), or an operation has failed. Returns its errno. */
static int wait_for(struct writer *w, bool all, uint64_t *done, uint32_t *at)
{
  pthread_mutex_lock(&w->mutex);
  uint64_t most = all ? 0 : WRITER_BATCHES - 1;
  while (w->failed == 0 && w->given - w->done > most) pthread_cond_wait(&w->progress, &w->mutex);
  *done = w->done;
  int error = w->failed;
  if (error != 0) *at = w->at;
  pthread_mutex_unlock(&w->mutex);
  return error;
}

int tsbox_writer_room(struct writer *w, uint64_t *done, uint32_t *at)
{
  return wait_for(w, false, done, at);
}

int tsbox_writer_wait(struct writer *w, uint64_t *done, uint32_t *at)
{
  return wait_for(w, true, done, at);
}

void tsbox_writer_give(struct writer *w, const char *bytes, uint32_t length)
{
  pthread_mutex_lock(&w->mutex);
  w->batches[w->given % WRITER_BATCHES].bytes = bytes;
  w->batches[w->given % WRITER_BATCHES].length = length;
  w->given++;
  pthread_cond_signal(&w->work);
  pthread_mutex_unlock(&w->mutex);
}

void tsbox_writer_again(struct writer *w)
{
  pthread_mutex_lock(&w->mutex);
  w->failed = 0;
  w->again = true;
  pthread_cond_signal(&w->work);
  pthread_mutex_unlock(&w->mutex);
}

/* Of what was not begun, only the directories are closed. */
static void close_rest(struct writer *w)
{
  for (; w->done < w->given; w->done++, w->at = 0) {
    const char *bytes = w->batches[w->done % WRITER_BATCHES].bytes;
    while (w->at < w->batches[w->done % WRITER_BATCHES].length) {
      const struct writer_op *op = (const struct writer_op *)(const void *)(bytes + w->at);
      if (op->kind == WRITER_CLOSE) close(op->fd);
      w->at += op->total;
    }
  }
}

void tsbox_writer_close(struct writer *w)
{
  pthread_mutex_lock(&w->mutex);
  w->ending = true;
  pthread_cond_signal(&w->work);
  pthread_mutex_unlock(&w->mutex);
  pthread_join(w->thread, NULL);
  if (w->fd != -1) close(w->fd);
  close_rest(w);
  pthread_cond_destroy(&w->work);
  pthread_cond_destroy(&w->progress);
  pthread_mutex_destroy(&w->mutex);
  free(w);
}
