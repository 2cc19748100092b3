#include "json.h"

#include <string.h>

static bool fail(struct json *json) {
  json->bad = true;
  return false;
}

/* The next byte that is no blank, without taking it; 0 at the end. */
static char peek(struct json *json) {
  while (!json->bad && json->at < json->end && strchr(" \t\r\n", *json->at) != NULL && *json->at != 0) json->at++;
  return json->bad || json->at >= json->end ? 0 : *json->at;
}

static bool take(struct json *json, char expected) {
  if (peek(json) != expected) return fail(json);
  json->at++;
  return true;
}

bool json_enter(struct json *json, char open) { return take(json, open); }

/* Is there more before `close`? Takes the comma, or `close`. */
static bool more(struct json *json, char close) {
  char next = peek(json);
  if (next == close) {
    json->at++;
    return false;
  }
  if (next == ',') json->at++;
  return peek(json) != 0 || fail(json);
}

bool json_item(struct json *json) { return more(json, ']'); }

bool json_key(struct json *json, char **key) { return more(json, '}') && json_text(json, key) && take(json, ':'); }

static int hex(const char *at) {
  int value = 0;
  for (int index = 0; index < 4; index++) {
    char one = at[index];
    int digit = one >= '0' && one <= '9' ? one - '0' : (one | 0x20) >= 'a' && (one | 0x20) <= 'f' ? (one | 0x20) - 'a' + 10 : -1;
    if (digit < 0) return -1;
    value = value << 4 | digit;
  }
  return value;
}

/* Behind a backslash. What is not ASCII is in no name: it becomes a question mark. @returns 0 when it is no escape */
static char unescape(struct json *json) {
  static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
  char one = *json->at++;
  const char *found = one == 0 ? NULL : strchr(from, one);
  if (found != NULL) return to[found - from];
  if (one != 'u' || json->end - json->at < 4) return 0;
  int value = hex(json->at);
  json->at += 4;
  return value <= 0 ? 0 : value < 0x80 ? (char)value : '?';
}

bool json_text(struct json *json, char **text) {
  if (!take(json, '"')) return false;
  char *out = *text = json->at;
  while (json->at < json->end && *json->at != '"') {
    char one = *json->at++;
    if (one == '\\') one = json->at < json->end ? unescape(json) : 0;
    if (one == 0) return fail(json);
    *out++ = one;
  }
  if (json->at >= json->end) return fail(json);
  json->at++;
  *out = 0;
  return true;
}

static void skip_literal(struct json *json) {
  char *start = json->at;
  while (json->at < json->end && strchr(",]} \t\r\n", *json->at) == NULL) json->at++;
  if (json->at == start) fail(json);
}

static void skip_text(struct json *json) {
  char *text;
  json_text(json, &text);
}

/* Brackets are counted, not matched: what is skipped is of no interest. */
void json_skip(struct json *json) {
  int depth = 0;
  do {
    char next = peek(json);
    if (next == 0) fail(json);
    else if (next == '"') skip_text(json);
    else if (next == '{' || next == '[') depth++, json->at++;
    else if (next == '}' || next == ']') depth--, json->at++;
    else if (next == ',' || next == ':') json->at++;
    else skip_literal(json);
  } while (!json->bad && depth > 0);
}
