/* The file that is kept: found, read, taken apart, believed or not. Its form is in src/plan/replay.ts. */
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../format.h"
#include "replay.h"

enum { MOST = 4 << 20 };

static bool is_id(const char *text) { return strlen(text) == ID_DIGITS && strspn(text, "0123456789abcdef") == ID_DIGITS; }

/* May it be the name of a container? Then it is safe as the name of a file. */
static bool is_name(const char *text) {
  static const char more[] = "_.-0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
  size_t length = strlen(text);
  return length > 1 && length < 256 && strspn(text, more) == length && strchr("_.-", text[0]) == NULL;
}

static bool join(char path[PATH_MAX], const char *const *parts) {
  struct out out = out_start(path, PATH_MAX);
  for (; *parts != NULL; parts++) put(&out, *parts);
  return out.at < out.end;
}

/* An absolute path of the environment; NULL without. */
static const char *place(const char *variable) {
  const char *given = getenv(variable);
  return given != NULL && given[0] == '/' ? given : NULL;
}

static bool is_own(const char *path) {
  struct stat status;
  return lstat(path, &status) == 0 && S_ISDIR(status.st_mode) && status.st_uid == geteuid() && (status.st_mode & 022) == 0;
}

/* Of an ordinary user, as src/engine/rootless.ts finds them. */
static bool own_data_root(char path[PATH_MAX]) {
  const char *data = place("XDG_DATA_HOME"), *home = place("HOME");
  if (data != NULL) return join(path, (const char *const[]){data, "/tsbox", NULL});
  return home != NULL && join(path, (const char *const[]){home, "/.local/share/tsbox", NULL});
}

static bool own_run_root(char path[PATH_MAX]) {
  char uid[16], user[32];
  const char *runtime = place("XDG_RUNTIME_DIR");
  struct out number = out_start(uid, sizeof uid);
  put_number(&number, geteuid());
  if (!join(path, (const char *const[]){"/run/user/", uid, NULL})) return false;
  if (runtime != NULL && is_own(runtime)) return join(path, (const char *const[]){runtime, "/tsbox", NULL});
  if (is_own(path)) {
    memcpy(user, path, strlen(path) + 1);
    return join(path, (const char *const[]){user, "/tsbox", NULL});
  }
  return join(path, (const char *const[]){"/tmp/tsbox-", uid, NULL}) && is_own(path);
}

/* Where the environment says, or where they are without a word of it. One that is not absolute is Node's to resolve. */
static bool find_roots(char data[PATH_MAX], char run[PATH_MAX]) {
  const char *variables[] = {"TSBOX_ROOT", "TSBOX_RUN_ROOT"}, *roots[] = {"/var/lib/tsbox", "/run/tsbox"};
  bool (*const own[])(char *) = {own_data_root, own_run_root};
  char *paths[] = {data, run};
  for (int index = 0; index < 2; index++) {
    const char *given = getenv(variables[index]);
    if (given != NULL && given[0] == 0) given = NULL;
    if (given == NULL && geteuid() == 0) given = roots[index];
    if (given == NULL && !own[index](paths[index])) return false;
    if (given != NULL && (given[0] != '/' || !join(paths[index], (const char *const[]){given, NULL}))) return false;
  }
  return true;
}

/* The id that a name leads to: the last part of what its symlink says. */
static bool id_of_name(char id[ID_DIGITS + 1], const char *data, const char *name) {
  char path[PATH_MAX], target[PATH_MAX];
  if (!is_name(name) || !join(path, (const char *const[]){data, "/names/", name, NULL})) return false;
  ssize_t length = readlink(path, target, sizeof target - 1);
  if (length <= ID_DIGITS) return false;
  target[length] = 0;
  const char *last = target + length - ID_DIGITS;
  if (last[-1] != '/' || !is_id(last)) return false;
  memcpy(id, last, ID_DIGITS + 1);
  return true;
}

/* Nobody else may have written it, and nobody may be writing. */
static char *read_own(const char *path, size_t *size) {
  struct stat status;
  char *bytes = NULL;
  int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return NULL;
  bool own = fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && status.st_uid == geteuid() && (status.st_mode & 022) == 0;
  if (own && status.st_size > 0 && status.st_size < MOST && flock(fd, LOCK_SH | LOCK_NB) == 0)
    bytes = malloc((size_t)status.st_size);
  if (bytes != NULL && read(fd, bytes, (size_t)status.st_size) != status.st_size) {
    free(bytes);
    bytes = NULL;
  }
  *size = (size_t)status.st_size;
  close(fd);
  return bytes;
}

