/** Times as Go writes them. */

/** An RFC 3339 time the way it comes out of Go: no zeros at the end of the fraction, `Z` for UTC. Other texts stay as they are. */
export function goTime(text: string): string {
  const found = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)$/.exec(text);
  if (found === null) return text;
  const [, seconds, digits = '', zone] = found;
  const fraction = digits.slice(0, 9).replace(/0+$/, '');
  return `${seconds}${fraction === '' ? '' : `.${fraction}`}${zone === '+00:00' ? 'Z' : zone}`;
}
