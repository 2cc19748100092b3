/** Points in time as Docker's filters take them. Pure but for the caller's time zone. */

const MILLISECONDS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  μs: 1e-3,
  ms: 1,
  s: 1e3,
  m: 60e3,
  h: 3600e3,
};

/** Milliseconds of a length of time as Go writes it (`1h30m`, `-1.5h`); undefined for anything else. */
export function parseDuration(text: string): number | undefined {
  const [, sign, rest = ''] = /^([+-]?)(.*)$/s.exec(text) ?? [];
  const parts = [...rest.matchAll(/(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)/gu)];
  if (parts.length === 0 || parts.map(([part]) => part).join('') !== rest) return undefined;
  const sum = parts.reduce((total, [, count, unit]) => total + Number(count) * MILLISECONDS[unit!]!, 0);
  return sign === '-' ? -sum : sum;
}

/** Of the digits behind a point: nanoseconds. */
const nanoseconds = (digits = '') => BigInt(digits.slice(0, 9).padEnd(9, '0'));
const PER_MILLISECOND = 1_000_000n;

/** A date with or without time and zone; without a zone it is the caller's. @returns nanoseconds since 1970 */
function parseDate(text: string): bigint | undefined {
  const found = /^(\d{4})-(\d\d)-(\d\d)(?:T(\d\d)(?::(\d\d)(?::(\d\d)(?:\.(\d+))?)?)?)?(Z|[+-]\d\d:\d\d)?$/i.exec(text);
  if (found === null) return undefined;
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = found
    .slice(1, 7)
    .map((part) => Number(part ?? 0));
  const utc = Date.UTC(year, month - 1, day, hour, minute, second);
  const back = new Date(utc);
  const exists =
    back.getUTCMonth() === month - 1 && back.getUTCDate() === day && hour < 24 && minute < 60 && second < 60;
  if (!exists) return undefined;
  const exact = (milliseconds: number) => BigInt(milliseconds) * PER_MILLISECOND + nanoseconds(found[7]);
  const zone = found[8];
  if (zone === undefined) return exact(new Date(year, month - 1, day, hour, minute, second).getTime());
  if (/z/i.test(zone)) return exact(utc);
  const [hours = 0, minutes = 0] = zone.slice(1).split(':').map(Number);
  return exact(utc - (zone.startsWith('-') ? -1 : 1) * (hours * 60 + minutes) * 60_000);
}

/** A time as Docker's `until` takes it: so long before `now` (`24h`), a date (`2024-05-01`, `2024-05-01T10:00:00Z`), or seconds since
 *  1970 (`1714557600.5`). Undefined for anything else.
 *  @param now milliseconds since 1970 @returns nanoseconds since 1970 */
export function parseExactTime(text: string, now: number): bigint | undefined {
  const ago = parseDuration(text);
  if (ago !== undefined) return BigInt(now) * PER_MILLISECOND - BigInt(Math.round(ago * 1e6));
  const [, seconds, digits] = /^(\d+)(?:\.(\d+))?$/.exec(text) ?? [];
  if (seconds !== undefined) return BigInt(seconds) * 1_000_000_000n + nanoseconds(digits);
  return parseDate(text);
}

/** As {@link parseExactTime}. @returns milliseconds since 1970 */
export function parseTime(text: string, now: number): number | undefined {
  const time = parseExactTime(text, now);
  return time === undefined ? undefined : Number(time / PER_MILLISECOND) + Number(time % PER_MILLISECOND) / 1e6;
}
