/** Sizes, ages and dates as Docker writes them. Pure but for the caller's time zone. */

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB', 'PB', 'EB'];

const BINARY_UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB'];

/** `77.9MB`: powers of 1000, at most `digits` significant digits. */
export function humanSize(bytes: number, digits = 4): string {
  return scaled(bytes, 1000, UNITS, digits);
}

/** `64MiB`: powers of 1024. */
export function binarySize(bytes: number): string {
  return scaled(bytes, 1024, BINARY_UNITS, 4);
}

function scaled(bytes: number, base: number, units: readonly string[], digits: number): string {
  let size = bytes;
  let unit = 0;
  while (size >= base && unit < units.length - 1) {
    size /= base;
    unit++;
  }
  return `${significant(size, digits)}${units[unit]}`;
}

/** C's `%.<digits>g`, for numbers from 0 to 1024. */
function significant(number: number, digits: number): string {
  const text = number.toPrecision(digits);
  const plain = text.includes('e') ? String(Math.round(number)) : text;
  return plain.includes('.') ? plain.replace(/\.?0+$/, '') : plain;
}

const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const WEEK = 7 * DAY;
const MONTH = 30 * DAY;
const YEAR = 365 * DAY;

/** `5 minutes`, `About an hour`: a length of time in the one unit that says enough. */
export function humanDuration(seconds: number): string {
  const whole = Math.floor(seconds);
  if (whole < 1) return 'Less than a second';
  if (whole === 1) return '1 second';
  if (whole < MINUTE) return `${whole} seconds`;
  const minutes = Math.floor(whole / MINUTE);
  if (minutes === 1) return 'About a minute';
  if (minutes < 60) return `${minutes} minutes`;
  const hours = Math.round(whole / HOUR);
  if (hours === 1) return 'About an hour';
  if (hours < 48) return `${hours} hours`;
  if (hours * HOUR < 2 * WEEK) return `${Math.floor((hours * HOUR) / DAY)} days`;
  if (hours * HOUR < 2 * MONTH) return `${Math.floor((hours * HOUR) / WEEK)} weeks`;
  if (hours * HOUR < 2 * YEAR) return `${Math.floor((hours * HOUR) / MONTH)} months`;
  return `${Math.floor((hours * HOUR) / YEAR)} years`;
}

/** `5 minutes ago`; `N/A` for a time that is not known.
 *  @param time RFC 3339
 *  @param now milliseconds since 1970 */
export function humanAge(time: string, now: number): string {
  const then = Date.parse(time);
  if (Number.isNaN(then) || time.startsWith('0001-')) return 'N/A';
  return `${humanDuration((now - then) / 1000)} ago`;
}

/** `2024-05-01 12:30:00 +0200 CEST`: a time as Go prints it, in the caller's time zone. */
export function localTime(time: string): string {
  const date = new Date(time);
  if (Number.isNaN(date.getTime())) return time;
  const { day, clock, zone } = localParts(date);
  return `${day} ${clock} ${zone.join('')} ${date.getTimezoneOffset() === 0 ? 'UTC' : zoneName(date)}`;
}

/** `2024-05-01T12:30:00.123456789+02:00`: as the next, with the nanoseconds of the time that was given. */
export function localTimeWithNanoseconds(time: string): string {
  const digits = (/\.(\d+)/.exec(time)?.[1] ?? '').padEnd(9, '0').slice(0, 9);
  return localRfc3339(time).replace(/(T..:..:..)/, `$1.${digits}`);
}

/** `2024-05-01T12:30:00+02:00`: RFC 3339 in the caller's time zone, which may be `Z`. */
export function localRfc3339(time: string): string {
  const date = new Date(time);
  if (Number.isNaN(date.getTime())) return time;
  const { day, clock, zone } = localParts(date);
  return `${day}T${clock}${date.getTimezoneOffset() === 0 ? 'Z' : zone.join(':')}`;
}

function localParts(date: Date): { day: string; clock: string; zone: [string, string] } {
  const two = (number: number) => String(number).padStart(2, '0');
  const offset = -date.getTimezoneOffset();
  return {
    day: `${String(date.getFullYear()).padStart(4, '0')}-${two(date.getMonth() + 1)}-${two(date.getDate())}`,
    clock: `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`,
    zone: [`${offset < 0 ? '-' : '+'}${two(Math.floor(Math.abs(offset) / 60))}`, two(Math.abs(offset) % 60)],
  };
}

function zoneName(date: Date): string {
  const parts = new Intl.DateTimeFormat('en', { timeZoneName: 'short' }).formatToParts(date);
  return parts.find(({ type }) => type === 'timeZoneName')?.value ?? '';
}

/** At most `length` characters, the last one an ellipsis when something was cut off. */
export function ellipsis(text: string, length: number): string {
  if (text.length <= length) return text;
  const characters = [...text];
  if (characters.length <= length) return text;
  return length <= 1 ? characters.slice(0, length).join('') : `${characters.slice(0, length - 1).join('')}…`;
}

/** The twelve characters that stand for an id: `sha256:3b1d...` is `3b1d..`. */
export function shortId(id: string): string {
  return id.replace(/^sha256:/, '').slice(0, 12);
}
