/* Files of an archive that are nothing special, many in one call: for src/sys/plain.ts. Nothing is kept from one call to the next. */
#ifndef TSBOX_PLAIN_H
#define TSBOX_PLAIN_H

#include <stdint.h>

#define PLAIN_ENTRIES 512
/* Larger ones are written in pieces by whoever called. */
#define PLAIN_MOST_BYTES 0x10000
/* Raw bytes before the first header, at the most. */
#define PLAIN_MOST_RAW 4096
/* A header has room for 256 bytes of a name. */
#define PLAIN_NAME 264

/* Why it ended. */
enum plain_end {
  PLAIN_OTHER = 0,      /* the next entry is for the caller */
  PLAIN_DIRECTORY = 1,  /* the next one is in another directory: `parent` */
  PLAIN_OPERATIONS = 2, /* there is no room for its operations, */
  PLAIN_LINES = 3,      /* for its lines, */
  PLAIN_TABLE = 4,      /* in the table */
};

struct plain_entry {
  uint32_t data;       /* where its data ends in the chunk */
  uint32_t next;       /* and its padding */
  uint32_t operations; /* where its operations end, */
  uint32_t lines;      /* and its lines */
  uint32_t size;
};

/* What is given and what comes back. */
struct plain_run {
  uint32_t from, to; /* in the chunk; a header is at `from` */
  uint32_t operations, operations_size;
  uint32_t lines, lines_size;
  uint32_t raw;      /* bytes since the last line */
  uint32_t position; /* of the next line */
  int32_t directory_fd;
  uint32_t directory_length;
  uint32_t chown, given; /* give the archive's owner; but not where it is the given one */
  uint32_t uid, gid;     /* the given one */
  uint32_t umask;
  uint32_t most_entries;
  double most_bytes; /* of all files together */

  uint32_t count;
  uint32_t end;
  uint32_t names_length;
  uint32_t parent_length;
  struct plain_entry entries[PLAIN_ENTRIES];
  char directory[PLAIN_NAME];
  char parent[PLAIN_NAME];
  char names[PLAIN_ENTRIES * PLAIN_NAME]; /* a line feed behind each */
};

/*
 * Takes regular files as long as they are whole in the chunk, in the directory, and without anything that asks for a decision. For each:
 * operations of writer.h; lines of tar-split for its header with the raw bytes before it, and for its data. `raw` has room for a
 * header behind those bytes. All lines end before `data` of the last entry: from there the next raw bytes begin.
 */
void tsbox_plain(struct plain_run *run, const uint8_t *chunk, char *operations, char *lines, uint8_t *raw);

#endif
