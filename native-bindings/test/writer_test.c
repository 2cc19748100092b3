/* The writer: order, a refusal that is cleared away, an end in the middle. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "test.h"
#include "library/writer.h"

static _Alignas(8) char batch[4096];
static uint32_t filled;

static struct writer_op *add(uint32_t kind, const char *tail, uint32_t length) {
  struct writer_op *op = (struct writer_op *)(void *)(batch + filled);
  *op = (struct writer_op){.kind = kind, .total = (uint32_t)sizeof *op + ((length + 7) & ~7u), .length = length};
  if (length > 0) memcpy(op + 1, tail, length);
  filled += op->total;
  return op;
}

static void add_file(int directory, const char *name, const char *text) {
  struct writer_op *op = add(WRITER_CREATE, name, (uint32_t)strlen(name) + 1);
  op->fd = directory;
  op->mode = 0600;
  add(WRITER_WRITE, text, (uint32_t)strlen(text));
  op = add(WRITER_FINISH, "", 0);
  op->what = WRITER_CHMOD;
  op->mode = 0640;
  op->seconds = -5;
  op->nanoseconds = 7;
}

static void check_file(int directory, const char *name, const char *text) {
  char found[64] = {0};
  int fd = openat(directory, name, O_RDONLY | O_CLOEXEC);
  CHECK(fd != -1);
  CHECK(read(fd, found, sizeof found - 1) == (ssize_t)strlen(text) && strcmp(found, text) == 0);
  struct stat status;
  CHECK(fstat(fd, &status) == 0);
  CHECK((status.st_mode & 07777) == 0640 && status.st_mtim.tv_sec == -5 && status.st_mtim.tv_nsec == 7);
  close(fd);
}

int main(void) {
  char path[] = "/tmp/tsbox-writer-XXXXXX";
  CHECK(mkdtemp(path) != NULL);
  int directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  uint64_t done;
  uint32_t at;
  struct writer *w = tsbox_writer_open();
  CHECK(w != NULL);
  CHECK(tsbox_writer_wait(w, &done, &at) == 0 && done == 0);

  add_file(directory, "a", "first");
  add_file(directory, "b", "second");
  CHECK(tsbox_writer_room(w, &done, &at) == 0);
  tsbox_writer_give(w, batch, filled);
  CHECK(tsbox_writer_wait(w, &done, &at) == 0 && done == 1);
  check_file(directory, "a", "first");
  check_file(directory, "b", "second");

  /* What is there is refused, and made once it is cleared away; what follows waits for that. */
  filled = 0;
  add_file(directory, "c", "third");
  uint32_t second = filled;
  add_file(directory, "a", "again");
  add_file(directory, "d", "fourth");
  tsbox_writer_give(w, batch, filled);
  CHECK(tsbox_writer_wait(w, &done, &at) == EEXIST && done == 1 && at == second);
  CHECK(faccessat(directory, "c", F_OK, 0) == 0 && faccessat(directory, "d", F_OK, 0) == -1);
  CHECK(unlinkat(directory, "a", 0) == 0);
  tsbox_writer_again(w);
  CHECK(tsbox_writer_wait(w, &done, &at) == 0 && done == 2);
  check_file(directory, "a", "again");
  check_file(directory, "d", "fourth");

  /* More batches than there is room for. */
  for (int i = 0; i < 3 * WRITER_BATCHES; i++) {
    CHECK(tsbox_writer_room(w, &done, &at) == 0);
    tsbox_writer_give(w, batch, 0);
  }
  CHECK(tsbox_writer_wait(w, &done, &at) == 0 && done == 2 + 3 * WRITER_BATCHES);

  /* An end while an operation is refused, with a file in hand, and directories to be closed. */
  int inBatch = fcntl(directory, F_DUPFD_CLOEXEC, 0);
  int inNext = fcntl(directory, F_DUPFD_CLOEXEC, 0);
  filled = 0;
  add(WRITER_CREATE, "e", 2)->fd = directory;
  add(99, "", 0);
  add(WRITER_CLOSE, "", 0)->fd = inBatch;
  tsbox_writer_give(w, batch, filled);
  uint32_t next = filled;
  add(WRITER_CLOSE, "", 0)->fd = inNext;
  tsbox_writer_give(w, batch + next, filled - next);
  CHECK(tsbox_writer_wait(w, &done, &at) == EINVAL);
  CHECK(fcntl(inBatch, F_GETFD) != -1 && fcntl(inNext, F_GETFD) != -1);
  tsbox_writer_close(w);
  CHECK(fcntl(inBatch, F_GETFD) == -1 && fcntl(inNext, F_GETFD) == -1);
  CHECK(fcntl(directory, F_GETFD) != -1);

  const char *names[] = {"a", "b", "c", "d", "e"};
  for (size_t i = 0; i < 5; i++) CHECK(unlinkat(directory, names[i], 0) == 0);
  CHECK(rmdir(path) == 0);
  puts("ok");
  return 0;
}
