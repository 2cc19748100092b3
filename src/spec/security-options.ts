/** `--security-opt`, as Docker keeps it in `HostConfig.SecurityOpt`. Pure. */
import { TsboxError } from '../errors.ts';

export interface SecurityOptions {
  noNewPrivileges: boolean;
  /** `default`, `builtin`, `unconfined`, or the text of a profile. */
  seccomp: string;
  /** AppArmor's profile; absent when none was named. */
  apparmor?: string;
  /** SELinux: what stood behind `label=`. */
  labels: string[];
}

function wrong(kind: 1 | 2, option: string): TsboxError {
  return new TsboxError('ERR_TSBOX_USAGE', `invalid --security-opt ${kind}: ${JSON.stringify(option)}`);
}

/** As Go reads a bool. */
function readBool(text: string): boolean | undefined {
  if (/^(1|t|T|TRUE|true|True)$/.test(text)) return true;
  return /^(0|f|F|FALSE|false|False)$/.test(text) ? false : undefined;
}

/** `name=value`; old Dockers wrote a colon. */
function split(option: string): [name: string, value: string] | undefined {
  const at = option.includes('=') ? option.indexOf('=') : option.indexOf(':');
  return at < 0 ? undefined : [option.slice(0, at), option.slice(at + 1)];
}

/** The later of two options wins. @throws ERR_TSBOX_USAGE, in Docker's words */
export function securityOptions(given: readonly string[]): SecurityOptions {
  const options: SecurityOptions = { noNewPrivileges: false, seccomp: 'default', labels: [] };
  for (const option of given) {
    if (option === 'no-new-privileges') {
      options.noNewPrivileges = true;
      continue;
    }
    const [name, value] = split(option) ?? [];
    if (value === undefined) throw wrong(1, option);
    if (name === 'seccomp') options.seccomp = value;
    else if (name === 'apparmor') options.apparmor = value;
    else if (name === 'label') options.labels.push(value);
    else {
      const bool = name === 'no-new-privileges' ? readBool(value) : undefined;
      if (bool === undefined) throw wrong(2, option);
      options.noNewPrivileges = bool;
    }
  }
  return options;
}
