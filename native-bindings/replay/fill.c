/* What differs from one exec to the next is put into the plan. Its bytes are those of src/plan/wire.ts. */
#include <stdlib.h>
#include <string.h>

#include "../monitor.h"
#include "replay.h"

static void fill_in(u8 *bytes, size_t size, const char *old, const char *id) {
  u8 *end = bytes + size;
  for (u8 *at; (at = memmem(bytes, (size_t)(end - bytes), old, ID_DIGITS)) != NULL; bytes = at + ID_DIGITS) memcpy(at, id, ID_DIGITS);
}

void fill_id(struct kept *kept, const char id[ID_DIGITS]) {
  fill_in(kept->plan, kept->plan_size, kept->id, id);
  fill_in((u8 *)kept->event_end, strlen(kept->event_end), kept->id, id);
  memcpy(kept->id, id, ID_DIGITS);
}

static u8 *put_u32(u8 *to, u32 value) {
  memcpy(to, &value, sizeof value);
  return to + sizeof value;
}

u8 *fill_words(const struct kept *kept, char *const *words, bool input, size_t *size) {
  const size_t before = kept->arguments + 1; /* up to the count */
  const u8 *rest = kept->plan + before + sizeof(u32);
  size_t left = kept->plan_size - before - sizeof(u32), added = 0;
  u32 count = 0, step_size;
  for (; words[count] != NULL; count++) added += 1 + sizeof(u32) + strlen(words[count]) + 1;
  u8 *plan = malloc(kept->plan_size + added);
  if (plan == NULL) return NULL;
  memcpy(plan, kept->plan, before);
  u8 *at = put_u32(plan + before, count);
  for (u32 index = 0; index < count; index++) {
    size_t length = strlen(words[index]);
    *at++ = 't';
    at = put_u32(at, (u32)length);
    memcpy(at, words[index], length + 1);
    at += length + 1;
  }
  memcpy(at, rest, left);
  memcpy(&step_size, plan + kept->step, sizeof step_size);
  put_u32(plan + kept->step, step_size + (u32)added);
  i64 mode = input ? STDIN_ONCE : STDIN_NULL;
  memcpy(plan + kept->stdin + 1, &mode, sizeof mode);
  *size = kept->plan_size + added;
  return plan;
}
