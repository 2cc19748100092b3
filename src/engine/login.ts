/** `login` and `logout`: who we are at a registry. */
import { TsboxError } from '../errors.ts';
import type { Credentials } from '../registry/auth.ts';
import { createClient } from '../registry/client.ts';
import {
  credentialFiles,
  type Exclusively,
  eraseCredentials,
  findCredentials,
  type StoredCredentials,
  storeCredentials,
} from '../registry/credentials.ts';
import { DEFAULT_DOMAIN, parseNamed } from '../spec/reference.ts';
import { withLock } from '../sys/lock.ts';
import { interruptible } from './interrupt.ts';

export type { Credentials, StoredCredentials };

/** A registry as one logs in to it. */
export interface LoginServer {
  /** `docker.io`, `localhost:5000` */
  domain: string;
  isHub: boolean;
  /** How Docker calls it. */
  shown: string;
}

const HUB_NAMES: readonly string[] = [DEFAULT_DOMAIN, 'index.docker.io', 'registry-1.docker.io'];

const exclusively: Exclusively = (path, work) => withLock(path, 'exclusive', work);

/** Reads a registry as users write it: a host with or without port, a URL; Docker Hub when absent.
 *  @throws ERR_TSBOX_SPEC when no image could have a name there */
export function loginServer(text: string = DEFAULT_DOMAIN): LoginServer {
  const domain = text.replace(/^https?:\/\//, '').replace(/\/.*$/s, '');
  if (HUB_NAMES.includes(domain)) {
    return { domain: DEFAULT_DOMAIN, isHub: true, shown: 'https://index.docker.io/v1/' };
  }
  let named: string | undefined;
  try {
    named = parseNamed(`${domain}/image`).domain;
  } catch {
    named = undefined;
  }
  if (named === domain) return { domain, isHub: false, shown: domain };
  throw new TsboxError('ERR_TSBOX_SPEC', `invalid registry ${JSON.stringify(text.slice(0, 200))}`, {
    hint: 'A registry looks like registry.example or localhost:5000. The name of a user goes with --username.',
  });
}

/** What is stored for a registry. */
export function knownCredentials({ domain }: LoginServer): Promise<Credentials | undefined> {
  return findCredentials(domain);
}

/** Asks the registry whether the credentials are good. Stores nothing.
 *  @param notice told of tries that failed and are made again
 *  @throws ERR_TSBOX_UNAUTHORIZED when they are not, ERR_TSBOX_REGISTRY when it cannot be asked */
export function checkCredentials(
  { domain }: LoginServer,
  credentials: Credentials,
  notice: (text: string) => void,
): Promise<void> {
  return interruptible(async (signal) => {
    const client = createClient({ notice });
    try {
      await client.checkLogin(domain, credentials, { signal });
    } finally {
      client.close();
    }
  });
}

/** Keeps credentials that the registry takes. @throws as {@link checkCredentials}; then nothing has changed */
export async function logIn(
  server: LoginServer,
  credentials: Credentials,
  notice: (text: string) => void,
): Promise<StoredCredentials> {
  await checkCredentials(server, credentials, notice);
  return storeCredentials(server.domain, credentials, credentialFiles(), exclusively);
}

/** Forgets what is stored for a registry. @returns files that are not tsbox's own and have credentials for it still */
export async function logOut({ domain }: LoginServer): Promise<string[]> {
  const [own, ...others] = credentialFiles();
  await eraseCredentials(domain, [own!], exclusively);
  const left: string[] = [];
  for (const file of others) if ((await findCredentials(domain, [file])) !== undefined) left.push(file);
  return left;
}
