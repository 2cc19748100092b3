/**
 * The terminal of the caller: raw mode, hidden input, window size. Node's own raw mode leaves output processing on, which puts a
 * carriage return before each line feed that a full-screen program in the container has sent on purpose.
 * @see termios(3), ioctl_tty(2)
 */
import { bind, check } from './ffi.ts';

const tcgetattr = bind('int', 'tcgetattr', ['int', 'void *']);
const tcsetattr = bind('int', 'tcsetattr', ['int', 'int', 'const void *']);
const cfmakeraw = bind('void', 'cfmakeraw', ['void *']);
const ioctl = bind('int', 'ioctl', ['int', 'unsigned long', 'void *']);

/** Larger than glibc's and musl's `struct termios` (60 bytes). */
const TERMIOS_SIZE = 128;
const TCSADRAIN = 1;
/** `c_lflag` in `struct termios`. */
const LOCAL_MODES = 12;
const ECHO = 0o10;
const TIOCGWINSZ = 0x5413;

/** What a terminal is set to; only good for `restoreTerminal`. */
export type TerminalSettings = Buffer;

/** Raw mode: every byte comes as it is typed and goes as it is written. Waits until earlier output is out.
 *  @returns the settings to restore
 *  @throws SyscallError ENOTTY when `fd` is no terminal */
export function makeRaw(fd: number): TerminalSettings {
  const before = Buffer.alloc(TERMIOS_SIZE);
  check(tcgetattr(fd, before), 'tcgetattr', () => `get the settings of terminal ${fd}`);
  const raw = Buffer.from(before);
  cfmakeraw(raw);
  check(tcsetattr(fd, TCSADRAIN, raw), 'tcsetattr', () => `set terminal ${fd} to raw mode`);
  return before;
}

/** What is typed is not shown from here on; lines are edited as before.
 *  @returns the settings to restore
 *  @throws SyscallError ENOTTY when `fd` is no terminal */
export function hideInput(fd: number): TerminalSettings {
  const before = Buffer.alloc(TERMIOS_SIZE);
  check(tcgetattr(fd, before), 'tcgetattr', () => `get the settings of terminal ${fd}`);
  const hidden = Buffer.from(before);
  hidden.writeUInt32LE((hidden.readUInt32LE(LOCAL_MODES) & ~ECHO) >>> 0, LOCAL_MODES);
  check(tcsetattr(fd, TCSADRAIN, hidden), 'tcsetattr', () => `hide the input of terminal ${fd}`);
  return before;
}

/** Does nothing when the terminal is gone. May be called more than once. */
export function restoreTerminal(fd: number, settings: TerminalSettings): void {
  tcsetattr(fd, TCSADRAIN, settings);
}

/** Rows and columns; `undefined` when `fd` is no terminal or does not know. */
export function windowSize(fd: number): { rows: number; columns: number } | undefined {
  const size = Buffer.alloc(8);
  if (ioctl(fd, TIOCGWINSZ, size) === -1) return undefined;
  const [rows, columns] = [size.readUInt16LE(0), size.readUInt16LE(2)];
  return rows === 0 || columns === 0 ? undefined : { rows, columns };
}
