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
  fill_in(kept->plain.bytes, kept->plain.size, kept->id, id);
  fill_in(kept->terminal.bytes, kept->terminal.size, kept->id, id);
  fill_in((u8 *)kept->event_end, strlen(kept->event_end), kept->id, id);
  memcpy(kept->id, id, ID_DIGITS);
}

/* Where the next byte goes. */
struct copy {
  u8 *at;
};

static void put_bytes(struct copy *copy, const void *bytes, size_t size) {
  memcpy(copy->at, bytes, size);
  copy->at += size;
}

static void put_kind(struct copy *copy, u8 kind, size_t length) {
  u32 value = (u32)length;
  put_bytes(copy, &kind, sizeof kind);
  put_bytes(copy, &value, sizeof value);
}

static size_t text_size(const char *text) { return 1 + sizeof(u32) + strlen(text) + 1; }

static void put_text(struct copy *copy, const char *text) {
  put_kind(copy, 't', strlen(text));
  put_bytes(copy, text, strlen(text) + 1);
}

static void put_texts(struct copy *copy, const char *const *texts, size_t count) {
  put_kind(copy, 's', count);
  for (size_t index = 0; index < count; index++) put_text(copy, texts[index]);
}

/* In the place of one of the same name, or behind all. */
static size_t set_variable(const char **variables, size_t count, const char *text) {
  size_t name = strcspn(text, "=") + 1, index = 0;
  while (index < count && strncmp(variables[index], text, name) != 0) index++;
  variables[index] = text;
  return index == count ? count + 1 : count;
}

/* The variables of the plan and those that were given, in the order of src/engine/merge.ts. */
static size_t merge_variables(const char **variables, const struct form *form, bool home_last, const struct call *call) {
  const char *text = (const char *)form->bytes + form->variables + 1 + sizeof(u32), *home = NULL;
  size_t count = 0;
  for (u32 index = 0; index < form->count; index++, text += strlen(text) + 1) {
    text += 1 + sizeof(u32);
    if (home_last && index == form->count - 1) home = text;
    else variables[count++] = text;
  }
  for (size_t index = 0; index < call->count; index++) count = set_variable(variables, count, call->variables[index]);
  for (size_t index = 0; home != NULL && index < count; index++)
    if (strncmp(variables[index], "HOME=", 5) == 0) home = NULL;
  if (home != NULL) variables[count++] = home;
  return count;
}

static void grow_step(u8 *step, size_t added) {
  u32 size;
  memcpy(&size, step, sizeof size);
  size += (u32)added;
  memcpy(step, &size, sizeof size);
}

static void put_number_at(u8 *at, i64 value) { memcpy(at + 1, &value, sizeof value); }

/* What has a place of its own size. */
static void fill_last(const struct form *form, const struct call *call) {
  u16 rows, columns;
  u8 *at = form->bytes + form->last;
  if (!call->tty) put_number_at(at, call->input ? STDIN_ONCE : STDIN_NULL);
  else if (!call->detach && window_size(&rows, &columns)) {
    put_number_at(at, rows);
    put_number_at(at + 1 + sizeof(i64), columns);
  }
}

static u8 *assemble(const struct form *form, const struct call *call, const char **variables, size_t count, size_t *size) {
  size_t room = form->size + (call->workdir == NULL ? 0 : text_size(call->workdir)), words = 0;
  for (; call->words[words] != NULL; words++) room += text_size(call->words[words]);
  for (size_t index = 0; index < call->count; index++) room += text_size(call->variables[index]);
  u8 *plan = malloc(room);
  if (plan == NULL) return NULL;
  struct copy copy = {plan};
  put_bytes(&copy, form->bytes, form->path);
  if (call->workdir == NULL) put_bytes(&copy, form->bytes + form->path, form->path_end - form->path);
  else put_text(&copy, call->workdir);
  grow_step(plan + form->chdir, (size_t)(copy.at - plan) - form->path_end);
  put_bytes(&copy, form->bytes + form->path_end, form->words - form->path_end);
  u8 *before = copy.at, *exec = before - (form->words - form->exec);
  put_texts(&copy, (const char *const *)call->words, words);
  put_texts(&copy, variables, count);
  grow_step(exec, (size_t)(copy.at - before) - (form->variables_end - form->words));
  put_bytes(&copy, form->bytes + form->variables_end, form->size - form->variables_end);
  *size = (size_t)(copy.at - plan);
  return plan;
}

u8 *fill_call(const struct kept *kept, const struct call *call, size_t *size) {
  const struct form *form = call->tty ? &kept->terminal : &kept->plain;
  const char **variables = calloc(form->count + call->count + 1, sizeof *variables);
  if (variables == NULL) return NULL;
  size_t count = merge_variables(variables, form, kept->home_last, call);
  fill_last(form, call);
  u8 *plan = assemble(form, call, variables, count, size);
  free(variables);
  return plan;
}