/* Does somebody hold the lock? Then the container's monitor lives. */
static bool is_locked(const char *path) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  bool locked = flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
  close(fd);
  return locked;
}

char *kept_read(const char *container, bool own_user, size_t *size) {
  char id[ID_DIGITS + 1], path[PATH_MAX], data[PATH_MAX], run[PATH_MAX];
  const char *remap = getenv("TSBOX_USERNS_REMAP");
  if ((remap != NULL && remap[0] != 0) || !find_roots(data, run)) return NULL;
  if (is_id(container)) strcpy(id, container);
  else if (!id_of_name(id, data, container)) return NULL;
  if (!join(path, (const char *const[]){run, "/", id, "/lock", NULL}) || !is_locked(path)) return NULL;
  const char *name = own_user ? "/exec.replay" : "/exec-user.replay";
  if (!join(path, (const char *const[]){run, "/", id, name, NULL})) return NULL;
  return read_own(path, size);
}

/* The lines of the head, each ended with NUL instead of its line feed. */
struct lines {
  char *at;
  char *end;
};

static char *next_line(struct lines *lines) {
  char *line = lines->at;
  char *feed = memchr(line, '\n', (size_t)(lines->end - line));
  if (feed == NULL || memchr(line, 0, (size_t)(feed - line)) != NULL) return NULL;
  *feed = 0;
  lines->at = feed + 1;
  return line;
}

/* What stands behind the word that a line must begin with; NULL when it does not. */
static char *behind(char *line, const char *word) {
  size_t length = strlen(word);
  return line != NULL && strncmp(line, word, length) == 0 && line[length] == ' ' ? line + length + 1 : NULL;
}

static char *value(struct lines *lines, const char *word) { return behind(next_line(lines), word); }

static bool read_number(const char **text, size_t *number) {
  char *end;
  if (**text < '0' || **text > '9') return false;
  *number = strtoul(*text, &end, 10);
  *text = *end == ' ' ? end + 1 : end;
  return (*end == ' ' || *end == 0) && *number < MOST;
}

enum { STEP_HEAD = 8, NUMBER = 1 + sizeof(i64), LENGTH = 1 + sizeof(u32) };

/* The letter of a kind and the length or the count behind it. */
static bool has_kind(const struct form *form, size_t at, char kind, u32 *length) {
  if (at + LENGTH > form->size || form->bytes[at] != (u8)kind) return false;
  memcpy(length, form->bytes + at + 1, sizeof *length);
  return true;
}

/* A text with its NUL. */
static bool has_text(const struct form *form, size_t at, size_t *end) {
  u32 length;
  if (!has_kind(form, at, 't', &length) || length >= form->size - at - LENGTH) return false;
  *end = at + LENGTH + length + 1;
  return strnlen((const char *)form->bytes + at + LENGTH, length + 1) == length;
}

static bool has_number(const struct form *form, size_t at) { return at + NUMBER <= form->size && form->bytes[at] == 'i'; }

/* The places must be in the plan, in this order, and be what they are said to be: a text, an empty vector, one of texts, and numbers. */
static bool places(struct form *form, const char *text, size_t numbers) {
  size_t *const all[] = {&form->chdir, &form->path, &form->exec, &form->words, &form->variables, &form->last};
  u32 none;
  for (size_t index = 0; index < sizeof all / sizeof *all; index++)
    if (!read_number(&text, all[index])) return false;
  if (form->chdir + STEP_HEAD > form->path || !has_text(form, form->path, &form->path_end)) return false;
  if (form->path_end > form->exec || form->exec + STEP_HEAD > form->words) return false;
  if (!has_kind(form, form->words, 's', &none) || none != 0 || form->variables != form->words + LENGTH) return false;
  if (!has_kind(form, form->variables, 's', &form->count)) return false;
  form->variables_end = form->variables + LENGTH;
  for (u32 index = 0; index < form->count; index++)
    if (!has_text(form, form->variables_end, &form->variables_end)) return false;
  for (size_t index = 0; index < numbers; index++)
    if (!has_number(form, form->last + index * NUMBER)) return false;
  return true;
}

