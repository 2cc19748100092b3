/** Docker's content trust: images signed with Notary. tsbox has none of it, and says so to whoever asks for it. */
import { FLAG_ERROR, type FlagTable, UsageError } from './args.ts';

/** Accepted because scripts for Docker give it; it says what is the case. */
export const CONTENT_TRUST_FLAG = {
  'disable-content-trust': { kind: 'bool', default: true, help: 'Do without signatures' },
} as const satisfies FlagTable;

/** @throws UsageError for `--disable-content-trust=false` */
export function refuseContentTrust(disabled: boolean): void {
  if (!disabled) throw new UsageError('--disable-content-trust=false: content trust is not supported', FLAG_ERROR);
}
