/** The registry client: one object for all that a verb does with registries, so that connections, tokens and schemes are shared. */
import type { Descriptor } from '../spec/oci-image.ts';
import type { Platform } from '../spec/platform.ts';
import type { Reference } from '../spec/reference.ts';
import type { CredentialSource, Credentials } from './auth.ts';
import { type BlobOptions, fetchBlob, readBlob, type Trust, withoutLiars } from './blob.ts';
import { configDirectories, type RegistryConfig, readRegistryConfig } from './config.ts';
import { findCredentials } from './credentials.ts';
import { isInsecure } from './endpoint.ts';
import type { Timeouts } from './exchange.ts';
import { createTransport } from './http.ts';
import { blobSize, isGzipBlob, mountBlob } from './known-blob.ts';
import { checkLogin, fixedCredentials } from './login.ts';
import {
  type FetchedManifest,
  type FetchOptions,
  fetchManifest,
  type ResolvedManifest,
  resolveManifest,
} from './manifest.ts';
import { type BlobUpload, type PushedBlob, type PushOptions, pushBlob, pushManifest } from './push.ts';
import type { RetryPolicy } from './retry.ts';
import { createSession, type Limits } from './session.ts';
import { listTags } from './tags.ts';
import { createTrust } from './trust.ts';

export interface ClientOptions {
  /** `--registry-mirror`: mirrors of Docker Hub, before those of the configuration. */
  mirrors?: readonly string[];
  /** Told, in a line, of what went wrong and was helped: a retry, a mirror that was left out. */
  notice?: (text: string) => void;
  /** Default: `registries.json` of /etc/tsbox and ~/.config/tsbox. */
  config?: RegistryConfig;
  /** With `HOST/*.crt` below. Default: `certs.d` of /etc/docker, /etc/tsbox and ~/.config/tsbox. */
  certificateDirectories?: readonly string[];
  /** Default: the files of `credentialFiles()`. */
  credentials?: CredentialSource;
  /** For proxies and authorities. Default: the process's. */
  environment?: Readonly<Record<string, string | undefined>>;
  timeouts?: Partial<Timeouts>;
  retry?: Partial<RetryPolicy>;
  limits?: Partial<Limits>;
  userAgent?: string;
}

/** @see the functions of the same names for what each promises and throws */
export interface RegistryClient {
  resolveManifest(reference: Reference, platform: Platform, options?: FetchOptions): Promise<ResolvedManifest>;
  fetchManifest(reference: Reference, options?: FetchOptions): Promise<FetchedManifest>;
  fetchBlob(
    reference: Reference,
    descriptor: Descriptor,
    options?: BlobOptions,
  ): AsyncGenerator<Buffer, void, undefined>;
  readBlob(reference: Reference, descriptor: Descriptor, options?: FetchOptions): Promise<Buffer>;
  withoutLiars<T>(work: (trust: Trust) => Promise<T>): Promise<T>;
  listTags(reference: Reference, options?: FetchOptions): Promise<string[]>;
  blobSize(reference: Reference, digest: string, options?: FetchOptions): Promise<number | undefined>;
  isGzipBlob(reference: Reference, digest: string, options?: FetchOptions): Promise<boolean>;
  mountBlob(reference: Reference, digest: string, from: string, options?: FetchOptions): Promise<boolean>;
  pushBlob(reference: Reference, blob: BlobUpload, options?: PushOptions): Promise<PushedBlob>;
  pushManifest(reference: Reference, bytes: Buffer, mediaType: string, options?: FetchOptions): Promise<string>;
  /** Are the credentials good? Stores nothing. */
  checkLogin(domain: string, credentials: Credentials, options?: FetchOptions): Promise<void>;
  /** Closes the kept connections. */
  close(): void;
}

const TIMEOUTS: Timeouts = { connect: 10_000, stall: 30_000, uploaded: 300_000 };
const RETRY: RetryPolicy = { attempts: 5, delay: 1000, longest: 60_000 };
const LIMITS: Limits = { document: 4 * 1024 * 1024 };

/** Makes a client. Reads `registries.json`, asks nobody yet.
 *  @throws ERR_TSBOX_DAMAGED for a wrong `registries.json` */
export function createClient(options: ClientOptions = {}): RegistryClient {
  const environment = options.environment ?? process.env;
  const directories = configDirectories(environment);
  const config = options.config ?? readRegistryConfig(directories);
  const certificates =
    options.certificateDirectories ?? ['/etc/docker', ...directories].map((each) => `${each}/certs.d`);
  const transport = createTransport({
    timeouts: { ...TIMEOUTS, ...options.timeouts },
    environment,
    trust: createTrust(certificates, environment),
    insecure: (host) => isInsecure(host, config),
    userAgent: options.userAgent ?? 'tsbox',
  });
  const settings = {
    transport,
    config,
    mirrors: options.mirrors ?? [],
    credentials: options.credentials ?? ((domain: string) => findCredentials(domain)),
    retry: { ...RETRY, ...options.retry },
    limits: { ...LIMITS, ...options.limits },
    notice: options.notice ?? (() => {}),
  };
  const session = createSession(settings);
  return {
    resolveManifest: (reference, platform, each) => resolveManifest(session, reference, platform, each),
    fetchManifest: (reference, each) => fetchManifest(session, reference, each),
    fetchBlob: (reference, descriptor, each) => fetchBlob(session, reference, descriptor, each),
    readBlob: (reference, descriptor, each) => readBlob(session, reference, descriptor, each),
    withoutLiars: (work) => withoutLiars(session.notice, work),
    listTags: (reference, each) => listTags(session, reference, each),
    blobSize: (reference, digest, each) => blobSize(session, reference, digest, each),
    isGzipBlob: (reference, digest, each) => isGzipBlob(session, reference, digest, each),
    mountBlob: (reference, digest, from, each) => mountBlob(session, reference, digest, from, each),
    pushBlob: (reference, blob, each) => pushBlob(session, reference, blob, each),
    pushManifest: (reference, bytes, mediaType, each) => pushManifest(session, reference, bytes, mediaType, each),
    checkLogin: (domain, credentials, each) =>
      checkLogin(
        createSession({ ...settings, credentials: fixedCredentials(domain, credentials) }),
        domain,
        each?.signal,
      ),
    close: () => session.close(),
  };
}
