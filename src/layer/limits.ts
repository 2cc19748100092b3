/** What is said about an archive that is larger than it may be. */
import { TsboxError } from '../errors.ts';

/** @param option of tsbox, by which the limit is raised */
export function overLimit(message: string, option: string): TsboxError {
  return new TsboxError('ERR_TSBOX_LIMIT', message, {
    hint: `It may be made to fill the disk. If you trust it, raise the limit: tsbox ${option} ...`,
  });
}
