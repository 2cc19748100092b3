/**
 * Credentials in files of Docker's `config.json` format: `auths`, `credHelpers`, `credsStore`. Read from tsbox's own file, then from
 * Docker's; written to the first one only, and what others wrote there stays. @see docs.docker.com, docker login
 */
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
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

/** Go takes `null` for nothing. */
const text = v.exactOptional(v.nullable(v.string()));
const entrySchema = v.looseObject({ auth: text, username: text, password: text, identitytoken: text });
const fileSchema = v.looseObject({
  auths: v.exactOptional(v.nullable(v.record(v.string(), entrySchema))),
  credHelpers: v.exactOptional(v.nullable(v.record(v.string(), v.string()))),
  credsStore: text,
});
type Entry = v.InferOutput<typeof entrySchema>;
type File = v.InferOutput<typeof fileSchema>;

/** Does work that takes milliseconds while nobody else does any under the same path, a directory that is there. */
export type Exclusively = <T>(path: string, work: () => T) => T;
const unlocked: Exclusively = (_, work) => work();

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

function lookUp<T>(map: Readonly<Record<string, T>> | null | undefined, domain: string): T | undefined {
  if (map === undefined || map === null) return undefined;
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
    const helper = helperFor(file, domain);
    const kept = helper === undefined ? undefined : await helperGet(helper, keyOf(domain));
    if (kept !== undefined) return kept;
    const entry = lookUp(file.auths, domain);
    const plain = entry === undefined ? undefined : decode(entry);
    if (plain !== undefined) return plain;
  }
  return undefined;
}

export interface StoredCredentials {
  /** The file that names the registry. */
  file: string;
  /** The helper that keeps the password; without one it is in the file, encoded but not encrypted, which `login` should say. */
  helper?: string;
  /** Whether the file says something else than before. */
  changed: boolean;
}

/** Keeps credentials that a registry has accepted, in the first of the files or in the helper that it names. The file gets mode 0600.
 *  Replaces what was kept before; the file is whole at every moment.
 *  @param exclusively a lock, so that nobody writes between our reading and our writing */
export async function storeCredentials(
  domain: string,
  credentials: Credentials,
  files: readonly string[] = credentialFiles(),
  exclusively: Exclusively = unlocked,
): Promise<StoredCredentials> {
  const path = files[0]!;
  const helper = helperFor(readFile(path), domain);
  if (helper !== undefined) await helperStore(helper, keyOf(domain), credentials);
  const entry: Entry = helper === undefined ? encode(credentials) : {};
  const changed = changeFile(path, exclusively, (file) => ({
    ...file,
    auths: { ...without(file.auths, domain), [keyOf(domain)]: entry },
  }));
  return { file: path, changed, ...(helper !== undefined && { helper }) };
}

/** Forgets a registry's credentials, in the first of the files and in the helper that it names.
 *  @returns whether there were any */
export async function eraseCredentials(
  domain: string,
  files: readonly string[] = credentialFiles(),
  exclusively: Exclusively = unlocked,
): Promise<boolean> {
  const path = files[0]!;
  const file = readFile(path);
  const helper = helperFor(file, domain);
  const named = lookUp(file.auths, domain) !== undefined;
  if (named) changeFile(path, exclusively, (each) => ({ ...each, auths: without(each.auths, domain) }));
  const erased = helper !== undefined && (await helperErase(helper, keyOf(domain)));
  return named || erased;
}

function helperFor(file: File, domain: string): string | undefined {
  return (lookUp(file.credHelpers, domain) ?? file.credsStore) || undefined;
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

/** Where the file really is: people keep their settings elsewhere and put a symlink here. */
function placeOf(path: string): string {
  try {
    return realpathSync(path);
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return path;
    throw error;
  }
}

/** Reads, changes and writes the file: beside its place, then renamed over it; never readable by others, not even for a moment.
 *  @returns whether it says something else than before */
function changeFile(path: string, exclusively: Exclusively, change: (file: File) => File): boolean {
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    const place = placeOf(path);
    return exclusively(dirname(place), () => {
      const before = readFile(place);
      const after = change(before);
      replaceFile(place, `${JSON.stringify(after, undefined, '\t')}\n`);
      return JSON.stringify(after) !== JSON.stringify(before);
    });
  } catch (error) {
    throw error instanceof TsboxError ? error : wrapError(`write ${path}`, error);
  }
}

function replaceFile(path: string, content: string): void {
  const temporary = `${path}.${randomBytes(6).toString('hex')}`;
  const before = statSync(path, { throwIfNoEntry: false });
  try {
    writeFileSync(temporary, content, { mode: 0o600, flag: 'wx' });
    chmodSync(temporary, 0o600);
    // Root that writes a user's file must not take it away from the user.
    if (before !== undefined && process.getuid?.() === 0) chownSync(temporary, before.uid, before.gid);
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}
