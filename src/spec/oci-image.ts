/**
 * Images as OCI and Docker describe them: types and media types only, so that reading an image that was checked when it was stored
 * costs nothing. The checks are in oci-image-schema.ts. Names are those of the JSON. A value keeps the fields that are not named here.
 * @see image-spec manifest.md, image-index.md, config.md; Docker image manifest v2 schema 2
 */
import type { Platform } from './platform.ts';

export const MEDIA_TYPE = {
  ociManifest: 'application/vnd.oci.image.manifest.v1+json',
  ociIndex: 'application/vnd.oci.image.index.v1+json',
  ociConfig: 'application/vnd.oci.image.config.v1+json',
  ociLayer: 'application/vnd.oci.image.layer.v1.tar',
  ociLayerGzip: 'application/vnd.oci.image.layer.v1.tar+gzip',
  ociLayerZstd: 'application/vnd.oci.image.layer.v1.tar+zstd',
  ociEmpty: 'application/vnd.oci.empty.v1+json',
  dockerManifest: 'application/vnd.docker.distribution.manifest.v2+json',
  dockerManifestList: 'application/vnd.docker.distribution.manifest.list.v2+json',
  dockerConfig: 'application/vnd.docker.container.image.v1+json',
  dockerLayer: 'application/vnd.docker.image.rootfs.diff.tar',
  dockerLayerGzip: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
  dockerForeignLayer: 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
  ociForeignLayer: 'application/vnd.oci.image.layer.nondistributable.v1.tar',
  dockerSchema1: 'application/vnd.docker.distribution.manifest.v1+json',
  dockerSchema1Signed: 'application/vnd.docker.distribution.manifest.v1+prettyjws',
} as const;

/** Points to content by its digest. */
export interface Descriptor {
  mediaType: string;
  /** `sha256:<64 hex>` or `sha512:<128 hex>` */
  digest: string;
  /** Bytes. */
  size: number;
  /** Where else the content can be had. */
  urls?: string[] | null;
  /** The content itself, in base64. */
  data?: string | null;
  annotations?: Record<string, string> | null;
  artifactType?: string;
}

/** An index's entry: a manifest, and what it is for. */
export interface IndexEntry extends Descriptor {
  platform?: Platform | null;
}

export interface ImageManifest {
  schemaVersion: 2;
  /** Docker always writes it, OCI may leave it out. */
  mediaType?: string;
  config: Descriptor;
  /** What it is, when it is no image. */
  artifactType?: string;
  /** The base first. */
  layers: Descriptor[];
  annotations?: Record<string, string> | null;
}

/** OCI image index, Docker manifest list. */
export interface ImageIndex {
  schemaVersion: 2;
  mediaType?: string;
  manifests: IndexEntry[];
  annotations?: Record<string, string> | null;
}

/** Durations in nanoseconds. */
export interface Healthcheck {
  Test?: string[] | null;
  Interval?: number;
  Timeout?: number;
  StartPeriod?: number;
  StartInterval?: number;
  Retries?: number;
}

/** What a container made from the image starts with. Go writes `null` for an empty list. */
export interface ContainerConfig {
  Hostname?: string;
  Domainname?: string;
  /** `user`, `uid`, `user:group`, `uid:gid` */
  User?: string;
  AttachStdin?: boolean;
  AttachStdout?: boolean;
  AttachStderr?: boolean;
  Tty?: boolean;
  OpenStdin?: boolean;
  StdinOnce?: boolean;
  /** `NAME=value` */
  Env?: string[] | null;
  Cmd?: string[] | null;
  Entrypoint?: string[] | null;
  /** Keys `80/tcp`. */
  ExposedPorts?: Record<string, unknown> | null;
  /** Keys are paths in the container. */
  Volumes?: Record<string, unknown> | null;
  WorkingDir?: string;
  Labels?: Record<string, string> | null;
  OnBuild?: string[] | null;
  Healthcheck?: Healthcheck | null;
  Image?: string;
  StopSignal?: string;
  /** Seconds. */
  StopTimeout?: number | null;
  Shell?: string[] | null;
  NetworkDisabled?: boolean;
  MacAddress?: string;
  ArgsEscaped?: boolean;
}

export interface HistoryEntry {
  created?: string | null;
  created_by?: string;
  author?: string;
  comment?: string;
  /** The step made no layer: it has no diffID. */
  empty_layer?: boolean;
}

/** The image's own JSON; the image's id is the digest of its exact bytes. */
export interface ImageConfig {
  architecture: string;
  os: string;
  variant?: string;
  /** RFC 3339. */
  created?: string | null;
  author?: string;
  config?: ContainerConfig | null;
  rootfs: {
    type: string;
    /** Digests of the uncompressed layers, the base first. */
    diff_ids: string[];
  };
  history?: HistoryEntry[] | null;
  /** Docker's own, on committed and built images. */
  container?: string;
  container_config?: ContainerConfig | null;
  docker_version?: string;
}
