/** `tsbox login` */
import { isatty } from 'node:tty';
import type { Credentials, LoginServer } from '../engine/login.ts';
import { TsboxError } from '../errors.ts';
import { UsageError } from './args.ts';
import { command } from './command.ts';
import { complain, print } from './output.ts';

const notice = (text: string): void => complain(`${text}\n`);

export const verb = command({
  usage: '[OPTIONS] [SERVER]',
  summary: 'Log in to a registry, Docker Hub when none is named',
  count: [0, 1],
  flags: {
    password: { kind: 'string', short: 'p', help: 'Password or access token' },
    'password-stdin': { kind: 'bool', help: 'Read the password from standard input' },
    username: { kind: 'string', short: 'u', help: 'Name of the user' },
  },
  async run(_, flags, [name]) {
    const { username } = flags;
    const password = await givenPassword(flags);
    const { loginServer } = await import('../engine/login.ts');
    const server = loginServer(name);
    const known = username === undefined && password === undefined ? await tryKnown(server) : undefined;
    if (known === 'good') {
      print('Login Succeeded\n');
      return 0;
    }
    const credentials = await complete(server, username, password, known);
    const { logIn } = await import('../engine/login.ts');
    const { file, helper, changed } = await logIn(server, credentials, notice);
    if (helper === undefined && changed) warnOfFile(file);
    print('Login Succeeded\n');
    return 0;
  },
});

const failed = (message: string): TsboxError => new TsboxError('ERR_TSBOX_USAGE', message, { exitCode: 1 });

async function givenPassword(flags: {
  password: string | undefined;
  'password-stdin': boolean;
  username: string | undefined;
}): Promise<string | undefined> {
  const { password, username, 'password-stdin': fromInput } = flags;
  if (password !== undefined && fromInput) {
    throw new UsageError('conflicting options: cannot specify both --password and --password-stdin', 1);
  }
  if (fromInput && username === undefined) {
    throw new UsageError('the --password-stdin option requires --username to be set', 1);
  }
  if (username === '') throw failed('username is empty');
  if (password !== undefined) complain('WARNING! Using --password via the CLI is insecure. Use --password-stdin.\n');
  const given = fromInput ? await readInput() : password;
  if (given === '') throw failed('password is empty');
  return given;
}

/** All of standard input without the end of its last line, and without a limit only a person could reach. */
async function readInput(): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks)
    .toString()
    .replace(/\r?\n$/, '');
}

/** Are the credentials good that are stored? @returns them when they are not */
async function tryKnown(server: LoginServer): Promise<'good' | Credentials | undefined> {
  const { checkCredentials, knownCredentials } = await import('../engine/login.ts');
  const known = await knownCredentials(server);
  if (known === undefined) return undefined;
  const who = 'username' in known ? ` [Username: ${known.username}]` : '';
  complain(`Authenticating with existing credentials...${who}\n`);
  try {
    await checkCredentials(server, known, notice);
    return 'good';
  } catch (error) {
    if (!(error instanceof TsboxError) || error.code !== 'ERR_TSBOX_UNAUTHORIZED') throw error;
    complain(`Login did not succeed, error: ${error.message}\n`);
    return known;
  }
}

/** Asks for what was not given. */
async function complete(
  server: LoginServer,
  username: string | undefined,
  password: string | undefined,
  known: Credentials | undefined,
): Promise<Credentials> {
  if (username !== undefined && password !== undefined) return { username, password };
  if (!isatty(0)) {
    throw new TsboxError('ERR_TSBOX_USAGE', 'Cannot perform an interactive login from a non TTY device', {
      exitCode: 1,
      hint: 'Give --username NAME, and the password on standard input with --password-stdin.',
    });
  }
  const { ask, askSecret } = await import('./ask.ts');
  const before = known !== undefined && 'username' in known ? known.username : undefined;
  const who = username ?? (await askName(ask, server, before));
  if (who === '') throw failed('Non-null Username Required');
  const secret = password ?? (await askSecret('Password: '));
  if (secret === '') throw failed('Password Required');
  return { username: who, password: secret };
}

async function askName(
  ask: (question: string) => Promise<string>,
  { isHub }: LoginServer,
  before: string | undefined,
): Promise<string> {
  if (isHub) {
    print(
      "Log in with your Docker ID or email address to push and pull images from Docker Hub. If you don't have a Docker ID, " +
        'head over to https://hub.docker.com/ to create one.\n',
    );
  }
  const name = (await ask(before === undefined ? 'Username: ' : `Username (${before}): `)).trim();
  return name === '' ? (before ?? '') : name;
}

function warnOfFile(file: string): void {
  complain(`
WARNING! Your credentials are stored unencrypted in '${file}'.
Configure a credential helper to remove this warning. See
https://docs.docker.com/go/credential-store/

`);
}
