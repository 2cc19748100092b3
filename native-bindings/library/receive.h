/* A descriptor that another process sends, for src/union/fusermount.ts. */
#ifndef TSBOX_RECEIVE_H
#define TSBOX_RECEIVE_H

/* Waits for one message on a Unix socket. Returns the descriptor that came with it, close-on-exec, or -1 with errno: ENODATA when none came. */
int tsbox_receive_descriptor(int socket);

#endif
