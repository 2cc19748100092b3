/** `pull`: an image from a registry into the store. */
import { TsboxError } from '../errors.ts';
import type { Trust } from '../registry/blob.ts';
import { createClient, type RegistryClient } from '../registry/client.ts';
import type { ResolvedManifest } from '../registry/manifest.ts';
import { plainText } from '../registry/refusal.ts';
import type { Descriptor, ImageConfig } from '../spec/oci-image.ts';
import { parseImageConfig } from '../spec/oci-image-schema.ts';
import { defaultPlatform, formatPlatform, parsePlatform, platformMatches } from '../spec/platform.ts';
import {
  canonicalString,
  DEFAULT_TAG,
  familiarName,
  familiarString,
  parseNamed,
  type Reference,
} from '../spec/reference.ts';
import { diffIdOfBlob } from '../store/distribution.ts';
import { noteImage } from '../store/events.ts';
import { putImage, setReferences } from '../store/image-changes.ts';
import type { Locked } from '../store/lock.ts';
import { imageOf, readOrSetAside } from '../store/references.ts';
import { type Store, shortId } from '../store/store.ts';
import { withLease } from '../store/take-back.ts';
import type { OnProgress, UnpackLimits } from './api.ts';
import { checkLayerCount, type InstallOptions, installLayers, type LayerSource } from './install-layers.ts';
import { interruptible } from './interrupt.ts';
import { requireLayerType, requireLinux } from './layer-types.ts';
import type { Engine } from './open.ts';

export interface PullOptions {
  /** `linux/arm64`; this machine's when absent. */
  platform?: string;
  /** All tags of the repository. */
  allTags?: boolean;
  /** No progress at all. */
  quiet?: boolean;
}

export interface Pulled {
  /** Image id; with `allTags` that of the last tag. */
  id: string;
  /** Of the index where there is one, else of the manifest. */
  digest: string;
  /** Nothing has changed here. */
  upToDate: boolean;
  /** With nothing implied: `docker.io/library/ubuntu:22.04`. */
  reference: string;
}

/** As many downloads at once as Docker makes. */
const PARALLEL = 3;

interface Pull {
  store: Store;
  client: RegistryClient;
  platform: string | undefined;
  limits: UnpackLimits | undefined;
  onProgress: OnProgress;
  signal: AbortSignal;
}

/** Pulls an image. Layers that are here are not fetched again; what was complete when an earlier pull ended is used.
 *  @param reference `NAME[:TAG|@DIGEST]`; with `allTags` `NAME`
 *  @throws ERR_TSBOX_SPEC, ERR_TSBOX_NOT_FOUND, ERR_TSBOX_UNAUTHORIZED, ERR_TSBOX_REGISTRY, ERR_TSBOX_DAMAGED, ERR_TSBOX_LIMIT,
 *  ERR_TSBOX_UNSUPPORTED, SyscallError; no name has changed its image then */
export async function pullImage(
  engine: Engine,
  reference: string,
  options: PullOptions,
  onProgress: OnProgress,
): Promise<Pulled> {
  const named = parseNamed(reference);
  if (options.allTags === true && (named.tag !== undefined || named.digest !== undefined)) {
    throw new TsboxError('ERR_TSBOX_USAGE', "tag can't be used with --all-tags/-a");
  }
  if (options.platform !== undefined) parsePlatform(options.platform);
  const say: OnProgress = options.quiet === true ? () => {} : onProgress;
  return interruptible(async (signal) => {
    const notice = (text: string): void => say({ kind: 'text', text });
    const { registryMirrors: mirrors = [], registry, limits } = engine.options;
    const client = createClient({ ...registry, mirrors, notice });
    try {
      const pull: Pull = { store: engine.store, client, platform: options.platform, limits, onProgress: say, signal };
      if (options.allTags === true) return await pullTags(pull, named);
      const full = named.tag === undefined && named.digest === undefined ? { ...named, tag: DEFAULT_TAG } : named;
      const pulled = await pullOne(pull, full);
      sayStatus(pull, pulled.upToDate, familiarString(full));
      return pulled;
    } finally {
      client.close();
    }
  });
}

function sayStatus({ onProgress }: Pull, upToDate: boolean, name: string): void {
  const status = upToDate ? 'Image is up to date for' : 'Downloaded newer image for';
  onProgress({ kind: 'text', text: `Status: ${status} ${name}` });
}

async function pullTags(pull: Pull, repository: Reference): Promise<Pulled> {
  const tags = await pull.client.listTags(repository, { signal: pull.signal });
  let last: Pulled | undefined;
  let upToDate = true;
  for (const tag of tags) {
    last = await pullOne(pull, { ...repository, tag });
    upToDate &&= last.upToDate;
  }
  if (last === undefined)
    throw new TsboxError('ERR_TSBOX_NOT_FOUND', `pull ${familiarName(repository)}: it has no tags`);
  sayStatus(pull, upToDate, familiarName(repository));
  return { ...last, upToDate, reference: canonicalString(repository) };
}

