/** What `--userns` may say beside the name of a user. */
import { TsboxError } from '../errors.ts';

const FAILED = 125;
const DEFAULT_SIZE = 65536;
/** The largest id but one: the last means "none". */
const MAX_SIZE = 2 ** 32 - 2;

export function isAuto(mode: string | undefined): mode is string {
  return mode !== undefined && /^auto(:|$)/.test(mode);
}

/** How many ids are asked for. @throws ERR_TSBOX_USAGE, ERR_TSBOX_UNSUPPORTED */
export function autoSize(mode: string): number {
  const options = mode === 'auto' ? [] : mode.slice('auto:'.length).split(',');
  let size = DEFAULT_SIZE;
  for (const option of options) {
    const [name, value = ''] = option.split('=', 2);
    if (name === 'uidmapping' || name === 'gidmapping') {
      throw new TsboxError('ERR_TSBOX_UNSUPPORTED', `--userns auto:${name}: not supported`, { exitCode: FAILED });
    }
    const number = /^\d+$/.test(value) ? Number(value) : 0;
    if (name !== 'size' || number < 1 || number > MAX_SIZE) {
      const message = `invalid option ${JSON.stringify(option)} in --userns ${mode}`;
      throw new TsboxError('ERR_TSBOX_USAGE', message, { exitCode: FAILED, hint: 'It is auto, or auto:size=65536.' });
    }
    size = number;
  }
  return size;
}

/** What podman has and Docker has not. @throws ERR_TSBOX_UNSUPPORTED */
export function checkMode(mode: string): void {
  if (!/^(keep-id|nomap|private)(:|$)|^(ns|container):/.test(mode)) return;
  const hint = 'It is host, auto, auto:size=N, or a user whose subordinate ids are used.';
  throw new TsboxError('ERR_TSBOX_UNSUPPORTED', `--userns ${mode}: not supported`, { exitCode: FAILED, hint });
}
