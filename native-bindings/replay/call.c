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

/* One without a value is the caller's own, or none; an empty HOME is the user's. */
static bool take_variable(struct call *call, const char *text) {
  const char *equals = strchr(text, '=');
  if (equals == NULL || equals == text || call->count == VARIABLES_MOST || !is_text(text) || strcmp(text, "HOME=") == 0) return false;
  call->variables[call->count++] = text;
  return true;
}

static bool take_workdir(struct call *call, const char *path) {
  call->workdir = path;
  return path[0] == '/' && is_text(path);
}

static bool take_user(struct call *call, const char *user) {
  call->user = user;
  return user[0] != 0 && is_text(user);
}

static char letter_of(const char *word) {
  static const struct {
    const char *word;
    char letter;
  } known[] = {{"--interactive", 'i'}, {"--detach", 'd'}, {"--tty", 't'}, {"--env", 'e'}, {"--user", 'u'}, {"--workdir", 'w'}};
  for (size_t index = 0; index < sizeof known / sizeof *known; index++)
    if (strcmp(word, known[index].word) == 0) return known[index].letter;
  return 0;
}

/* `rest`: letters behind this one, which would be its value. */
static bool read_letter(struct call *call, char letter, const char *rest, char ***words) {
  if (letter == 'i') call->input = true;
  else if (letter == 'd') call->detach = true;
  else if (letter == 't') call->tty = true;
  else if (letter != 0 && strchr("euw", letter) != NULL && rest[0] == 0 && (*words)[1] != NULL) {
    const char *text = *++*words;
    return letter == 'e' ? take_variable(call, text) : letter == 'u' ? take_user(call, text) : take_workdir(call, text);
  } else return false;
  return true;
}

/* The flags of one word; `words` is led to the last one that belongs to it. */
static bool read_flag(struct call *call, char ***words) {
  const char *word = **words;
  if (word[1] == '-') return read_letter(call, letter_of(word), "", words);
  for (word++; *word != 0; word++)
    if (!read_letter(call, *word, word + 1, words)) return false;
  return true;
}

bool call_parse(struct call *call, char **words) {
  *call = (struct call){.all = words, .user = ""};
  for (; *words != NULL && (*words)[0] == '-' && (*words)[1] != 0; words++)
    if (!read_flag(call, &words)) return false;
  if (words[0] == NULL || words[1] == NULL) return false;
  call->container = *words++;
  call->words = words;
  for (; *words != NULL; words++)
    if (!is_text(*words)) return false;
  return true;
}
