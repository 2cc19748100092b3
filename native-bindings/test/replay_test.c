/* The kept plan of an exec: what call_parse and kept_parse let pass must be whole, whatever is damaged, and what is filled in must be a plan
 * again. The argument is the number of thousands of mutations. */
#include <unistd.h>

#include "monitor.h"
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

enum { CHDIR, PATH, EXEC, WORDS, VARIABLES, LAST, PLACES };

static void text(struct writer *writer, const char *word) {
  number(writer, 't', 1);
  number(writer, strlen(word), 4);
  raw(writer, word, strlen(word) + 1);
}

/* stdio and spawn; nothing at the end; chdir, a pty if there is to be a terminal, exec with variables, one of which has the id in it. */
static void write_plan(struct writer *writer, bool terminal, size_t places[PLACES]) {
  writer->length = 0;
  raw(writer, "TSBXPLAN", 8);
  number(writer, PLAN_VERSION, 4);
  number(writer, 0, 4);
  number(writer, 3, 4);
  number(writer, 2, 4);
  size_t at = step(writer, number_of("stdio"));
  places[LAST] = writer->length;
  number(writer, 'i', 1);
  number(writer, 0, 8);
  end_step(writer, at);
  at = step(writer, OP_SPAWN);
  number(writer, 'l', 1);
  number(writer, 2, 4);
  end_step(writer, at);
  number(writer, 0, 4);
  number(writer, terminal ? 3 : 2, 4);
  places[CHDIR] = at = step(writer, number_of("chdir"));
  places[PATH] = writer->length;
  text(writer, "/old");
  end_step(writer, at);
  if (terminal) {
    at = step(writer, number_of("pty"));
    text(writer, "/dev/pts/ptmx");
    places[LAST] = writer->length;
    for (int value = 0; value < 2; value++) {
      number(writer, 'i', 1);
      number(writer, 0, 8);
    }
    end_step(writer, at);
  }
  places[EXEC] = at = step(writer, OP_EXEC);
  places[WORDS] = writer->length;
  number(writer, 's', 1);
  number(writer, 0, 4);
  places[VARIABLES] = writer->length;
  number(writer, 's', 1);
  number(writer, 3, 4);
  text(writer, id);
  text(writer, "A=1");
  text(writer, "HOME=/home");
  end_step(writer, at);
}

static int form_line(char *line, size_t room, const char *word, const struct writer *plan, const size_t places[PLACES]) {
  return snprintf(line, room, "%s %zu %zu %zu %zu %zu %zu %zu\n", word, plan->length, places[CHDIR], places[PATH], places[EXEC],
                  places[WORDS], places[VARIABLES], places[LAST]);
}

static void write_file(struct writer *file) {
  static struct writer plan, terminal;
  char head[2048];
  size_t places[PLACES], terminal_places[PLACES];
  file->length = 0;
  write_plan(&plan, false, places);
  write_plan(&terminal, true, terminal_places);
  int length = snprintf(head, sizeof head,
                        "TSBXEXEC 2\ncontainer %s\nname one\nid %s\nuser a:b\nhome last\nexecutor /bin/false\nevents /tmp/events\n"
                        "event {\"action\":\"\nevent \",\"execID\":\"%s\",\"time\":\"\nbounding 0\nabsent /no such/file\n"
                        "link none /proc/self/exe\n",
                        other, id, id);
  length += form_line(head + length, sizeof head - (size_t)length, "plan", &plan, places);
  length += form_line(head + length, sizeof head - (size_t)length, "terminal", &terminal, terminal_places);
  CHECK(length > 0 && (size_t)length < sizeof head);
  raw(file, head, (size_t)length);
  raw(file, plan.bytes, plan.length);
  raw(file, terminal.bytes, terminal.length);
}

/* In place of a longer file. */
static void with_rest(struct writer *file) {
  struct kept kept;
  static struct writer longer;
  longer = *file;
  raw(&longer, "rest", 4);
  char *bytes = (char *)exact(longer.bytes, longer.length);
  CHECK(kept_parse(&kept, bytes, longer.length));
  free(bytes);
}

static bool begins(struct reader *reader, const char *word) {
  struct arg next;
  plan_text(reader, &next);
  return !reader->bad && next.count == strlen(word) && memcmp(next.bytes, word, next.count) == 0;
}

static void texts(struct reader *reader, const struct arg *arg, const char *const *words, size_t count) {
  CHECK(arg->count == count);
  reader->at = arg->bytes;
  for (size_t index = 0; index < count; index++) CHECK(begins(reader, words[index]));
}

/* What is filled in is a plan again, with this in it. */
static void filled_with(const struct kept *kept, const struct call *call, const char *path, const char *const *variables, size_t count) {
  struct plan plan;
  struct plan_fault fault;
  struct step one;
  size_t size, words = 0;
  u32 steps;
  u8 *filled = fill_call(kept, call, &size);
  CHECK(filled != NULL && plan_check(&plan, filled, size, &fault));
  struct reader reader = plan_list(&plan, 0, &steps);
  plan_step(&reader, &one);
  CHECK(one.arg[0].number == (call->tty || !call->input ? 0 : STDIN_ONCE));
  reader = plan_list(&plan, 2, &steps);
  CHECK(steps == (call->tty ? 3 : 2));
  plan_step(&reader, &one);
  CHECK(one.arg[0].count == strlen(path) && memcmp(one.arg[0].bytes, path, strlen(path)) == 0);
  for (; steps > 1; steps--) plan_step(&reader, &one);
  while (call->words[words] != NULL) words++;
  texts(&reader, &one.arg[0], (const char *const *)call->words, words);
  texts(&reader, &one.arg[1], variables, count);
  free(filled);
}