/* The two last lines, and what stands behind them. */
static bool forms(struct kept *kept, struct lines *lines, const char *plain) {
  const char *terminal = value(lines, "terminal");
  if (terminal == NULL || !read_number(&plain, &kept->plain.size) || !read_number(&terminal, &kept->terminal.size)) return false;
  /* Behind them there may be what is left of a longer file. */
  if (kept->plain.size + kept->terminal.size > (size_t)(lines->end - lines->at)) return false;
  kept->plain.bytes = (u8 *)lines->at;
  kept->terminal.bytes = kept->plain.bytes + kept->plain.size;
  if (!places(&kept->plain, plain, 1) || !places(&kept->terminal, terminal, 2)) return false;
  return !kept->home_last || (kept->plain.count > 0 && kept->terminal.count > 0);
}

bool kept_parse(struct kept *kept, char *bytes, size_t size) {
  struct lines lines = {.at = bytes, .end = bytes + size};
  const char *version = value(&lines, "TSBXEXEC");
  if (version == NULL || strcmp(version, "2") != 0) return false;
  if ((kept->container = value(&lines, "container")) == NULL || !is_id(kept->container)) return false;
  if ((kept->name = value(&lines, "name")) == NULL) return false;
  if ((kept->id = value(&lines, "id")) == NULL || !is_id(kept->id)) return false;
  if ((kept->user = value(&lines, "user")) == NULL) return false;
  const char *home = value(&lines, "home");
  if (home == NULL) return false;
  kept->home_last = strcmp(home, "last") == 0;
  if ((kept->executor = value(&lines, "executor")) == NULL) return false;
  if ((kept->events = value(&lines, "events")) == NULL) return false;
  if ((kept->event = value(&lines, "event")) == NULL) return false;
  if ((kept->event_end = value(&lines, "event")) == NULL) return false;
  if ((kept->bounding = value(&lines, "bounding")) == NULL) return false;
  kept->facts = lines.at;
  char *line;
  const char *plain;
  do {
    kept->facts_end = lines.at;
    if ((line = next_line(&lines)) == NULL) return false;
  } while ((plain = behind(line, "plan")) == NULL);
  return forms(kept, &lines, plain);
}

static i64 nanoseconds(struct timespec time) { return time.tv_sec * 1000000000 + time.tv_nsec; }

static void put_field(struct out *out, i64 number) {
  put_number(out, number);
  put(out, " ");
}

/* Compared as text: what is there now is written down as it was then. */
static bool same(const char *fact) {
  char now[160];
  struct stat status;
  const char *path = fact;
  for (int field = 0; field < 5; field++) {
    path = strchr(path, ' ');
    if (path == NULL) return false;
    path++;
  }
  if (lstat(path, &status) < 0) return false;
  struct out out = out_start(now, sizeof now);
  put_field(&out, (i64)status.st_dev);
  put_field(&out, (i64)status.st_ino);
  put_field(&out, status.st_size);
  put_field(&out, nanoseconds(status.st_mtim));
  put_field(&out, nanoseconds(status.st_ctim));
  size_t length = (size_t)(path - fact);
  return out_length(&out) == length && memcmp(now, fact, length) == 0;
}

static bool absent(const char *path) { return access(path, F_OK) < 0 && errno == ENOENT; }

static bool links(const char *fact) {
  char target[256];
  const char *path = strchr(fact, ' ');
  if (path == NULL) return false;
  ssize_t length = readlink(path + 1, target, sizeof target);
  return length == path - fact && memcmp(target, fact, (size_t)length) == 0;
}

static bool holds(const char *line) {
  if (strncmp(line, "same ", 5) == 0) return same(line + 5);
  if (strncmp(line, "absent ", 7) == 0) return absent(line + 7);
  return strncmp(line, "link ", 5) == 0 && links(line + 5);
}

/* Which capabilities a process of the caller's can have at the most. */
static u64 bounding_set(void) {
  u64 set = 0;
  for (unsigned long number = 0; number <= CAP_LAST_CAP; number++)
    if (prctl(PR_CAPBSET_READ, number, 0, 0, 0) == 1) set |= (u64)1 << number;
  return set;
}

bool facts_hold(const struct kept *kept) {
  for (const char *line = kept->facts; line < kept->facts_end; line += strlen(line) + 1)
    if (!holds(line)) return false;
  return strtoull(kept->bounding, NULL, 16) == bounding_set();
}
