/** Values of the flags of limits, read as Docker reads them. Pure. */

const UNITS = ['k', 'm', 'g', 't', 'p'];

/** Bytes for `512`, `64m`, `1.5 GiB`: powers of 1024. @throws Error with the reason */
export function parseBytes(text: string): number {
  const [, number = '', suffix = ''] = /^(.*[0-9. ])?([^0-9. ]*)$/s.exec(text) ?? [];
  if (number === '') throw new Error(`invalid size: '${text}'`);
  const digits = number.endsWith(' ') ? number.slice(0, -1) : number;
  if (!/^[+-]?(\d+\.?\d*|\.\d+)$/.test(digits)) {
    throw new Error(`strconv.ParseFloat: parsing ${JSON.stringify(digits)}: invalid syntax`);
  }
  const size = Number(digits);
  if (size < 0) throw new Error(`invalid size: '${text}'`);
  const unit = suffix.toLowerCase();
  if (unit === '' || unit === 'b') return Math.trunc(size);
  const power = UNITS.indexOf(unit[0]!);
  if (power < 0 || !['', 'b', 'ib'].includes(unit.slice(1))) throw new Error(`invalid suffix: '${unit}'`);
  return Math.trunc(size * 1024 ** (power + 1));
}
