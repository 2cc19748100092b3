/** Linux signals. @see signal(7) */

import { TsboxError } from '../errors.ts';

const NUMBERS: Readonly<Record<string, number>> = {
  HUP: 1,
  INT: 2,
  QUIT: 3,
  ILL: 4,
  TRAP: 5,
  ABRT: 6,
  BUS: 7,
  FPE: 8,
  KILL: 9,
  USR1: 10,
  SEGV: 11,
  USR2: 12,
  PIPE: 13,
  ALRM: 14,
  TERM: 15,
  STKFLT: 16,
  CHLD: 17,
  CONT: 18,
  STOP: 19,
  TSTP: 20,
  TTIN: 21,
  TTOU: 22,
  URG: 23,
  XCPU: 24,
  XFSZ: 25,
  VTALRM: 26,
  PROF: 27,
  WINCH: 28,
  IO: 29,
  PWR: 30,
  SYS: 31,
};

const SIGRTMIN = 34;
const SIGRTMAX = 64;

/** All signal names without `SIG`, by number. */
export const SIGNALS: ReadonlyMap<string, number> = new Map(Object.entries(NUMBERS));

/** Number of `SIGTERM`, `TERM`, `term`, `15`, `RTMIN+3`, `RTMAX-1`. @throws ERR_TSBOX_USAGE on anything else */
export function parseSignal(text: string): number {
  const invalid = () => new TsboxError('ERR_TSBOX_USAGE', `invalid signal: ${text}`);
  if (/^\d+$/.test(text)) {
    const number = Number(text);
    if (number < 1 || number > SIGRTMAX) throw invalid();
    return number;
  }
  const name = text.toUpperCase().replace(/^SIG/, '');
  const realtime = /^RT(MIN\+|MAX-)(\d+)$/.exec(name);
  if (realtime !== null) {
    const offset = Number(realtime[2]);
    const number = realtime[1] === 'MIN+' ? SIGRTMIN + offset : SIGRTMAX - offset;
    if (number < SIGRTMIN || number > SIGRTMAX) throw invalid();
    return number;
  }
  if (name === 'RTMIN') return SIGRTMIN;
  if (name === 'RTMAX') return SIGRTMAX;
  const number = SIGNALS.get(name);
  if (number === undefined) throw invalid();
  return number;
}

/** `SIGTERM` for 15; `SIG41` for a number without a name. */
export function signalName(number: number): string {
  for (const [name, value] of SIGNALS) if (value === number) return `SIG${name}`;
  return `SIG${number}`;
}
