/*
 * `union-floor MOUNTPOINT -o upperdir=DIRECTORY,...`: the least that a FUSE server can do for the small operations of union-client.ts: no
 * layers, no permissions, one directory, and no system call that is not the answer itself. What it takes is what the kernel's protocol
 * costs here, whoever serves it. Run by union.ts.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILES = 64, ROOM = 0x101000, VALID = 1 << 30 };

/* Of 8 bytes alignment, as the kernel's structures want it. */
static union {
	char bytes[ROOM];
	struct fuse_in_header header;
} request;
static struct {
	struct fuse_out_header header;
	union {
		struct fuse_init_out init;
		struct fuse_attr_out attr;
		struct fuse_open_out open;
		struct fuse_entry_out entry;
		struct {
			struct fuse_entry_out entry;
			struct fuse_open_out open;
		} created;
	} body;
} answer;

static int directory;
static char names[FILES][256]; /* those that there are; a node is its place here and 2 */

static void put_attributes(struct fuse_attr *to, const struct statx *of) {
	to->ino = of->stx_ino;
	to->size = of->stx_size;
	to->blocks = of->stx_blocks;
	to->atime = (uint64_t)of->stx_atime.tv_sec;
	to->mtime = (uint64_t)of->stx_mtime.tv_sec;
	to->ctime = (uint64_t)of->stx_ctime.tv_sec;
	to->atimensec = of->stx_atime.tv_nsec;
	to->mtimensec = of->stx_mtime.tv_nsec;
	to->ctimensec = of->stx_ctime.tv_nsec;
	to->mode = of->stx_mode;
	to->nlink = of->stx_nlink;
	to->blksize = of->stx_blksize;
}

static int look(uint64_t node, struct fuse_attr *attr) {
	struct statx found;
	const int root = node == FUSE_ROOT_ID;
	const int flags = AT_SYMLINK_NOFOLLOW | AT_STATX_DONT_SYNC | (root ? AT_EMPTY_PATH : 0);
	if (statx(directory, root ? "" : names[node - 2], flags, STATX_BASIC_STATS, &found) < 0) return -errno;
	put_attributes(attr, &found);
	return 0;
}

static uint64_t find(const char *name) {
	for (uint64_t at = 0; at < FILES; at++)
		if (strcmp(names[at], name) == 0) return at + 2;
	return 0;
}

static int put_entry(struct fuse_entry_out *entry, uint64_t node) {
	entry->nodeid = node;
	entry->entry_valid = entry->attr_valid = VALID;
	return node == 0 ? 0 : look(node, &entry->attr);
}

static int create(const struct fuse_create_in *in) {
	const char *name = (const char *)(in + 1);
	const int fd = openat(directory, name, (int)in->flags | O_CREAT, in->mode);
	if (fd < 0) return -errno;
	uint64_t node = find("");
	if (node == 0) return -ENOSPC;
	memcpy(names[node - 2], name, strnlen(name, sizeof names[0] - 1) + 1);
	names[node - 2][sizeof names[0] - 1] = '\0';
	answer.body.created.open.fh = (uint64_t)fd;
	const int error = put_entry(&answer.body.created.entry, node);
	return error < 0 ? error : (int)sizeof answer.body.created;
}

/* Returns the size of what is in the answer's body, or -errno. */
static int serve(void) {
	const uint64_t node = request.header.nodeid;
	const void *in = request.bytes + sizeof request.header;
	int result;
	switch (request.header.opcode) {
	case FUSE_INIT:
		answer.body.init.major = FUSE_KERNEL_VERSION;
		answer.body.init.minor = 31;
		answer.body.init.max_write = 0x100000;
		answer.body.init.time_gran = 1;
		return sizeof answer.body.init;
	case FUSE_LOOKUP:
		result = put_entry(&answer.body.entry, find(in));
		return result < 0 ? result : (int)sizeof answer.body.entry;
	case FUSE_GETATTR:
	case FUSE_SETATTR:
		if (request.header.opcode == FUSE_SETATTR && node != FUSE_ROOT_ID &&
		    fchmodat(directory, names[node - 2], ((const struct fuse_setattr_in *)in)->mode & 07777, 0) < 0)
			return -errno;
		answer.body.attr.attr_valid = VALID;
		result = look(node, &answer.body.attr.attr);
		return result < 0 ? result : (int)sizeof answer.body.attr;
	case FUSE_OPEN:
		result = openat(directory, names[node - 2], (int)((const struct fuse_open_in *)in)->flags);
		if (result < 0) return -errno;
		answer.body.open.fh = (uint64_t)result;
		answer.body.open.open_flags = FOPEN_KEEP_CACHE;
		return sizeof answer.body.open;
	case FUSE_RELEASE:
		close((int)((const struct fuse_release_in *)in)->fh);
		return 0;
	case FUSE_CREATE:
		return create(in);
	case FUSE_UNLINK:
		if (unlinkat(directory, in, 0) < 0) return -errno;
		names[find(in) - 2][0] = '\0';
		return 0;
	default:
		return -ENOSYS;
	}
}

static int mount_at(const char *target) {
	const int device = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	char data[100];
	snprintf(data, sizeof data, "fd=%d,rootmode=40000,user_id=0,group_id=0,default_permissions,allow_other", device);
	if (device < 0 || mount("floor", target, "fuse.floor", 0, data) < 0) err(1, "mount %s", target);
	return device;
}

int main(int argc, char **argv) {
	char *upper = argc > 3 ? strstr(argv[3], "upperdir=") : NULL;
	if (upper == NULL) errx(2, "usage: union-floor MOUNTPOINT -o upperdir=DIRECTORY");
	directory = open(strtok(upper + strlen("upperdir="), ","), O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (directory < 0) err(1, "open upperdir");
	const int device = mount_at(argv[1]);
	if (daemon(0, 0) < 0) err(1, "daemon");
	for (;;) {
		if (read(device, &request, sizeof request) < 0) {
			if (errno == ENODEV) return 0;
			if (errno == ENOENT || errno == EINTR || errno == EAGAIN) continue;
			err(1, "read /dev/fuse");
		}
		const uint32_t op = request.header.opcode;
		if (op == FUSE_FORGET || op == FUSE_BATCH_FORGET || op == FUSE_INTERRUPT) continue;
		memset(&answer, 0, sizeof answer);
		const int result = serve();
		answer.header.error = result < 0 ? result : 0;
		answer.header.unique = request.header.unique;
		answer.header.len = (uint32_t)sizeof answer.header + (uint32_t)(result < 0 ? 0 : result);
		if (write(device, &answer, answer.header.len) < 0 && errno != ENOENT) err(1, "write /dev/fuse");
	}
}
