/* What the monitor says, as frames with JSON inside. */
#include <string.h>

#include "format.h"
#include "monitor.h"

/* A frame with its payload, put together in one buffer. The longest is a detail of which each byte is escaped. */
struct report {
  u8 bytes[HEADER_SIZE + 256 + DETAIL_SIZE * ESCAPE_MAX];
  struct out out;
};

static void begin(struct report *report) {
  report->out = out_start((char *)report->bytes + HEADER_SIZE, sizeof report->bytes - HEADER_SIZE);
}

static void field(struct report *report, const char *name, i64 value) {
  put(&report->out, out_length(&report->out) == 0 ? "{\"" : ",\"");
  put(&report->out, name);
  put(&report->out, "\":");
  put_number(&report->out, value);
}

static size_t finish(struct report *report, enum frame_type type) {
  put(&report->out, "}");
  size_t length = out_length(&report->out);
  frame_header(report->bytes, type, (u32)length);
  return HEADER_SIZE + length;
}

static void send_report(struct monitor *monitor, struct client *only, struct report *report, enum frame_type type) {
  size_t length = finish(report, type);
  for (int index = 0; index < MAX_CLIENTS; index++) {
    struct client *client = &monitor->clients[index];
    if (client->fd >= 0 && client->hello && (only == NULL || only == client)) client_send(client, report->bytes, length);
  }
}

void report_failure(struct run *run, const struct outcome *outcome) {
  struct report report;
  begin(&report);
  field(&report, "list", outcome->list);
  field(&report, "index", outcome->index);
  field(&report, "errno", outcome->error);
  put(&report.out, outcome->nested ? ",\"nested\":true" : ",\"nested\":false");
  if (outcome->detail[0] != 0) {
    put(&report.out, ",\"detail\":");
    put_json(&report.out, outcome->detail);
  }
  send_report(run->monitor, NULL, &report, FRAME_FAILED);
}

void report_step(struct run *run, const struct outcome *outcome, u64 ns) {
  struct report report;
  begin(&report);
  field(&report, "list", outcome->list);
  field(&report, "index", outcome->index);
  field(&report, "errno", outcome->error);
  field(&report, "ns", (i64)ns);
  send_report(run->monitor, NULL, &report, FRAME_STEP);
}

void report_started(struct monitor *monitor, struct client *only) {
  struct report report;
  begin(&report);
  field(&report, "pid", monitor->run.pid);
  send_report(monitor, only, &report, FRAME_STARTED);
}

void report_waiting(struct monitor *monitor, struct client *only) {
  struct report report;
  begin(&report);
  put(&report.out, "{\"name\":");
  put_json(&report.out, monitor->waiting_name);
  send_report(monitor, only, &report, FRAME_WAITING);
}

void report_exit(struct monitor *monitor, int code, int signal) {
  struct report report;
  begin(&report);
  field(&report, "code", code);
  field(&report, "signal", signal);
  send_report(monitor, NULL, &report, FRAME_EXIT);
}
