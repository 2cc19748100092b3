/* zlib's inflate for gzip streams, for src/sys/inflate.ts. */
#ifndef TSBOX_INFLATE_H
#define TSBOX_INFLATE_H

#include <stdint.h>

enum inflate_state {
  INFLATE_MORE = 0, /* the output is full or the input used up */
  INFLATE_END = 1,  /* the end of a gzip member; what was not used is the caller's again */
  INFLATE_BAD = 2,  /* damaged */
};

/* What one call has done. */
struct inflate_result {
  uint32_t used;
  uint32_t made;
  char message[64]; /* what is wrong, for INFLATE_BAD */
};

struct inflater;

/* NULL with errno: ENOSYS when there is no zlib, ENOMEM. */
struct inflater *tsbox_inflate_open(void);
/* Inflates the input from `from` to `to` until it is used up or the output is full. After the end of a member a new one begins.
   Returns an inflate_state. */
int tsbox_inflate(struct inflater *i, const uint8_t *in, uint32_t from, uint32_t to, uint8_t *out, uint32_t size,
                  struct inflate_result *result);
/* From now on all that comes out is added to a digest of OpenSSL's (EVP_MD_CTX). 0, or -1 with errno when there is no OpenSSL. */
int tsbox_inflate_sum(struct inflater *i, void *context);
void tsbox_inflate_close(struct inflater *i);

#endif
