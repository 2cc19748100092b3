/* What the child says, and how it ended. */
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "format.h"
#include "log.h"
#include "monitor.h"

static void fail(struct monitor *monitor, const struct outcome *outcome) {
  if (monitor->failed) return;
  monitor->failed = true;
  report_failure(&monitor->run, outcome);
}

void monitor_fail_host(struct monitor *monitor) {
  monitor->host_failed = true;
  monitor->started = false;
  fail(monitor, &monitor->run.outcome);
  if (monitor->run.pid > 0) kill(monitor->run.pid, SIGKILL);
}

void channel_answer(struct monitor *monitor, i32 answer) {
  send(monitor->channel, &answer, sizeof answer, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* The rest of the list is run by a child of this process that was made by the present one, which ends at once. */
static void take_over(struct monitor *monitor, pid_t pid) {
  if (monitor->run.pid > 0) waitpid(monitor->run.pid, NULL, 0);
  monitor->run.pid = pid;
  if (monitor->host_failed) kill(pid, SIGKILL);
}

static void run_outside(struct monitor *monitor, u32 list) {
  struct run *run = &monitor->run;
  bool known = list > 1 && list < run->plan->lists && run->plan->role[list] == ROLE_HOST; /* 1 is cleanup: not the child's to ask for */
  int error = known ? run_list(run, list) : EINVAL;
  if (error != 0) monitor->outside = run->outcome;
  channel_answer(monitor, error);
}

static void child_failed(struct monitor *monitor, const struct outcome *outcome) {
  if (!monitor->failed && outcome->nested) report_failure(&monitor->run, &monitor->outside);
  fail(monitor, outcome);
}

static void handle(struct monitor *monitor, struct packet *packet, pid_t sender, int fd) {
  struct outcome *outcome = &packet->outcome;
  outcome->detail[DETAIL_SIZE - 1] = 0;
  if (packet->kind == 'P') take_over(monitor, sender);
  else if (packet->kind == 'Q') channel_answer(monitor, monitor->run.pid);
  else if (packet->kind == 'O') run_outside(monitor, outcome->list);
  else if (packet->kind == 'S') report_step(&monitor->run, outcome, packet->ns);
  else if (packet->kind == 'E') child_failed(monitor, outcome);
  else if (packet->kind == 'T') terminal_take(monitor, fd);
  else if (packet->kind == 'W') {
    monitor->waiting = true;
    memcpy(monitor->waiting_name, outcome->detail, DETAIL_SIZE);
    report_waiting(monitor, NULL);
  } else if (packet->kind == 'X') {
    monitor->exec_begun = true;
    monitor->exec_since = packet->ns;
    monitor->exec_step = *outcome;
  }
}

static void started(struct monitor *monitor) {
  monitor->started = true;
  monitor->waiting = false;
  monitor->input.known = true;
  if ((monitor->run.plan->flags & PLAN_TRACE) != 0)
    report_step(&monitor->run, &monitor->exec_step, now_ns() - monitor->exec_since);
  if (!monitor->preparing) report_started(monitor, NULL);
}

/* The last descriptor of the child's end is closed: exec has happened, or nobody is left. */
static void channel_closed(struct monitor *monitor) {
  close(monitor->channel);
  monitor->channel = -1;
  if (monitor->exec_begun && !monitor->failed) started(monitor);
  monitor_reap(monitor);
}

void channel_read(struct monitor *monitor) {
  while (monitor->channel >= 0) {
    struct packet packet = {0};
    struct iovec data = {.iov_base = &packet, .iov_len = sizeof packet};
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(sizeof(int))];
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct ucred sender = {0};
    int fd = -1;
    ssize_t got = recvmsg(monitor->channel, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) {
      channel_closed(monitor);
      return;
    }
    for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header != NULL; header = CMSG_NXTHDR(&message, header)) {
      if (header->cmsg_type == SCM_CREDENTIALS) memcpy(&sender, CMSG_DATA(header), sizeof sender);
      if (header->cmsg_type == SCM_RIGHTS) memcpy(&fd, CMSG_DATA(header), sizeof fd);
    }
    if (got != sizeof packet) packet.kind = 0;
    handle(monitor, &packet, sender.pid, fd);
    if (fd >= 0 && packet.kind != 'T') close(fd);
  }
}

/* While the channel is open a process that ends may have left another behind that goes on (`fork`), so nothing is decided then. */
void monitor_reap(struct monitor *monitor) {
  int status;
  pid_t pid;
  if (monitor->channel >= 0) return;
  while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
    if (pid == monitor->repeat_pid) repeat_ended(monitor, status);
    if (pid != monitor->run.pid) {
      log_child_ended(pid, status);
      continue;
    }
    monitor->reaped = true;
    monitor->status = status;
  }
  if (!monitor->reaped || monitor->started || monitor->failed) return;
  struct outcome outcome = {.list = 0};
  struct out detail = out_start(outcome.detail, sizeof outcome.detail);
  put(&detail, "the process ended before exec");
  if (WIFSIGNALED(monitor->status)) {
    put(&detail, ", killed by signal ");
    put_number(&detail, WTERMSIG(monitor->status));
  }
  fail(monitor, &outcome);
}
