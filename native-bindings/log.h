/* The container's log, as Docker's json-file or local driver keeps it, rotated by size. log.c makes entries of bytes; log_form.c gives an
 * entry its form; log_file.c has the files; log_ring.c stands between when the container must not wait. */
#pragma once

#include <time.h>

#include "base.h"

enum { LOG_STDOUT, LOG_STDERR, LOG_STREAMS };
enum log_form { LOG_JSON_FILE, LOG_LOCAL };

struct log_config {
  const char *path;
  i64 max_size;  /* bytes; -1: never rotated */
  i64 max_files; /* with the file itself */
  const char *attrs; /* a JSON object that each entry of json-file gets as it is, empty for none */
  i64 form;      /* enum log_form */
  i64 compress;  /* 1: rotated files are made .gz by gzip(1) */
  i64 buffer;    /* bytes that may wait for the disk before entries are thrown away; 0: the container waits and nothing is */
};

/* Starts a log, or goes on with the one that is there. Returns 0 or an errno. */
int log_open(const struct log_config *config);

/* Logs the lines that these bytes complete, all with the present time, and keeps the rest for later. A full disk loses lines,
 * never the container: what could not be written is cut off again, so that the file stays a list of whole entries. */
void log_write(int stream, const u8 *bytes, size_t length);

/* The file is full, and the one before it is still being compressed: nothing should come until that has ended. */
bool log_blocked(void);

/* A child of the monitor has ended, which may have been the log's. */
void log_child_ended(pid_t pid, int status);

/* Logs what is kept: the streams have ended. */
void log_close(void);

/* ---- between the parts */

enum { LOG_ENTRY_MAX = 16384 /* where Docker splits a line */, LOG_ATTRS_MAX = 16384 };

struct log_entry {
  u32 length;
  u8 stream;
  bool last;   /* of a line that was split: its last part */
  u32 ordinal; /* of a line that was split: which part, from 1; 0: it was not */
  struct timespec time;
};

/* log_form.c */
int log_form_open(const struct log_config *config);
/* To the log's file. Thread of nobody: it keeps how far each stream is. */
void log_form_write(const struct log_entry *entry, const u8 *bytes);

/* log_file.c */
int log_file_open(const struct log_config *config);
/* Room for so many bytes, in the file that they belong to: the present one, or a new one when that is full. */
char *log_file_room(size_t length);
void log_file_used(size_t length);
void log_file_flush(void);
bool log_file_blocked(void);
bool log_file_child_ended(pid_t pid, int status);
void log_file_close(void);

/* log_ring.c */
bool log_ring_is_open(void);
int log_ring_open(const struct log_config *config);
void log_ring_put(const struct log_entry *entry, const u8 *bytes);
void log_ring_child_ended(pid_t pid);
/* Returns when all that has been put is written. */
void log_ring_close(void);
