/** Whom to trust in TLS: the system's certificate authorities, and those in `certs.d/HOST` as Docker has them. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { SecureContext } from 'node:tls';
import { isErrno, TsboxError, wrapError } from '../errors.ts';

type Environment = Readonly<Record<string, string | undefined>>;

/** Where distributions keep all authorities in one file. */
const BUNDLES = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/ca-bundle.pem',
  '/etc/ssl/cert.pem',
];

function readIfThere(file: string): Buffer | undefined {
  try {
    return readFileSync(file);
  } catch (error) {
    if (isErrno(error, 'ENOENT') || isErrno(error, 'ENOTDIR')) return undefined;
    throw wrapError(`read ${file}`, error);
  }
}

function list(directory: string): string[] {
  try {
    return readdirSync(directory).sort();
  } catch (error) {
    if (isErrno(error, 'ENOENT') || isErrno(error, 'ENOTDIR')) return [];
    throw wrapError(`read directory ${directory}`, error);
  }
}

/** The system's authorities; empty when the system has none, and then those that Node brings along are used.
 *  @see SSL_CERT_FILE and SSL_CERT_DIR in openssl-env(7) */
function systemAuthorities(environment: Environment): Buffer[] {
  const file = environment['SSL_CERT_FILE'];
  const directory = environment['SSL_CERT_DIR'];
  const found: Buffer[] = [];
  for (const bundle of file ? [file] : BUNDLES) {
    const bytes = readIfThere(bundle);
    if (bytes === undefined) continue;
    found.push(bytes);
    break;
  }
  for (const each of directory?.split(':').filter(Boolean) ?? []) {
    for (const name of list(each)) {
      // Links to authorities that were removed stay behind in such directories.
      const bytes = /\.(?:crt|pem|0)$/.test(name) ? readIfThere(join(each, name)) : undefined;
      if (bytes !== undefined) found.push(bytes);
    }
  }
  return found;
}

interface HostFiles {
  authorities: Buffer[];
  certificate?: Buffer;
  key?: Buffer;
}

/** `*.crt` are authorities; `NAME.cert` with `NAME.key` is what we show of ourselves. */
function hostFiles(directory: string): HostFiles {
  const files: HostFiles = { authorities: [] };
  for (const name of list(directory)) {
    const path = join(directory, name);
    if (name.endsWith('.crt')) files.authorities.push(readFileSync(path));
    if (!name.endsWith('.cert')) continue;
    const key = readIfThere(path.replace(/\.cert$/, '.key'));
    if (key === undefined) {
      throw new TsboxError('ERR_TSBOX_NOT_FOUND', `read the key of ${path}: ENOENT (No such file or directory)`, {
        hint: `A client certificate NAME.cert needs its key beside it as NAME.key.`,
      });
    }
    files.certificate = readFileSync(path);
    files.key = key;
  }
  return files;
}

/** Makes the function that gives a host's TLS context; contexts are made once.
 *  @param directories with `HOST/*.crt` below; the authorities of all are trusted, the client certificate of the last one is shown
 *  @see docs.docker.com, Verify repository client with certificates */
export function createTrust(directories: readonly string[], environment: Environment): (host: string) => SecureContext {
  const contexts = new Map<string, SecureContext>();
  let system: Buffer[] | undefined;
  let common: SecureContext | undefined;
  return (host) => {
    let context = contexts.get(host);
    if (context !== undefined) return context;
    system ??= systemAuthorities(environment);
    const own = mergedFiles(directories, host);
    if (own.authorities.length === 0 && own.certificate === undefined) {
      common ??= secureContext(system, own, host);
      context = common;
    } else {
      context = secureContext(system, own, host);
    }
    contexts.set(host, context);
    return context;
  };
}

function mergedFiles(directories: readonly string[], host: string): HostFiles {
  const merged: HostFiles = { authorities: [] };
  for (const directory of directories) {
    const files = hostFiles(join(directory, host));
    Object.assign(merged, files, { authorities: [...merged.authorities, ...files.authorities] });
  }
  return merged;
}

function secureContext(system: readonly Buffer[], own: HostFiles, host: string): SecureContext {
  const tls = process.getBuiltinModule('node:tls');
  const base = system.length > 0 ? system : tls.rootCertificates;
  const authorities: (string | Buffer)[] = [...base, ...tls.getCACertificates('extra'), ...own.authorities];
  try {
    return tls.createSecureContext({
      ca: authorities,
      ...(own.certificate === undefined ? {} : { cert: own.certificate, key: own.key }),
    });
  } catch (error) {
    throw wrapError(`read the certificates for ${host}`, error);
  }
}
