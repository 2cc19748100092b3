/**
 * Credentials in files of Docker's `config.json` format: `auths`, `credHelpers`, `credsStore`. Read from tsbox's own file, then from
 * Docker's; written to the first one only, and what others wrote there stays. @see docs.docker.com, docker login
 */
import { randomBytes } from 'node:crypto';
import { chmodSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import * as v from 'valibot';
import { isErrno, TsboxError, wrapError } from '../errors.ts';
import { parseUntrustedJson } from '../spec/json.ts';
import { DEFAULT_DOMAIN } from '../spec/reference.ts';
import type { Credentials } from './auth.ts';
import { userConfigDirectory } from './config.ts';
import { helperErase, helperGet, helperStore } from './helper.ts';

type Environment = Readonly<Record<string, string | undefined>>;

/** How Docker's files call Docker Hub. */
const HUB_KEY = 'https://index.docker.io/v1/';

const text = v.exactOptional(v.string());
const entrySchema = v.looseObject({ auth: text, username: text, password: text, identitytoken: text });
const fileSchema = v.looseObject({
  auths: v.exactOptional(v.record(v.string(), entrySchema)),
  credHelpers: v.exactOptional(v.record(v.string(), v.string())),
  credsStore: text,
});
type Entry = v.InferOutput<typeof entrySchema>;
type File = v.InferOutput<typeof fileSchema>;

/** The files to read, in their precedence; the first is the one that login writes.
 *  TSBOX_CONFIG and DOCKER_CONFIG name a directory, as Docker has it, and then that one counts alone. */
export function credentialFiles(environment: Environment = process.env): string[] {
  const chosen = environment['TSBOX_CONFIG'] || environment['DOCKER_CONFIG'];
  if (chosen) return [join(chosen, 'config.json')];
  const home = environment['HOME'] || homedir();
  return [join(userConfigDirectory(environment), 'config.json'), join(home, '.docker', 'config.json')];
}

function readFile(path: string): File {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    if (isErrno(error, 'ENOENT') || isErrno(error, 'ENOTDIR')) return {};
    throw wrapError(`read ${path}`, error);
  }
  if (bytes.toString().trim() === '') return {};
  const parsed = v.safeParse(fileSchema, parseUntrustedJson(bytes, `read ${path}`));
  if (parsed.success) return parsed.output;
  const issue = parsed.issues[0];
  // Not what valibot received: it could be a password.
  const message = `read ${path}: ${v.getDotPath(issue) ?? 'document'}: expected ${issue.expected ?? 'another value'}`;
  throw new TsboxError('ERR_TSBOX_DAMAGED', message);
}

/** The key under which a registry's credentials are stored. */
function keyOf(domain: string): string {
  return domain === DEFAULT_DOMAIN ? HUB_KEY : domain;
}

/** Does a key of a file mean the registry? Old files have URLs, other tools the bare domain of Docker Hub. */
function means(key: string, domain: string): boolean {
  const host = key.replace(/^https?:\/\//, '').replace(/\/(?:v[12]\/?)?$/, '');
  if (domain === DEFAULT_DOMAIN) return ['docker.io', 'index.docker.io', 'registry-1.docker.io'].includes(host);
  return host === domain;
}

function lookUp<T>(map: Readonly<Record<string, T>> | undefined, domain: string): T | undefined {
  if (map === undefined) return undefined;
  const key = keyOf(domain);
  if (Object.hasOwn(map, key)) return map[key];
  return Object.entries(map).find(([each]) => means(each, domain))?.[1];
}

function decode(entry: Entry): Credentials | undefined {
  if (entry.identitytoken) return { identityToken: entry.identitytoken };
  if (entry.auth) {
    const plain = Buffer.from(entry.auth, 'base64').toString();
    const colon = plain.indexOf(':');
    if (colon > 0) return { username: plain.slice(0, colon), password: plain.slice(colon + 1).replace(/\0+$/, '') };
  }
  return entry.username && entry.password ? { username: entry.username, password: entry.password } : undefined;
}

/** What the files and their helpers know of a registry. @param domain `docker.io`, `localhost:5000`
 *  @throws ERR_TSBOX_DAMAGED for a file that cannot be read; when a helper that a file names cannot be run */
export async function findCredentials(
  domain: string,
  files: readonly string[] = credentialFiles(),
): Promise<Credentials | undefined> {
  for (const path of files) {
    const file = readFile(path);
    const helper = lookUp(file.credHelpers, domain) ?? file.credsStore;
    const kept = helper ? await helperGet(helper, keyOf(domain)) : undefined;
    if (kept !== undefined) return kept;
    const entry = lookUp(file.auths, domain);
    const plain = entry === undefined ? undefined : decode(entry);
    if (plain !== undefined) return plain;
  }
  return undefined;
}

export interface StoredCredentials {
  /** The file that was written. */
  file: string;
  /** The helper that keeps the password; without one it is in the file, encoded but not encrypted, which `login` should say. */
  helper?: string;
}

/** Keeps credentials that a registry has accepted, in the first of the files or in the helper that it names. The file gets mode 0600.
 *  Replaces what was kept before; the file is whole at every moment. */
export async function storeCredentials(
  domain: string,
  credentials: Credentials,
  files: readonly string[] = credentialFiles(),
): Promise<StoredCredentials> {
  const path = files[0]!;
  const file = readFile(path);
  const helper = lookUp(file.credHelpers, domain) ?? file.credsStore;
  if (helper) await helperStore(helper, keyOf(domain), credentials);
  const entry: Entry = helper ? {} : encode(credentials);
  writeFile(path, { ...file, auths: { ...without(file.auths, domain), [keyOf(domain)]: entry } });
  return helper ? { file: path, helper } : { file: path };
}

/** Forgets a registry's credentials, in the first of the files and in the helper that it names.
 *  @returns whether there were any */
export async function eraseCredentials(domain: string, files: readonly string[] = credentialFiles()): Promise<boolean> {
  const path = files[0]!;
  const file = readFile(path);
  const helper = lookUp(file.credHelpers, domain) ?? file.credsStore;
  const erased = helper ? await helperErase(helper, keyOf(domain)) : false;
  if (lookUp(file.auths, domain) === undefined) return erased;
  writeFile(path, { ...file, auths: without(file.auths, domain) });
  return true;
}

function encode(credentials: Credentials): Entry {
  if ('identityToken' in credentials) {
    return { auth: Buffer.from('<token>:').toString('base64'), identitytoken: credentials.identityToken };
  }
  return { auth: Buffer.from(`${credentials.username}:${credentials.password}`).toString('base64') };
}

function without(auths: File['auths'], domain: string): Record<string, Entry> {
  return Object.fromEntries(Object.entries(auths ?? {}).filter(([key]) => !means(key, domain)));
}

/** Beside its place, then renamed over it; never readable by others, not even for a moment. */
function writeFile(path: string, file: File): void {
  const temporary = `${path}.${randomBytes(6).toString('hex')}`;
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    writeFileSync(temporary, `${JSON.stringify(file, undefined, '\t')}\n`, { mode: 0o600, flag: 'wx' });
    chmodSync(temporary, 0o600);
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw wrapError(`write ${path}`, error);
  }
}
