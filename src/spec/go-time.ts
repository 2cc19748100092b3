/** Times as Go writes them. */

/** An RFC 3339 time the way it comes out of Go: no zeros at the end of the fraction, `Z` for UTC. Other texts stay as they are. */
export function goTime(text: string): string {
  const found = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)$/.exec(text);
  if (found === null) return text;
  const [, seconds, digits = '', zone] = found;
  const fraction = digits.slice(0, 9).replace(/0+$/, '');
  return `${seconds}${fraction === '' ? '' : `.${fraction}`}${zone === '+00:00' ? 'Z' : zone}`;
}

/** An RFC 3339 time as Go prints a time.Time: `2024-05-01 10:00:00.5 +0000 UTC`. Other texts stay as they are. */
export function goTimeText(text: string): string {
  const [, date, time, zone] = /^(.{10})T([\d:.]+)(Z|[+-]\d\d:\d\d)$/.exec(goTime(text)) ?? [];
  if (zone === undefined) return text;
  const offset = zone.replace(':', '');
  return `${date} ${time} ${zone === 'Z' ? '+0000 UTC' : `${offset} ${offset}`}`;
}
