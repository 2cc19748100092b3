/* The table of operations. Numbers, names and letters are those of src/plan/ops.ts; a test compares them. */
#pragma once

#include "run.h"

enum { OP_SPAWN = 21, OP_EXEC = 43 };

struct op {
  u16 number;
  u8 roles; /* or-ed together: which lists may hold it */
  const char *name;
  const char *letters; /* an argument each: t text, s texts, i int, n ints, b bytes, l list */
  int (*run)(struct run *run, const struct arg *args); /* 0 or an errno */
};

const struct op *op_by_number(u16 number);
/* Writes the table to descriptor 1, a line an operation. */
void ops_print(void);

#define OPERATION(name) int op_##name(struct run *run, const struct arg *args)
OPERATION(mkdir);
OPERATION(write);
OPERATION(symlink);
OPERATION(mknod);
OPERATION(chmod);
OPERATION(chown);
OPERATION(unlink);
OPERATION(rmdir);
OPERATION(remove_tree);
OPERATION(rename);
OPERATION(mount);
OPERATION(umount);
OPERATION(mount_setattr);
OPERATION(open_tree);
OPERATION(move_mount);
OPERATION(pivot_root);
OPERATION(chdir);
OPERATION(unshare);
OPERATION(setns);
OPERATION(fork);
OPERATION(spawn);
OPERATION(outside);
OPERATION(wait);
OPERATION(setsid);
OPERATION(sethostname);
OPERATION(setdomainname);
OPERATION(link_up);
OPERATION(stdio);
OPERATION(pty);
OPERATION(chown_stdio);
OPERATION(close_fds);
OPERATION(umask);
OPERATION(rlimit);
OPERATION(capbset);
OPERATION(capset);
OPERATION(capambient);
OPERATION(setgroups);
OPERATION(setgid);
OPERATION(setuid);
OPERATION(prctl);
OPERATION(seccomp);
OPERATION(keyctl_join);
OPERATION(exec);
OPERATION(birth_cgroup);
OPERATION(idmap);
OPERATION(setfsid);
OPERATION(kill_cgroup);
OPERATION(run);
OPERATION(flock);
OPERATION(listen);
OPERATION(log);
OPERATION(become);
OPERATION(repeat);
OPERATION(bpf_device);
OPERATION(copy);
OPERATION(write_counted);
OPERATION(write_proc);
OPERATION(open_device);
OPERATION(tree_setattr);
OPERATION(join);
OPERATION(link_add);
OPERATION(link_set);
OPERATION(link_delete);
OPERATION(port_set);
OPERATION(address_add);
OPERATION(route_add);
OPERATION(nft);
OPERATION(nft_delete);
OPERATION(last);
OPERATION(together);
OPERATION(bind_port);

/* What the monitor ignores and blocks, and whatever the caller did before, is not for the program that comes next. */
void reset_signals(void);
/* A program of the host, to its end, as the operation `run` has it. */
int run_program(struct run *run, char *const *arguments);
/* Of programs of the host. */
extern char *const host_environment[];
