/** `--security-opt` on the command line: a seccomp profile is read here, and its text is what the engine gets. */
import { readFileSync } from 'node:fs';
import type { ContainerRequest } from '../engine/api.ts';
import { TsboxError } from '../errors.ts';
import { FLAG_ERROR } from './args.ts';

type Request = Pick<ContainerRequest, 'securityOpt' | 'systemPaths'>;

/** These name no file. */
const PROFILES = ['builtin', 'default', 'unconfined'];

function wrong(message: string, cause?: unknown): TsboxError {
  const details = { exitCode: FLAG_ERROR };
  return new TsboxError('ERR_TSBOX_USAGE', message, cause === undefined ? details : { ...details, cause });
}

const reason = (error: unknown) => (error instanceof Error ? error.message : String(error));

/** The file without its white space, as Docker keeps it. */
function profileText(path: string): string {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw wrong(`opening seccomp profile (${path}) failed: ${reason(error)}`, error);
  }
  try {
    return JSON.stringify(JSON.parse(text));
  } catch (error) {
    throw wrong(`compacting json for seccomp profile (${path}) failed: ${reason(error)}`, error);
  }
}

/** @throws TsboxError on what is no option, and on a profile that cannot be read */
export function securityRequest(given: readonly string[]): Request {
  const request: Request = { securityOpt: [] };
  const options: string[] = [];
  for (const option of given) {
    const [, name = option, value = ''] = /^([^=:]*)[=:](.*)$/s.exec(option) ?? [];
    if (value === '' && option !== 'no-new-privileges')
      throw wrong(`Invalid --security-opt: ${JSON.stringify(option)}`);
    if (option === 'systempaths=unconfined') request.systemPaths = 'unconfined';
    else if (name === 'seccomp' && !PROFILES.includes(value)) options.push(`seccomp=${profileText(value)}`);
    else options.push(option);
  }
  return { ...request, securityOpt: options };
}