async function pullOne(pull: Pull, reference: Reference): Promise<Pulled> {
  const { client, store, signal, onProgress } = pull;
  onProgress({ kind: 'text', text: `${reference.digest ?? reference.tag}: Pulling from ${reference.path}` });
  const wanted = pull.platform === undefined ? defaultPlatform() : parsePlatform(pull.platform);
  const resolved = await client.resolveManifest(reference, wanted, { signal });
  const digest = resolved.index?.digest ?? resolved.digest;
  const bytes = await fetchConfig(pull, reference, resolved);
  const config = checkedConfig(pull, reference, resolved, bytes);
  return withLease(
    store,
    async (lease) => {
      await client.withoutLiars((trust) =>
        installLayers(store, lease, layerSources(pull, reference, resolved, config, trust), {
          parallel: PARALLEL,
          statuses: STATUSES,
          keeps: (error) => isInterruption(error) || trust.doubtful.size > 0,
          limits: pull.limits,
          onProgress,
          signal,
        }),
      );
      let upToDate = false;
      const id = putImage(store, bytes, {
        lease,
        name(locked, image) {
          upToDate = setNames(locked, reference, digest, image);
        },
      });
      onProgress({ kind: 'text', text: `Digest: ${digest}` });
      noteImage(store, 'pull', id, { told: familiarString(reference) });
      return { id, digest, upToDate, reference: canonicalString(reference) };
    },
    isInterruption,
  );
}

const STATUSES: InstallOptions['statuses'] = {
  listed: 'Pulling fs layer',
  waiting: 'Waiting',
  present: 'Already exists',
  reading: 'Downloading',
  read: ['Verifying Checksum', 'Download complete'],
  done: 'Pull complete',
};

/** Errors that say nothing against the layers that are complete: the next pull goes on from them. */
const INTERRUPTIONS: readonly string[] = ['ERR_TSBOX_REGISTRY', 'ERR_TSBOX_UNAUTHORIZED', 'ERR_TSBOX_CONFLICT'];

function isInterruption(error: unknown): boolean {
  return error instanceof TsboxError && INTERRUPTIONS.includes(error.code);
}

/** The config is read again from the registry even when the image is here: it is small, and this way nothing has to be trusted. */
function fetchConfig({ client, signal }: Pull, reference: Reference, { manifest }: ResolvedManifest): Promise<Buffer> {
  checkLayerCount(`pull ${familiarString(reference)}`, manifest.layers.length);
  return client.readBlob(reference, manifest.config, { signal });
}

function checkedConfig(pull: Pull, reference: Reference, resolved: ResolvedManifest, bytes: Buffer): ImageConfig {
  const { manifest } = resolved;
  const what = `pull ${familiarString(reference)}`;
  const config = parseImageConfig(bytes, `${what}: config ${manifest.config.digest}`);
  requireLinux(config, what);
  const { diff_ids: diffIds } = config.rootfs;
  if (diffIds.length !== manifest.layers.length) {
    const message = `${what}: the manifest has ${manifest.layers.length} layers, the config ${diffIds.length}`;
    throw new TsboxError('ERR_TSBOX_DAMAGED', message);
  }
  if (resolved.index === undefined) checkPlatform(pull, config, what);
  return config;
}

/** An image that stands in no index is for one platform, which only its config tells. Asked for another one it is refused; asked for none it
 *  is taken, as Docker does, for one may want to look at it, or have an emulator. */
function checkPlatform({ platform, onProgress }: Pull, config: ImageConfig, what: string): void {
  const built = { os: config.os || 'linux', architecture: config.architecture, ...variantOf(config) };
  if (platform !== undefined) {
    if (platformMatches(parsePlatform(platform), built)) return;
    throw new TsboxError('ERR_TSBOX_NOT_FOUND', `${what}: it is for ${formatPlatform(built)} and not for ${platform}`);
  }
  const host = defaultPlatform();
  if (config.architecture === '' || platformMatches(host, built)) return;
  const [theirs, ours] = [plainText(formatPlatform(built)), formatPlatform(host)];
  const text = `WARNING: The requested image's platform (${theirs}) does not match the detected host platform (${ours}) and no specific platform was requested`;
  onProgress({ kind: 'text', text });
}

function variantOf({ variant }: ImageConfig): { variant?: string } {
  return variant === undefined ? {} : { variant };
}

function layerSources(
  { store, client }: Pull,
  reference: Reference,
  { manifest }: ResolvedManifest,
  config: ImageConfig,
  trust: Trust,
): LayerSource[] {
  const repository = `${reference.domain}/${reference.path}`;
  return manifest.layers.map((descriptor: Descriptor, index) => {
    requireLayerType(descriptor, `pull ${familiarString(reference)}`);
    const diffId = config.rootfs.diff_ids[index]!;
    return {
      diffId,
      what: `pull layer ${descriptor.digest}`,
      label: shortId(descriptor.digest),
      size: descriptor.size,
      open: (signal) => client.fetchBlob(reference, descriptor, { signal, ...trust }),
      known: descriptor.digest.startsWith('sha256:') && diffIdOfBlob(store, descriptor.digest) === diffId,
      blob: { Digest: descriptor.digest, SourceRepository: repository },
    };
  });
}

/** Gives the image its tag and its digest as names. @returns whether it had the one that was asked for already */
function setNames(locked: Locked, reference: Reference, digest: string, id: string): boolean {
  const { domain, path } = reference;
  const before = imageOf(readOrSetAside(locked), reference);
  const byDigest: Reference = { domain, path, digest };
  setReferences(locked, reference.digest === undefined ? [byDigest, reference] : [byDigest], id);
  return before === id;
}
