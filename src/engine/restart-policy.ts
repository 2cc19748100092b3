/** Which container is started again after its end, and when: Docker's rules. Pure. */
import { TsboxError } from '../errors.ts';
import type { HostConfig, RestartPolicy } from '../spec/container.ts';

const DELAY_MIN_MS = 100;
const DELAY_MAX_MS = 60_000;
/** Who has run for so long has come up well: the next delay is the shortest again. */
const STEADY_MS = 10_000;

/** How a run ended, and what was before. */
export interface Ended {
  exitCode: number;
  /** Milliseconds. */
  ran: number;
  /** How often the policy has restarted it already. */
  restarts: number;
  manuallyStopped: boolean;
  /** Milliseconds for which this run had been held back; 0 when somebody started it. */
  delay: number;
}

/** `no`, `on-failure:3`, `always`. The name is held against the known ones by {@link checkRestartPolicy}.
 *  @throws ERR_TSBOX_USAGE in Docker's words */
export function parseRestartPolicy(text: string): RestartPolicy {
  const refused = (message: string) => new TsboxError('ERR_TSBOX_USAGE', message, { exitCode: 125 });
  const [, name = '', count] = /^([^:]*)(?::(.*))?$/s.exec(text) ?? [];
  if (count !== undefined && name === '')
    throw refused('invalid restart policy format: no policy provided before colon');
  if (count && !/^[+-]?\d+$/.test(count)) {
    throw refused('invalid restart policy format: maximum retry count must be an integer');
  }
  return { Name: name, MaximumRetryCount: Number(count || 0) };
}

/** @throws ERR_TSBOX_USAGE in Docker's words */
export function checkRestartPolicy({ Name: name, MaximumRetryCount: count }: RestartPolicy): void {
  const refused = (message: string) => new TsboxError('ERR_TSBOX_USAGE', message);
  if (name === 'on-failure') {
    if (count < 0) throw refused('maximum retry count cannot be negative');
  } else if (['always', 'unless-stopped', 'no'].includes(name)) {
    if (count !== 0) throw refused(`maximum retry count cannot be used with restart policy '${name}'`);
  } else if (name !== '') throw refused(`invalid restart policy '${name}'`);
}

/** Has it a policy that may start it again? */
export function restarts({ RestartPolicy: policy }: Pick<HostConfig, 'RestartPolicy'>): boolean {
  return policy !== undefined && policy !== null && policy.Name !== '' && policy.Name !== 'no';
}

/** Does the policy ask for another run? */
export function wantsRestart(
  { RestartPolicy: policy }: Pick<HostConfig, 'RestartPolicy'>,
  ended: Pick<Ended, 'exitCode' | 'restarts' | 'manuallyStopped'>,
): boolean {
  if (policy?.Name === 'always') return true;
  if (policy?.Name === 'unless-stopped') return !ended.manuallyStopped;
  if (policy?.Name !== 'on-failure') return false;
  const most = policy.MaximumRetryCount ?? 0;
  return ended.exitCode !== 0 && (most === 0 || ended.restarts < most);
}

/** Milliseconds until the next run; undefined when there is none. */
export function nextRestart(hostConfig: Pick<HostConfig, 'RestartPolicy'>, ended: Ended): number | undefined {
  if (!wantsRestart(hostConfig, ended)) return undefined;
  const last = ended.ran >= STEADY_MS ? 0 : ended.delay;
  return last === 0 ? DELAY_MIN_MS : Math.min(last * 2, DELAY_MAX_MS);
}
