#include "ops.h"

#include <string.h>
#include <unistd.h>

#include "format.h"

enum { FIRST = ROLE_FIRST, HOST = ROLE_FIRST | ROLE_HOST, CHILD = ROLE_CHILD, ANY = ROLE_FIRST | ROLE_HOST | ROLE_CHILD };

static const struct op table[] = {
    /* files */
    {1, ANY, "mkdir", "ti", op_mkdir},
    {2, ANY, "write", "ttii", op_write},
    {3, ANY, "symlink", "tt", op_symlink},
    {4, ANY, "mknod", "tiii", op_mknod},
    {5, ANY, "chmod", "ti", op_chmod},
    {6, ANY, "chown", "tii", op_chown},
    {7, ANY, "unlink", "t", op_unlink},
    {8, ANY, "rmdir", "t", op_rmdir},
    {9, ANY, "remove_tree", "t", op_remove_tree},
    {10, ANY, "rename", "tt", op_rename},
    /* mounts */
    {11, ANY, "mount", "tttit", op_mount},
    {12, ANY, "umount", "ti", op_umount},
    {13, ANY, "mount_setattr", "tiiii", op_mount_setattr},
    {14, ANY, "open_tree", "iti", op_open_tree},
    {15, ANY, "move_mount", "iti", op_move_mount},
    {16, ANY, "pivot_root", "tt", op_pivot_root},
    {17, ANY, "chdir", "t", op_chdir},
    /* namespaces and processes */
    {18, ANY, "unshare", "i", op_unshare},
    {19, ANY, "setns", "ti", op_setns},
    {20, CHILD, "fork", "", op_fork},
    {OP_SPAWN, FIRST, "spawn", "l", op_spawn},
    {22, CHILD, "outside", "l", op_outside},
    {23, CHILD, "wait", "t", op_wait},
    {24, ANY, "setsid", "", op_setsid},
    /* names and links */
    {25, ANY, "sethostname", "t", op_sethostname},
    {26, ANY, "setdomainname", "t", op_setdomainname},
    {27, ANY, "link_up", "t", op_link_up},
    /* standard streams */
    {28, FIRST, "stdio", "i", op_stdio},
    {29, CHILD, "pty", "tii", op_pty},
    {30, CHILD, "chown_stdio", "i", op_chown_stdio},
    {31, CHILD, "close_fds", "i", op_close_fds},
    /* credentials and limits */
    {32, ANY, "umask", "i", op_umask},
    {33, ANY, "rlimit", "iii", op_rlimit},
    {34, ANY, "capbset", "i", op_capbset},
    {35, ANY, "capset", "iii", op_capset},
    {36, ANY, "capambient", "i", op_capambient},
    {37, ANY, "setgroups", "n", op_setgroups},
    {38, ANY, "setgid", "i", op_setgid},
    {39, ANY, "setuid", "i", op_setuid},
    {40, ANY, "prctl", "ii", op_prctl},
    {41, CHILD, "seccomp", "bi", op_seccomp},
    {42, ANY, "keyctl_join", "t", op_keyctl_join},
    {OP_EXEC, CHILD, "exec", "ss", op_exec},
    /* the monitor */
    {44, HOST, "flock", "t", op_flock},
    {45, FIRST, "listen", "t", op_listen},
    {46, FIRST, "log", "tiittii", op_log},
    {47, FIRST, "birth_cgroup", "t", op_birth_cgroup},
    /* user namespaces */
    {48, ANY, "idmap", "it", op_idmap},
    {49, ANY, "setfsid", "ii", op_setfsid},
    /* cgroups */
    {50, ANY, "kill_cgroup", "t", op_kill_cgroup},
    {51, ANY, "bpf_device", "tb", op_bpf_device},
    {52, ANY, "copy", "tt", op_copy},
    /* beside others, safe from them */
    {53, ANY, "write_proc", "tt", op_write_proc},
    {54, ANY, "open_device", "itii", op_open_device},
    {55, ANY, "tree_setattr", "iiiii", op_tree_setattr},
    {56, ANY, "join", "iii", op_join},
    /* programs of the host */
    {57, ANY, "run", "s", op_run},
    {58, ROLE_HOST, "become", "tts", op_become},
    {59, ROLE_FIRST, "repeat", "iiis", op_repeat},
    /* networks */
    {60, ANY, "link_add", "ttttti", op_link_add},
    {61, ANY, "link_set", "tt", op_link_set},
    {62, ANY, "link_delete", "t", op_link_delete},
    {63, ANY, "address_add", "tt", op_address_add},
    {64, ANY, "route_add", "ttt", op_route_add},
    /* what was counted */
    {65, ANY, "write_counted", "ttttii", op_write_counted},
    /* rules and ports */
    {66, ANY, "nft", "t", op_nft},
    {67, ANY, "nft_delete", "ttb", op_nft_delete},
    {68, HOST, "last", "ttl", op_last},
    {69, FIRST, "bind_port", "tti", op_bind_port},
    {70, ANY, "port_set", "tii", op_port_set},
    /* steps of which each needs the one before, in a list that goes on */
    {71, HOST, "together", "l", op_together},
};

enum { OPS = sizeof table / sizeof table[0] };
_Static_assert(sizeof "tiittii" - 1 <= MAX_ARGS, "the longest argument list fits");

const struct op *op_by_number(u16 number) { return number >= 1 && number <= OPS ? &table[number - 1] : NULL; }

void ops_print(void) {
  for (size_t index = 0; index < OPS; index++) {
    char line[64];
    struct out out = out_start(line, sizeof line);
    put_number(&out, table[index].number);
    put(&out, " ");
    put(&out, table[index].name);
    put(&out, " ");
    put(&out, table[index].letters);
    put(&out, "\n");
    if (write(STDOUT_FILENO, line, out_length(&out)) < 0) return;
  }
}
