/* The caller's terminal, as src/cli/attached.ts and src/sys/terminal.ts treat it. */
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "replay.h"

enum { FIRST_KEY = 'P' & 0x1f, SECOND_KEY = 'Q' & 0x1f };

static struct termios before;
static bool taken;

bool window_size(u16 *rows, u16 *columns) {
  struct winsize size;
  for (int fd = STDOUT_FILENO; fd >= STDIN_FILENO; fd--)
    if (ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_row != 0 && size.ws_col != 0) {
      *rows = size.ws_row;
      *columns = size.ws_col;
      return true;
    }
  return false;
}

void raw_again(void) {
  struct termios raw = before;
  if (!taken) return;
  cfmakeraw(&raw);
  tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
}

void raw_begin(void) {
  taken = tcgetattr(STDIN_FILENO, &before) == 0;
  raw_again();
}

void raw_end(void) {
  if (taken) tcsetattr(STDIN_FILENO, TCSADRAIN, &before);
  taken = false;
}

size_t keys_scan(struct keys *keys, u8 *to, const u8 *typed, size_t length, bool *detached) {
  size_t count = 0;
  *detached = false;
  for (size_t at = 0; at < length; at++) {
    if (keys->first && typed[at] == SECOND_KEY) {
      *detached = true;
      return count;
    }
    if (keys->first) to[count++] = FIRST_KEY;
    keys->first = typed[at] == FIRST_KEY;
    if (!keys->first) to[count++] = typed[at];
  }
  return count;
}
