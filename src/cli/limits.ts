/** Limits as users write them. */
import { FLAG_ERROR, UsageError } from './args.ts';

const UNITS = ['', 'k', 'm', 'g', 't'];

/** A whole number; with `units` also `512m`, `100g`, `1.5t`, powers of 1024 as Docker has them.
 *  @throws UsageError naming the flag */
export function parseLimit(flag: string, text: string, units = false): number {
  const match = /^(\d+(?:\.\d+)?)(?:([kmgt]?)i?b?)?$/i.exec(text.trim());
  const [, number = '', unit = ''] = match ?? [];
  const value = Math.floor(Number(number) * 1024 ** UNITS.indexOf(unit.toLowerCase()));
  const plain = /^\d+$/.test(text.trim());
  if (match !== null && (units || plain) && value > 0 && Number.isSafeInteger(value)) return value;
  const example = units ? 'a size like 100g' : 'a number above 0';
  throw new UsageError(`invalid argument ${JSON.stringify(text)} for "--${flag}" flag: not ${example}`, FLAG_ERROR);
}
