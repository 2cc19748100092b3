#include "names.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "json.h"

enum { FILE_LIMIT = 1 << 20, ENDPOINTS_MAX = 256, SHORT_ID = 12, RACY_NS = 20 * 1000 * 1000 };

/* Texts one behind the other, each with its 0. */
struct texts {
  const char *first;
  size_t count;
};

struct endpoint {
  const char *network_id, *network;
  bool has4, has6;
  u8 address4[4], address6[16];
  struct texts names, links;
};

/* What a file or directory was like when it was read. */
struct version {
  struct timespec modified, changed;
  ino_t inode;
  off_t size;
  /* It was younger than the clock by which its times are kept can tell apart: it may have changed since without a trace. */
  bool doubtful;
};

/* What one container has. */
struct account {
  char id[ID_DIGITS + 1];
  struct version version;
  char *text; /* the file, which the endpoints' texts are in */
  struct endpoint *endpoints;
  size_t count;
  bool seen;
};

static int root = -1;
static DIR *listing;
static struct version listed;
/* The container's own is the first. */
static struct account *accounts;
static size_t account_count, account_room;

static bool same(const struct version *a, const struct version *b) {
  return a->inode == b->inode && a->size == b->size && memcmp(&a->modified, &b->modified, sizeof a->modified) == 0 &&
         memcmp(&a->changed, &b->changed, sizeof a->changed) == 0;
}

static struct version version_of(const struct stat *status) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  i64 age = (now.tv_sec - status->st_ctim.tv_sec) * (i64)1000000000 + now.tv_nsec - status->st_ctim.tv_nsec;
  return (struct version){status->st_mtim, status->st_ctim, status->st_ino, status->st_size, age < RACY_NS};
}

/* @returns whether it has to be read again; then `version` is the new one */
static bool has_changed(struct version *version, const struct stat *status) {
  struct version now = version_of(status);
  if (!version->doubtful && same(version, &now)) return false;
  *version = now;
  return true;
}

static void forget(struct account *account) {
  free(account->text);
  free(account->endpoints);
  account->text = NULL;
  account->endpoints = NULL;
  account->count = 0;
}

/* An array of texts, moved to where it began. */
static void read_texts(struct json *json, struct texts *texts) {
  char *to = json->at, *text;
  *texts = (struct texts){to, 0};
  if (!json_enter(json, '[')) return;
  while (json_item(json) && json_text(json, &text)) {
    size_t size = strlen(text) + 1;
    memmove(to, text, size);
    to += size;
    texts->count++;
  }
}

static bool read_address(char *text, int family, u8 *bytes) {
  text[strcspn(text, "/")] = 0;
  return inet_pton(family, text, bytes) == 1;
}

static void read_member(struct json *json, const char *key, struct endpoint *endpoint) {
  char *text;
  if (strcmp(key, "names") == 0) read_texts(json, &endpoint->names);
  else if (strcmp(key, "links") == 0) read_texts(json, &endpoint->links);
  else if (strcmp(key, "networkId") == 0 && json_text(json, &text)) endpoint->network_id = text;
  else if (strcmp(key, "network") == 0 && json_text(json, &text)) endpoint->network = text;
  else if (strcmp(key, "address") == 0 && json_text(json, &text)) endpoint->has4 = read_address(text, AF_INET, endpoint->address4);
  else if (strcmp(key, "address6") == 0 && json_text(json, &text)) endpoint->has6 = read_address(text, AF_INET6, endpoint->address6);
  else json_skip(json);
}

/* Those without names, of the default network, are of no use. */
static void read_endpoints(struct json *json, struct account *account) {
  char *key;
  if (!json_enter(json, '[')) return;
  account->endpoints = calloc(ENDPOINTS_MAX, sizeof *account->endpoints);
  while (account->endpoints != NULL && account->count < ENDPOINTS_MAX && json_item(json)) {
    struct endpoint endpoint = {.network_id = "", .network = ""};
    if (!json_enter(json, '{')) return;
    while (json_key(json, &key)) read_member(json, key, &endpoint);
    if (json->bad) return;
    if (endpoint.names.count > 0) account->endpoints[account->count++] = endpoint;
  }
}

