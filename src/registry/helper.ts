/** Credential helpers: programs `docker-credential-NAME` that keep passwords. @see github.com/docker/docker-credential-helpers */
import { TsboxError, wrapError } from '../errors.ts';
import { parseUntrustedJson } from '../spec/json.ts';
import type { Credentials } from './auth.ts';
import { plainText } from './refusal.ts';

const MISSING = /credentials not found/i;
/** Milliseconds: a helper may ask its user something. */
const LONGEST = 60_000;

interface Outcome {
  status: number | null;
  output: string;
}

async function run(name: string, action: string, input: string): Promise<Outcome> {
  // The name comes from a file and becomes a part of a program's name.
  if (!/^[\w.-]+$/.test(name)) throw new TsboxError('ERR_TSBOX_SPEC', `invalid credential helper "${plainText(name)}"`);
  const program = `docker-credential-${name}`;
  const { spawn } = await import('node:child_process');
  return new Promise<Outcome>((resolve, reject) => {
    const child = spawn(program, [action], {
      stdio: ['pipe', 'pipe', 'inherit'],
      signal: AbortSignal.timeout(LONGEST),
    });
    const chunks: Buffer[] = [];
    child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
    // A helper that does not read its input has its own way to say so.
    child.stdin.on('error', () => {});
    child.on('error', (error: NodeJS.ErrnoException) => {
      if (error.name === 'AbortError') {
        const message = `run ${program} ${action}: no answer for ${LONGEST / 1000} s`;
        return reject(new TsboxError('ERR_TSBOX_REGISTRY', message, { cause: error }));
      }
      const hint = `config.json names this credential helper. Install ${program}, or remove it from credsStore and credHelpers.`;
      const text = error.code === 'ENOENT' ? 'ENOENT (No such file or directory)' : error.message;
      reject(new TsboxError('ERR_TSBOX_NOT_FOUND', `run ${program}: ${text}`, { hint, cause: error }));
    });
    child.on('close', (status) => resolve({ status, output: Buffer.concat(chunks).toString() }));
    child.stdin.end(input);
  });
}

function failure(name: string, action: string, { status, output }: Outcome): TsboxError {
  const said = plainText(output) || `exit status ${status}`;
  return new TsboxError('ERR_TSBOX_REGISTRY', `run docker-credential-${name} ${action}: ${said}`);
}

/** What the helper has for a server; undefined when it has nothing. @throws when it cannot be run or fails otherwise */
export async function helperGet(name: string, server: string): Promise<Credentials | undefined> {
  const outcome = await run(name, 'get', server);
  if (outcome.status !== 0) {
    if (MISSING.test(outcome.output)) return undefined;
    throw failure(name, 'get', outcome);
  }
  let answer: unknown;
  try {
    answer = parseUntrustedJson(Buffer.from(outcome.output), 'read its answer');
  } catch (error) {
    throw wrapError(`run docker-credential-${name} get`, error);
  }
  const { Username: username, Secret: secret } = (answer ?? {}) as Record<string, unknown>;
  if (typeof secret !== 'string' || secret === '') return undefined;
  if (username === '<token>') return { identityToken: secret };
  return typeof username === 'string' ? { username, password: secret } : undefined;
}

export async function helperStore(name: string, server: string, credentials: Credentials): Promise<void> {
  const [username, secret] =
    'username' in credentials ? [credentials.username, credentials.password] : ['<token>', credentials.identityToken];
  const outcome = await run(name, 'store', JSON.stringify({ ServerURL: server, Username: username, Secret: secret }));
  if (outcome.status !== 0) throw failure(name, 'store', outcome);
}

/** @returns whether there was something to erase */
export async function helperErase(name: string, server: string): Promise<boolean> {
  const outcome = await run(name, 'erase', server);
  if (outcome.status !== 0 && !MISSING.test(outcome.output)) throw failure(name, 'erase', outcome);
  return outcome.status === 0;
}
