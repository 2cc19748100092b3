/* A log that the container does not wait for: entries go through memory to a process that writes them, and are thrown away when that is
 * full (Docker's mode=non-blocking). */
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "log.h"
#include "monitor.h"

/* Positions only grow; what has been put and not been taken lies between them, modulo size. */
struct ring {
  _Atomic u64 put, taken;
  _Atomic bool asleep; /* the writer waits to be woken */
  u64 size;
  u8 bytes[];
};

enum { LEAST = 2 * (LOG_ENTRY_MAX + sizeof(struct log_entry)) }; /* one entry always has room */

static struct ring *ring; /* NULL: there is none */
static struct log_config config;
static char *path;
static int bell = -1; /* a pipe: a byte wakes the writer, its end ends it */
static pid_t writer;

bool log_ring_is_open(void) { return ring != NULL; }

static void copy_in(u64 at, const void *from, size_t length) {
  size_t place = (size_t)(at % ring->size), first = (size_t)ring->size - place;
  if (first > length) first = length;
  memcpy(ring->bytes + place, from, first);
  memcpy(ring->bytes, (const u8 *)from + first, length - first);
}

static void copy_out(u64 at, void *to, size_t length) {
  size_t place = (size_t)(at % ring->size), first = (size_t)ring->size - place;
  if (first > length) first = length;
  memcpy(to, ring->bytes + place, first);
  memcpy((u8 *)to + first, ring->bytes, length - first);
}

/* Writes all there is. Should this process be ended in the middle, another one begins with the entry that was not taken yet. */
static void write_all(void) {
  static u8 bytes[LOG_ENTRY_MAX];
  struct log_entry entry;
  u64 at = atomic_load(&ring->taken), end = atomic_load(&ring->put);
  while (at < end) {
    copy_out(at, &entry, sizeof entry);
    copy_out(at + sizeof entry, bytes, entry.length);
    log_form_write(&entry, bytes);
    at += sizeof entry + entry.length;
    atomic_store(&ring->taken, at);
  }
  log_file_flush();
}

static _Noreturn void write_entries(int woken) {
  char byte;
  if (log_file_open(&config) != 0) _exit(1);
  for (bool over = false; !over;) {
    write_all();
    atomic_store(&ring->asleep, true);
    if (atomic_load(&ring->put) != atomic_load(&ring->taken)) continue;
    ssize_t got = read(woken, &byte, 1);
    over = got == 0 || (got < 0 && errno != EINTR);
  }
  write_all();
  log_file_close();
  _exit(0);
}

static int start_writer(void) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) < 0) return errno;
  writer = fork();
  if (writer == 0) {
    int keep[] = {ends[0]};
    close_all_but(keep, 1);
    forget_stdio(); /* whoever reads what our caller says is not to wait for us */
    write_entries(ends[0]);
  }
  int error = ERRNO_OF(writer);
  close(ends[0]);
  if (error == 0) error = ERRNO_OF(fcntl(ends[1], F_SETFL, O_NONBLOCK));
  if (error != 0) {
    close(ends[1]);
    writer = 0;
    return error;
  }
  bell = ends[1];
  return 0;
}

static void give_back(void) {
  munmap(ring, sizeof *ring + (size_t)ring->size);
  free(path);
  ring = NULL;
  path = NULL;
}

int log_ring_open(const struct log_config *what) {
  u64 bytes = what->buffer < LEAST ? LEAST : (u64)what->buffer;
  void *memory = mmap(NULL, sizeof *ring + bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return errno;
  ring = memory;
  ring->size = bytes;
  config = *what;
  config.path = path = strdup(what->path);
  log_file_close(); /* it could be opened: the writer opens it for itself */
  int error = path == NULL ? ENOMEM : start_writer();
  if (error != 0) give_back();
  return error;
}

void log_ring_put(const struct log_entry *entry, const u8 *bytes) {
  u64 at = atomic_load(&ring->put), length = sizeof *entry + entry->length;
  if (at + length - atomic_load(&ring->taken) > ring->size) return;
  copy_in(at, entry, sizeof *entry);
  copy_in(at + sizeof *entry, bytes, entry->length);
  atomic_store(&ring->put, at + length);
  if (atomic_exchange(&ring->asleep, false) && write(bell, "", 1) < 0) return; /* EAGAIN: it is being woken */
}

/* Nobody but a fault ends it before its time. */
void log_ring_child_ended(pid_t pid) {
  if (ring == NULL || pid != writer) return;
  close(bell);
  bell = -1;
  writer = 0;
  start_writer();
}

void log_ring_close(void) {
  close(bell);
  if (writer > 0)
    while (waitpid(writer, NULL, 0) < 0 && errno == EINTR) continue;
  give_back();
  writer = 0;
  bell = -1;
}
