/* The kept plan of an exec: what call_parse and kept_parse let pass must be whole, whatever is damaged, and what is filled in must be a plan
 * again. The argument is the number of thousands of mutations. */
#include <unistd.h>

#include "ops.h"
#include "replay/replay.h"
#include "test.h"

static const char id[] = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
static const char other[] = "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100";

struct writer {
  u8 bytes[4096];
  size_t length;
};

static void raw(struct writer *writer, const void *bytes, size_t length) {
  CHECK(writer->length + length <= sizeof writer->bytes);
  memcpy(writer->bytes + writer->length, bytes, length);
  writer->length += length;
}

static void number(struct writer *writer, u64 value, size_t size) { raw(writer, &value, size); }

static size_t step(struct writer *writer, u16 op) {
  size_t start = writer->length;
  number(writer, 0, 4);
  number(writer, op, 2);
  number(writer, strlen(op_by_number(op)->letters), 1);
  number(writer, 0, 1);
  return start;
}

static void end_step(struct writer *writer, size_t start) {
  u32 size = (u32)(writer->length - start - 4);
  memcpy(writer->bytes + start, &size, 4);
}

static u16 number_of(const char *name) {
  for (u16 op = 1; op_by_number(op) != NULL; op++)
    if (strcmp(op_by_number(op)->name, name) == 0) return op;
  CHECK(false);
  return 0;
}

/* stdio and spawn; nothing at the end; exec with a variable that has the id in it. */
static void write_plan(struct writer *writer, size_t places[3]) {
  raw(writer, "TSBXPLAN", 8);
  number(writer, PLAN_VERSION, 4);
  number(writer, 0, 4);
  number(writer, 3, 4);
  number(writer, 2, 4);
  size_t at = step(writer, number_of("stdio"));
  places[2] = writer->length;
  number(writer, 'i', 1);
  number(writer, 0, 8);
  end_step(writer, at);
  at = step(writer, OP_SPAWN);
  number(writer, 'l', 1);
  number(writer, 2, 4);
  end_step(writer, at);
  number(writer, 0, 4);
  number(writer, 1, 4);
  places[0] = at = step(writer, OP_EXEC);
  places[1] = writer->length;
  number(writer, 's', 1);
  number(writer, 0, 4);
  number(writer, 's', 1);
  number(writer, 1, 4);
  number(writer, 't', 1);
  number(writer, ID_DIGITS, 4);
  raw(writer, id, ID_DIGITS + 1);
  end_step(writer, at);
}

static void write_file(struct writer *file) {
  static struct writer plan;
  char head[2048];
  size_t places[3];
  plan.length = file->length = 0;
  write_plan(&plan, places);
  int length = snprintf(head, sizeof head,
                        "TSBXEXEC 1\ncontainer %s\nname one\nid %s\nplaces %zu %zu %zu\nexecutor /bin/false\nevents /tmp/events\n"
                        "event {\"action\":\"\nevent \",\"execID\":\"%s\",\"time\":\"\nbounding 0\nabsent /no such/file\n"
                        "link none /proc/self/exe\nplan %zu\n",
                        other, id, places[0], places[1], places[2], id, plan.length);
  CHECK(length > 0 && (size_t)length < sizeof head);
  raw(file, head, (size_t)length);
  raw(file, plan.bytes, plan.length);
}

static bool begins(struct reader *reader, const char *word) {
  struct arg text;
  plan_text(reader, &text);
  return !reader->bad && text.count == strlen(word) && memcmp(text.bytes, word, text.count) == 0;
}