static void whole(const struct writer *file) {
  char *words[] = {(char[]){"sh"}, (char[]){""}, (char[]){"a b"}, NULL};
  struct kept kept;
  char *bytes = (char *)exact(file->bytes, file->length);
  CHECK(kept_parse(&kept, bytes, file->length));
  CHECK(strcmp(kept.name, "one") == 0 && strcmp(kept.executor, "/bin/false") == 0 && strcmp(kept.container, other) == 0 && strcmp(kept.user, "a:b") == 0);
  CHECK(!facts_hold(&kept));
  fill_id(&kept, other);
  CHECK(strstr(kept.event_end, other) != NULL && strstr(kept.event_end, id) == NULL);
  struct call call = {.input = true, .words = words};
  filled_with(&kept, &call, "/old", (const char *[]){other, "A=1", "HOME=/home"}, 3);
  call = (struct call){.words = words, .workdir = "/a longer one", .variables = {"B=2", "A=", "B=3=4"}, .count = 3};
  filled_with(&kept, &call, "/a longer one", (const char *[]){other, "A=", "B=3=4", "HOME=/home"}, 4);
  call = (struct call){.tty = true, .words = words, .workdir = "/", .variables = {"HOME=/", "A1=1"}, .count = 2};
  filled_with(&kept, &call, "/", (const char *[]){other, "A=1", "HOME=/", "A1=1"}, 4);
  kept.home_last = false;
  filled_with(&kept, &call, "/", (const char *[]){other, "A=1", "HOME=/", "A1=1"}, 4);
  call.variables[0] = "C=";
  filled_with(&kept, &call, "/", (const char *[]){other, "A=1", "HOME=/home", "C=", "A1=1"}, 5);
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
    CHECK(strlen(kept.event) + strlen(kept.event_end) < length);
    for (int tty = 0; tty < 2; tty++) {
      struct call call = {.tty = tty == 1, .words = words, .workdir = "/", .variables = {"A=2", "B=1"}, .count = 2};
      u8 *plan = fill_call(&kept, &call, &size);
      CHECK(plan != NULL && size > 0);
      free(plan);
    }
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
  CHECK(parses(&call, "-di --interactive --detach one a") && call.input && call.detach && !call.tty);
  CHECK(parses(&call, "-it one sh") && call.input && call.tty);
  CHECK(parses(&call, "-te A=1 --env B= -w /a --workdir /b one sh -e C=1") && call.tty && call.count == 2);
  CHECK(strcmp(call.variables[0], "A=1") == 0 && strcmp(call.variables[1], "B=") == 0 && strcmp(call.workdir, "/b") == 0);
  CHECK(strcmp(call.container, "one") == 0 && strcmp(call.words[0], "sh") == 0 && strcmp(call.all[0], "-te") == 0);
  CHECK(call.user[0] == 0 && parses(&call, "-iu 0:0 one id") && call.input && strcmp(call.user, "0:0") == 0);
  static const char *const others[] = {"", "one", "-i", "-i one", "-u0 one id", "-u \xff one id", "-iu", "-e A one id", "-e =1 one id", "-eA=1 one id", "-e HOME= one id",
                                       "-e", "-e A=1", "-ei A=1 one id=", "--env=A=1 one id", "-e A=\xff one a", "-w a one id", "-w/ one id",
                                       "--tty=true one a", "--priv", "-i=true one a",
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

static void keys(void) {
  static const struct {
    const char *typed, *passed; /* a bar: two reads */
    bool detached;
  } all[] = {{"abc", "abc", false}, {"a\x10|\x11z", "a", true}, {"\x10\x10\x11", "\x10", true}, {"\x10|b\x11", "\x10" "b\x11", false},
             {"\x10|\x10|c", "\x10\x10" "c", false}, {"\x11\x10", "\x11", false}};
  for (size_t index = 0; index < sizeof all / sizeof *all; index++) {
    struct keys state = {0};
    u8 passed[32];
    size_t length = 0;
    bool detached = false;
    for (const char *at = all[index].typed; *at != 0 && !detached; at += strcspn(at, "|"), at += *at == '|')
      length += keys_scan(&state, passed + length, (const u8 *)at, strcspn(at, "|"), &detached);
    CHECK(detached == all[index].detached && length == strlen(all[index].passed) && memcmp(passed, all[index].passed, length) == 0);
  }
}

int main(int argc, char **argv) {
  static struct writer file;
  write_file(&file);
  whole(&file);
  with_rest(&file);
  damaged(&file, argc > 1 ? atoi(argv[1]) : 50);
  calls();
  keys();
  return 0;
}
