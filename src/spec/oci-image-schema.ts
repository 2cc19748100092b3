/**
 * Checks of images that come from outside. Unknown fields stay; a wrong type is refused by its path. Loading this module loads valibot
 * (4 ms): what only reads a stored image imports the types in oci-image.ts instead.
 */
import * as v from 'valibot';
import { TsboxError } from '../errors.ts';
import { isDigest } from './digest.ts';
import { parseUntrustedJson } from './json.ts';
import type { Descriptor, ImageConfig, ImageIndex, ImageManifest, IndexEntry } from './oci-image.ts';

const text = v.exactOptional(v.string());
const flag = v.exactOptional(v.boolean());
const count = v.exactOptional(v.pipe(v.number(), v.safeInteger()));
const texts = v.exactOptional(v.nullable(v.array(v.string())));
const textMap = v.exactOptional(v.nullable(v.record(v.string(), v.string())));
const keySet = v.exactOptional(v.nullable(v.record(v.string(), v.unknown())));
/** Docker reads one string as a list of one. */
const words = v.exactOptional(
  v.nullable(
    v.union([
      v.array(v.string()),
      v.pipe(
        v.string(),
        v.transform((word) => [word]),
      ),
    ]),
  ),
);
const digest = v.pipe(
  v.string(),
  v.check(
    (value: string) => isDigest(value),
    (issue: v.CheckIssue<string>) => `invalid digest ${JSON.stringify(issue.input.slice(0, 150))}`,
  ),
);
const size = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const version2 = v.literal(2);

const descriptorFields = {
  mediaType: v.pipe(v.string(), v.nonEmpty('empty media type')),
  digest,
  size,
  urls: texts,
  data: v.exactOptional(v.nullable(v.string())),
  annotations: textMap,
  artifactType: text,
};
const platform = v.looseObject({ os: v.string(), architecture: v.string(), variant: text, 'os.features': texts });
const descriptor: v.GenericSchema<unknown, Descriptor> = v.looseObject(descriptorFields);
const entry: v.GenericSchema<unknown, IndexEntry> = v.looseObject({
  ...descriptorFields,
  platform: v.exactOptional(v.nullable(platform)),
});

/** Go writes `null` for an empty list. */
function list<T>(item: v.GenericSchema<unknown, T>): v.GenericSchema<unknown, T[]> {
  return v.pipe(
    v.nullable(v.array(item)),
    v.transform((items) => items ?? []),
  );
}

const manifestSchema: v.GenericSchema<unknown, ImageManifest> = v.looseObject({
  schemaVersion: version2,
  mediaType: text,
  artifactType: text,
  config: descriptor,
  layers: list(descriptor),
  annotations: textMap,
});

const indexSchema: v.GenericSchema<unknown, ImageIndex> = v.looseObject({
  schemaVersion: version2,
  mediaType: text,
  manifests: list(entry),
  annotations: textMap,
});

const containerConfig = v.looseObject({
  Hostname: text,
  Domainname: text,
  User: text,
  AttachStdin: flag,
  AttachStdout: flag,
  AttachStderr: flag,
  Tty: flag,
  OpenStdin: flag,
  StdinOnce: flag,
  Env: texts,
  Cmd: words,
  Entrypoint: words,
  ExposedPorts: keySet,
  Volumes: keySet,
  WorkingDir: text,
  Labels: textMap,
  OnBuild: texts,
  Healthcheck: v.exactOptional(
    v.nullable(
      v.looseObject({
        Test: texts,
        Interval: count,
        Timeout: count,
        StartPeriod: count,
        StartInterval: count,
        Retries: count,
      }),
    ),
  ),
  Image: text,
  StopSignal: text,
  StopTimeout: v.exactOptional(v.nullable(v.pipe(v.number(), v.safeInteger()))),
  Shell: words,
  NetworkDisabled: flag,
  MacAddress: text,
  ArgsEscaped: flag,
});

const history = v.looseObject({
  created: v.exactOptional(v.nullable(v.string())),
  created_by: text,
  author: text,
  comment: text,
  empty_layer: flag,
});

const configSchema: v.GenericSchema<unknown, ImageConfig> = v.looseObject({
  architecture: v.optional(v.string(), ''),
  os: v.optional(v.string(), ''),
  variant: text,
  created: v.exactOptional(v.nullable(v.string())),
  author: text,
  config: v.exactOptional(v.nullable(containerConfig)),
  rootfs: v.looseObject({ type: v.literal('layers'), diff_ids: list(digest) }),
  history: v.exactOptional(v.nullable(v.array(history))),
  container: text,
  container_config: v.exactOptional(v.nullable(containerConfig)),
  docker_version: text,
});

/** `layers.1.size` -> `layers[1].size`, the way jq and people write it. */
function jsonPath(issue: v.BaseIssue<unknown>): string {
  const path = v.getDotPath(issue);
  return path === null ? '' : `${path.replace(/(^|\.)(\d+)(?=\.|$)/g, '[$2]')}: `;
}

function check<T>(schema: v.GenericSchema<unknown, T>, value: unknown, what: string): T {
  const result = v.safeParse(schema, value, { abortEarly: true });
  if (result.success) return result.output;
  const issue = result.issues[0];
  throw new TsboxError('ERR_TSBOX_DAMAGED', `${what}: ${jsonPath(issue)}${fault(issue)}`);
}

/** valibot's message in our form: `Invalid type: Expected number but received "1"` -> `expected number but received "1"`. */
function fault(issue: v.BaseIssue<unknown>): string {
  if (issue.message.startsWith('Invalid key:')) return 'missing';
  const message = issue.message.replace(/^Invalid (?:type|value|length): /, '').slice(0, 300);
  return message.charAt(0).toLowerCase() + message.slice(1);
}

/** Reads an image manifest, OCI or Docker schema 2.
 *  @param what verb and object for the message: `read manifest ubuntu:22.04`
 *  @throws ERR_TSBOX_DAMAGED naming the path of the wrong value; also when it claims to be an index as well
 *  @see image-spec manifest.md */
export function parseImageManifest(bytes: Uint8Array, what: string): ImageManifest {
  const value = parseUntrustedJson(bytes, what);
  refuseBoth(value, what);
  return check(manifestSchema, value, what);
}

/** Reads an OCI image index or a Docker manifest list. @throws as parseImageManifest @see image-spec image-index.md */
export function parseImageIndex(bytes: Uint8Array, what: string): ImageIndex {
  const value = parseUntrustedJson(bytes, what);
  refuseBoth(value, what);
  return check(indexSchema, value, what);
}

/** Reads an image's config. `Cmd: "sh"` becomes a list. @throws as parseImageManifest @see image-spec config.md */
export function parseImageConfig(bytes: Uint8Array, what: string): ImageConfig {
  return check(configSchema, parseUntrustedJson(bytes, what), what);
}

/** A document that can be read as either would be checked as one thing and used as another. @see CVE-2021-41190 */
function refuseBoth(value: unknown, what: string): void {
  if (typeof value !== 'object' || value === null) return;
  const isIndex = Object.hasOwn(value, 'manifests');
  if (isIndex && (Object.hasOwn(value, 'layers') || Object.hasOwn(value, 'config'))) {
    throw new TsboxError('ERR_TSBOX_DAMAGED', `${what}: both an index and a manifest`);
  }
}