static void whole(const struct writer *file) {
  char *words[] = {(char[]){"sh"}, (char[]){""}, (char[]){"a b"}, NULL};
  struct kept kept;
  struct plan plan;
  struct plan_fault fault;
  struct step exec;
  size_t size;
  u32 steps;
  char *bytes = (char *)exact(file->bytes, file->length);
  CHECK(kept_parse(&kept, bytes, file->length));
  CHECK(strcmp(kept.name, "one") == 0 && strcmp(kept.executor, "/bin/false") == 0 && strcmp(kept.container, other) == 0);
  CHECK(!facts_hold(&kept));
  fill_id(&kept, other);
  CHECK(strstr(kept.event_end, other) != NULL && strstr(kept.event_end, id) == NULL);
  u8 *filled = fill_words(&kept, words, true, &size);
  CHECK(filled != NULL && plan_check(&plan, filled, size, &fault));
  struct reader reader = plan_list(&plan, 0, &steps);
  plan_step(&reader, &exec);
  CHECK(exec.arg[0].number == 2);
  reader = plan_list(&plan, 2, &steps);
  plan_step(&reader, &exec);
  CHECK(exec.arg[0].count == 3 && exec.arg[1].count == 1);
  reader.at = exec.arg[0].bytes;
  for (int index = 0; index < 3; index++) CHECK(begins(&reader, words[index]));
  reader.at = exec.arg[1].bytes;
  CHECK(begins(&reader, other));
  free(filled);
  free(bytes);
}

static u64 seed = 88172645463325252;

static u32 random_below(u32 limit) {
  seed ^= seed << 13;
  seed ^= seed >> 7;
  seed ^= seed << 17;
  return (u32)((seed >> 16) % limit);
}

/* What is parsed is used as it would be. */
static bool use(const u8 *from, size_t length) {
  char *words[] = {(char[]){"true"}, NULL};
  struct kept kept;
  size_t size;
  char *bytes = (char *)exact(from, length);
  bool parsed = kept_parse(&kept, bytes, length);
  if (parsed) {
    facts_hold(&kept);
    fill_id(&kept, other);
    u8 *plan = fill_words(&kept, words, false, &size);
    CHECK(plan != NULL && size > kept.plan_size && strlen(kept.event) + strlen(kept.event_end) < length);
    free(plan);
  }
  free(bytes);
  return parsed;
}

static void damaged(const struct writer *file, int thousands) {
  u8 bytes[sizeof file->bytes];
  size_t passed = 0;
  for (size_t length = 0; length < file->length; length++) CHECK(!use(file->bytes, length));
  for (int round = 0; round < thousands * 1000; round++) {
    memcpy(bytes, file->bytes, file->length);
    for (u32 change = 0; change <= random_below(3); change++) {
      static const char telling[] = "\0\n 09s:/";
      size_t at = random_below((u32)file->length);
      bytes[at] = random_below(2) == 0 ? (u8)random_below(256) : (u8)telling[random_below(sizeof telling)];
    }
    passed += use(bytes, file->length) ? 1 : 0;
  }
  CHECK(passed > 0 || thousands == 0);
}

static bool parses(struct call *call, const char *line) {
  static char copy[4096];
  static char *words[64];
  size_t count = 0;
  snprintf(copy, sizeof copy, "%s", line);
  for (char *word = strtok(copy, " "); word != NULL; word = strtok(NULL, " ")) words[count++] = word;
  words[count] = NULL;
  return call_parse(call, words);
}

static void calls(void) {
  struct call call;
  CHECK(parses(&call, "one true") && !call.input && !call.detach && strcmp(call.container, "one") == 0);
  CHECK(parses(&call, "-i one sh -c -x") && call.input && strcmp(call.words[2], "-x") == 0);
  CHECK(parses(&call, "-di --interactive --detach one a") && call.input && call.detach);
  static const char *const others[] = {"", "one", "-i", "-i one", "-t one sh", "-it one sh", "-u 0 one id", "-i=true one a",
                                       "--interactive=false one a", "-- one a", "--help one a", "one \xff", "one a\xc3"};
  for (size_t index = 0; index < sizeof others / sizeof *others; index++) CHECK(!parses(&call, others[index]));
  /* A character that lies across the border of two pieces. */
  char line[2000] = "one ";
  for (size_t at = strlen(line); at < 1500; at += 2) strcpy(line + at, "\xc3\xa9");
  CHECK(parses(&call, line));
  memmove(line + 5, line + 4, strlen(line + 4) + 1);
  line[4] = 'x';
  CHECK(parses(&call, line));
}

int main(int argc, char **argv) {
  static struct writer file;
  write_file(&file);
  whole(&file);
  damaged(&file, argc > 1 ? atoi(argv[1]) : 50);
  calls();
  return 0;
}
