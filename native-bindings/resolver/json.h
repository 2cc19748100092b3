/* Reads JSON where it stands: texts are decoded in their place, for they only get shorter. */
#pragma once

#include "../base.h"

struct json {
  char *at, *end;
  /* What was read is no JSON, or not what was asked for: everything that follows says no. */
  bool bad;
};

/* Goes into an object ('{') or an array ('['). */
bool json_enter(struct json *json, char open);
/* The next member's name, or an end: false. */
bool json_key(struct json *json, char **key);
/* Is there one more item? */
bool json_item(struct json *json);
bool json_text(struct json *json, char **text);
void json_skip(struct json *json);