static char *read_file(const char *path, size_t *length) {
  int fd = openat(root, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  struct stat status;
  if (fd < 0) return NULL;
  char *text = NULL;
  if (fstat(fd, &status) == 0 && status.st_size <= FILE_LIMIT) text = malloc((size_t)status.st_size + 1);
  ssize_t got = text == NULL ? -1 : read(fd, text, (size_t)status.st_size);
  close(fd);
  if (got < 0) {
    free(text);
    return NULL;
  }
  *length = (size_t)got;
  return text;
}

static bool shares_network(const struct account *account) {
  for (size_t index = 0; index < account->count; index++)
    for (size_t own = 0; own < accounts[0].count; own++)
      if (strcmp(account->endpoints[index].network_id, accounts[0].endpoints[own].network_id) == 0) return true;
  return false;
}

static void read_account(struct account *account, const char *path) {
  size_t length;
  char *key;
  forget(account);
  account->text = read_file(path, &length);
  if (account->text == NULL) return;
  struct json json = {account->text, account->text + length, false};
  if (json_enter(&json, '{')) {
    while (json_key(&json, &key)) {
      if (strcmp(key, "endpoints") == 0 && account->endpoints == NULL) read_endpoints(&json, account);
      else json_skip(&json);
    }
  }
  /* Half of it: it is being written. */
  if (json.bad) account->version.doubtful = true;
  if (json.bad || (account != accounts && !shares_network(account))) forget(account);
  else if (account->count == 0) forget(account);
  else {
    void *fitting = realloc(account->endpoints, account->count * sizeof *account->endpoints);
    if (fitting != NULL) account->endpoints = fitting;
  }
}

/* @returns whether it was read */
static bool refresh_account(struct account *account) {
  char path[ID_DIGITS + sizeof "/network.json"];
  struct stat status;
  memcpy(path, account->id, ID_DIGITS);
  memcpy(path + ID_DIGITS, "/network.json", sizeof "/network.json");
  if (fstatat(root, path, &status, AT_SYMLINK_NOFOLLOW) < 0) {
    bool had = account->version.inode != 0;
    account->version = (struct version){0};
    forget(account);
    return had;
  }
  if (!has_changed(&account->version, &status)) return false;
  read_account(account, path);
  return true;
}

static struct account *find_account(const char *id) {
  for (size_t index = 0; index < account_count; index++)
    if (memcmp(accounts[index].id, id, ID_DIGITS) == 0) return &accounts[index];
  return NULL;
}

static void add_account(const char *id) {
  if (account_count == account_room) {
    size_t room = account_room == 0 ? 8 : account_room * 2;
    struct account *more = realloc(accounts, room * sizeof *more);
    if (more == NULL) return;
    accounts = more;
    account_room = room;
  }
  struct account *account = &accounts[account_count++];
  *account = (struct account){.seen = true};
  memcpy(account->id, id, ID_DIGITS);
}

/* Which containers there are. The own one stays. */
static void list_accounts(void) {
  struct dirent *entry;
  for (size_t index = 1; index < account_count; index++) accounts[index].seen = false;
  rewinddir(listing);
  while ((entry = readdir(listing)) != NULL) {
    if (strspn(entry->d_name, "0123456789abcdef") != ID_DIGITS || entry->d_name[ID_DIGITS] != 0) continue;
    struct account *known = find_account(entry->d_name);
    if (known == NULL) add_account(entry->d_name);
    else known->seen = true;
  }
  size_t kept = 1;
  for (size_t index = 1; index < account_count; index++) {
    if (accounts[index].seen) accounts[kept++] = accounts[index];
    else forget(&accounts[index]);
  }
  account_count = kept;
}

int names_open(int run_root, const char *id) {
  if (strlen(id) != ID_DIGITS) return EINVAL;
  listing = fdopendir(run_root);
  if (listing == NULL) return errno;
  root = run_root;
  add_account(id);
  return account_count == 1 ? 0 : ENOMEM;
}

void names_refresh(void) {
  struct stat status;
  if (fstat(root, &status) == 0 && has_changed(&listed, &status)) list_accounts();
  bool own = refresh_account(&accounts[0]);
  for (size_t index = 1; index < account_count; index++) {
    /* What others have was kept only as far as it was of use. */
    if (own) accounts[index].version = (struct version){0};
    refresh_account(&accounts[index]);
  }
}

static bool has(const struct texts *texts, const char *wanted) {
  const char *text = texts->first;
  for (size_t index = 0; index < texts->count; index++, text += strlen(text) + 1)
    if (strcasecmp(text, wanted) == 0) return true;
  return false;
}

/* The name behind an alias of `--link`, `NAME[:ALIAS]`; NULL when it is none. @param name has room for `room` bytes */
static const char *linked_name(const struct texts *links, const char *alias, char *name, size_t room) {
  const char *text = links->first;
  for (size_t index = 0; index < links->count; index++, text += strlen(text) + 1) {
    size_t size = strcspn(text, ":");
    const char *as = text[size] == ':' ? text + size + 1 : text;
    if (strcasecmp(as, alias) != 0 || size >= room) continue;
    memcpy(name, text, size);
    name[size] = 0;
    if (size == ID_DIGITS && strspn(name, "0123456789abcdef") == size) name[SHORT_ID] = 0;
    return name;
  }
  return NULL;
}

static void add_address(const struct endpoint *endpoint, struct addresses *found) {
  bool has_it = found->size == 4 ? endpoint->has4 : endpoint->has6;
  const u8 *bytes = found->size == 4 ? endpoint->address4 : endpoint->address6;
  if (has_it && found->count < ADDRESSES_MAX) memcpy(found->bytes[found->count++], bytes, found->size);
}

static bool look_in(const char *network_id, const char *name, struct addresses *found) {
  bool is_there = false;
  for (size_t index = 0; index < account_count; index++) {
    for (size_t at = 0; at < accounts[index].count; at++) {
      const struct endpoint *endpoint = &accounts[index].endpoints[at];
      if (strcmp(endpoint->network_id, network_id) != 0 || !has(&endpoint->names, name)) continue;
      is_there = true;
      add_address(endpoint, found);
    }
  }
  return is_there;
}

/* `web.mine` is web in the network mine. */
static bool look_with_network(const struct endpoint *own, const char *name, struct addresses *found) {
  size_t size = strlen(name), suffix = strlen(own->network);
  char short_name[256];
  if (size <= suffix + 1 || size >= sizeof short_name || name[size - suffix - 1] != '.') return false;
  if (strcasecmp(name + size - suffix, own->network) != 0) return false;
  memcpy(short_name, name, size - suffix - 1);
  short_name[size - suffix - 1] = 0;
  return look_in(own->network_id, short_name, found);
}

/* The first network that knows it is the one that counts. */
bool names_lookup(const char *name, size_t size, struct addresses *found) {
  char target[256];
  found->count = 0;
  found->size = size;
  for (size_t at = 0; at < accounts[0].count; at++) {
    const struct endpoint *own = &accounts[0].endpoints[at];
    const char *other = linked_name(&own->links, name, target, sizeof target);
    if (other != NULL && look_in(own->network_id, other, found)) return true;
    if (look_in(own->network_id, name, found)) return true;
  }
  for (size_t at = 0; at < accounts[0].count; at++)
    if (look_with_network(&accounts[0].endpoints[at], name, found)) return true;
  return false;
}

static bool has_address(const struct endpoint *endpoint, const u8 *address, size_t size) {
  if (size == 4) return endpoint->has4 && memcmp(endpoint->address4, address, size) == 0;
  return endpoint->has6 && memcmp(endpoint->address6, address, size) == 0;
}

static bool write_reverse(const struct endpoint *endpoint, char *text, size_t room) {
  size_t name = strlen(endpoint->names.first), network = strlen(endpoint->network);
  if (name + 1 + network >= room) return false;
  memcpy(text, endpoint->names.first, name);
  text[name] = '.';
  memcpy(text + name + 1, endpoint->network, network + 1);
  return true;
}

bool names_reverse(const u8 *address, size_t size, char *text, size_t room) {
  for (size_t index = 0; index < account_count; index++) {
    for (size_t at = 0; at < accounts[index].count; at++) {
      const struct endpoint *endpoint = &accounts[index].endpoints[at];
      if (!has_address(endpoint, address, size)) continue;
      for (size_t own = 0; own < accounts[0].count; own++)
        if (strcmp(accounts[0].endpoints[own].network_id, endpoint->network_id) == 0)
          return write_reverse(endpoint, text, room);
    }
  }
  return false;
}

void names_close(void) {
  for (size_t index = 0; index < account_count; index++) forget(&accounts[index]);
  free(accounts);
  accounts = NULL;
  account_count = account_room = 0;
  listed = (struct version){0};
  if (listing != NULL) closedir(listing);
  listing = NULL;
}
