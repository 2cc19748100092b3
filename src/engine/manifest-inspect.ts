/** `manifest inspect`: what a registry has under a name, whether an image of it is here or not. */
import { TsboxError } from '../errors.ts';
import { createClient, type RegistryClient } from '../registry/client.ts';
import { readRegistryConfig } from '../registry/config.ts';
import type { FetchedManifest } from '../registry/manifest.ts';
import { parseUntrustedJson } from '../spec/json.ts';
import { type ImageManifest, type IndexEntry, MEDIA_TYPE } from '../spec/oci-image.ts';
import { canonicalString, familiarString, parseReference, type Reference } from '../spec/reference.ts';
import { interruptible } from './interrupt.ts';
import type { Engine } from './open.ts';
import { inParallel } from './parallel.ts';

export interface InspectManifestOptions {
  /** Plain http, or any certificate, is good enough. */
  insecure: boolean;
  /** Each manifest of an index, with what it is for. */
  verbose: boolean;
}

/** Names and order are Docker's. */
export interface ManifestDetails {
  Ref: string;
  Descriptor: { mediaType: string; digest: string; size: number; platform: object };
  /** The exact bytes, in base64. */
  Raw: string;
  SchemaV2Manifest?: unknown;
  OCIManifest?: unknown;
}

export type InspectedManifest =
  | { kind: 'manifest' | 'index'; bytes: Buffer }
  | { kind: 'details'; details: ManifestDetails | ManifestDetails[] };

const PARALLEL = 3;
/** Bytes of all manifests of an index together. */
const MOST_BYTES = 64 * 1024 * 1024;

/** Asks the registry; nothing is stored.
 *  @throws ERR_TSBOX_SPEC; ERR_TSBOX_NOT_FOUND `no such manifest: NAME`; ERR_TSBOX_UNAUTHORIZED, ERR_TSBOX_REGISTRY, ERR_TSBOX_DAMAGED,
 *  ERR_TSBOX_LIMIT, ERR_TSBOX_UNSUPPORTED */
export function inspectManifest(
  engine: Engine,
  name: string,
  { insecure, verbose }: InspectManifestOptions,
  notice: (text: string) => void,
): Promise<InspectedManifest> {
  const reference = parseReference(name);
  return interruptible(async (signal) => {
    const { registryMirrors: mirrors = [], registry } = engine.options;
    const config = new Map(readRegistryConfig());
    const settings = config.get(reference.domain) ?? { mirrors: [], insecure: false };
    if (insecure) config.set(reference.domain, { ...settings, insecure });
    const client = createClient({ ...registry, mirrors, config, notice });
    try {
      const found = await client.fetchManifest(reference, { signal });
      if (!verbose) return { kind: found.kind, bytes: found.bytes };
      return { kind: 'details', details: await detailsOf(client, reference, found, signal) };
    } catch (error) {
      if (!(error instanceof TsboxError) || error.code !== 'ERR_TSBOX_NOT_FOUND') throw error;
      const hint = error.hint === undefined ? {} : { hint: error.hint };
      throw new TsboxError('ERR_TSBOX_NOT_FOUND', `no such manifest: ${familiarString(reference)}`, {
        ...hint,
        cause: error,
      });
    } finally {
      client.close();
    }
  });
}

async function detailsOf(
  client: RegistryClient,
  reference: Reference,
  found: FetchedManifest,
  signal: AbortSignal,
): Promise<ManifestDetails | ManifestDetails[]> {
  if (found.kind === 'manifest') {
    const platform = await builtFor(client, reference, found.manifest, signal);
    return describe(canonicalString(reference), found, platform);
  }
  const entries = found.index.manifests;
  if (entries.reduce((sum, { size }) => sum + size, 0) > MOST_BYTES) {
    throw new TsboxError(
      'ERR_TSBOX_LIMIT',
      `inspect manifest ${familiarString(reference)}: more than ${MOST_BYTES} bytes`,
    );
  }
  const details: ManifestDetails[] = [];
  await inParallel([...entries.entries()], PARALLEL, async ([index, entry]) => {
    details[index] = await describeEntry(client, reference, entry, signal);
  });
  return details;
}

async function describeEntry(
  client: RegistryClient,
  { domain, path, tag }: Reference,
  { digest, platform }: IndexEntry,
  signal: AbortSignal,
): Promise<ManifestDetails> {
  const pinned: Reference = { domain, path, digest };
  const found = await client.fetchManifest(pinned, { signal });
  if (found.kind === 'index') {
    const message = `inspect manifest ${familiarString(pinned)}: an index within an index`;
    throw new TsboxError('ERR_TSBOX_UNSUPPORTED', message, { hint: 'Inspect it by its digest.' });
  }
  return describe(canonicalString({ ...pinned, ...(tag !== undefined && { tag }) }), found, { ...platform });
}

function describe(
  name: string,
  { bytes, digest, mediaType }: FetchedManifest,
  platform: Readonly<Record<string, unknown>>,
): ManifestDetails {
  const document = parseUntrustedJson(bytes, `read manifest ${name}`);
  const isDocker = mediaType === MEDIA_TYPE.dockerManifest;
  return {
    Ref: name,
    Descriptor: { mediaType, digest, size: bytes.length, platform: platformFields(platform) },
    Raw: bytes.toString('base64'),
    ...(isDocker ? { SchemaV2Manifest: document } : { OCIManifest: document }),
  };
}

/** What the config says; nothing for a manifest of something else than an image. */
async function builtFor(
  client: RegistryClient,
  reference: Reference,
  { config }: ImageManifest,
  signal: AbortSignal,
): Promise<Record<string, unknown>> {
  if (config.mediaType !== MEDIA_TYPE.ociConfig && config.mediaType !== MEDIA_TYPE.dockerConfig) return {};
  const what = `read config ${config.digest}`;
  const fields = parseUntrustedJson(await client.readBlob(reference, config, { signal }), what);
  return typeof fields === 'object' && fields !== null ? { ...fields } : {};
}

const PLATFORM_FIELDS = ['architecture', 'os', 'os.version', 'os.features', 'variant'] as const;

function platformFields(fields: Readonly<Record<string, unknown>>): object {
  const found = PLATFORM_FIELDS.map((name) => [name, fields[name]] as const).filter(([, value]) => value !== undefined);
  return { architecture: '', os: '', ...Object.fromEntries(found) };
}
