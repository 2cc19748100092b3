/*
 * The zlib is the one that Node has in itself and shows to libraries, else the system's. So there is no header of it to build with, and
 * the stream is spelled out here: it is the same in every zlib 1.
 */
#include "inflate.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct z_stream {
  const uint8_t *next_in;
  unsigned avail_in;
  unsigned long total_in;
  uint8_t *next_out;
  unsigned avail_out;
  unsigned long total_out;
  const char *msg;
  void *state;
  void *(*zalloc)(void *, unsigned, unsigned);
  void (*zfree)(void *, void *);
  void *opaque;
  int data_type;
  unsigned long adler;
  unsigned long reserved;
};

enum { Z_NO_FLUSH = 0, Z_OK = 0, Z_STREAM_END = 1, Z_BUF_ERROR = -5, GZIP_ONLY = 15 + 16 };

struct zlib {
  int (*init)(struct z_stream *, int bits, const char *version, int size);
  int (*inflate)(struct z_stream *, int flush);
  int (*reset)(struct z_stream *);
  int (*end)(struct z_stream *);
};

struct inflater {
  struct zlib zlib;
  struct z_stream stream;
  void *digest; /* NULL: none is wanted */
  int (*update)(void *digest, const void *bytes, size_t length);
};

static int find(void *function, const char *name)
{
  static void *system_zlib;
  void *symbol = dlsym(RTLD_DEFAULT, name);
  if (symbol == NULL && system_zlib == NULL) system_zlib = dlopen("libz.so.1", RTLD_NOW);
  if (symbol == NULL && system_zlib != NULL) symbol = dlsym(system_zlib, name);
  memcpy(function, &symbol, sizeof symbol);
  return symbol != NULL;
}

struct inflater *tsbox_inflate_open(void)
{
  struct inflater *i = calloc(1, sizeof *i);
  if (i == NULL) return NULL;
  struct zlib *z = &i->zlib;
  int there = find(&z->init, "inflateInit2_") && find(&z->inflate, "inflate") && find(&z->reset, "inflateReset") &&
              find(&z->end, "inflateEnd");
  int error = !there ? ENOSYS : z->init(&i->stream, GZIP_ONLY, "1", sizeof i->stream) != Z_OK ? ENOMEM : 0;
  if (error == 0) return i;
  free(i);
  errno = error;
  return NULL;
}

int tsbox_inflate_sum(struct inflater *i, void *context)
{
  if (!find(&i->update, "EVP_DigestUpdate")) {
    errno = ENOSYS;
    return -1;
  }
  i->digest = context;
  return 0;
}

int tsbox_inflate(struct inflater *i, const uint8_t *in, uint32_t from, uint32_t to, uint8_t *out, uint32_t size,
                  struct inflate_result *result)
{
  struct z_stream *s = &i->stream;
  s->next_in = in + from;
  s->avail_in = to - from;
  s->next_out = out;
  s->avail_out = size;
  int code = i->zlib.inflate(s, Z_NO_FLUSH);
  result->used = to - from - s->avail_in;
  result->made = size - s->avail_out;
  bool summed = i->digest == NULL || i->update(i->digest, out, result->made) == 1;
  if (code == Z_STREAM_END) i->zlib.reset(s);
  if (summed && code == Z_STREAM_END) return INFLATE_END;
  if (summed && (code == Z_OK || code == Z_BUF_ERROR)) return INFLATE_MORE;
  const char *message = !summed ? "no digest of it" : s->msg != NULL ? s->msg : "damaged";
  size_t length = strnlen(message, sizeof result->message - 1);
  memcpy(result->message, message, length);
  result->message[length] = 0;
  return INFLATE_BAD;
}

void tsbox_inflate_close(struct inflater *i)
{
  i->zlib.end(&i->stream);
  free(i);
}
