/* The command line, and what can be done about it here. */
#include <string.h>

#include "../format.h"
#include "replay.h"

/* What JSON has no way to say reaches the journal changed. Node changes it for the command too, in another way. */
static bool is_text(const char *word) {
  char escaped[ESCAPE_MAX * 256];
  bool lost = false;
  for (const u8 *at = (const u8 *)word; *at != 0;) {
    size_t size = strnlen((const char *)at, 256), back = utf8_cut(at, size);
    if (at[size] != 0 && back < size) size -= back;
    json_escape(escaped, at, size, &lost);
    at += size;
  }
  return !lost;
}

static bool read_flag(struct call *call, const char *word) {
  if (strcmp(word, "--interactive") == 0) call->input = true;
  else if (strcmp(word, "--detach") == 0) call->detach = true;
  else if (word[1] == '-') return false;
  else
    for (word++; *word != 0; word++) {
      if (*word == 'i') call->input = true;
      else if (*word == 'd') call->detach = true;
      else return false;
    }
  return true;
}

bool call_parse(struct call *call, char **words) {
  *call = (struct call){0};
  for (; *words != NULL && (*words)[0] == '-' && (*words)[1] != 0; words++)
    if (!read_flag(call, *words)) return false;
  if (words[0] == NULL || words[1] == NULL) return false;
  call->container = *words++;
  call->words = words;
  for (; *words != NULL; words++)
    if (!is_text(*words)) return false;
  return true;
}
