/* Who is called what in the networks of one container, from what its run directory and those of the others say:
 * `<run-root>/<id>/network.json`, `{"endpoints":[Endpoint...]}` of src/spec/network.ts. */
#pragma once

#include "../base.h"

enum { ADDRESSES_MAX = 1024, ID_DIGITS = 64 };

struct addresses {
  size_t count, size; /* of them; of one: 4 or 16 bytes */
  u8 bytes[ADDRESSES_MAX][16];
};

/* @param run_root its descriptor, which is kept @param id of the container whose networks count @returns 0 or an errno */
int names_open(int run_root, const char *id);

/* Reads anew what has changed. To be called before each of the following. */
void names_refresh(void);

/* @param name in lower case @param size 4 or 16 @returns whether there is one of that name, even if it has no such address */
bool names_lookup(const char *name, size_t size, struct addresses *found);

/* The name of who has this address, with that of the network: `web.mine`. @param text has room for `room` bytes */
bool names_reverse(const u8 *address, size_t size, char *text, size_t room);

void names_close(void);
