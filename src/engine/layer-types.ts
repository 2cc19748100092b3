/** What tsbox takes: which media types as layers, which images at all. */
import { TsboxError } from '../errors.ts';
import { type Descriptor, type ImageConfig, MEDIA_TYPE } from '../spec/oci-image.ts';

const LAYERS: readonly string[] = [
  MEDIA_TYPE.ociLayer,
  MEDIA_TYPE.ociLayerGzip,
  MEDIA_TYPE.ociLayerZstd,
  MEDIA_TYPE.dockerLayer,
  MEDIA_TYPE.dockerLayerGzip,
  // Not in any specification, but some tools have written them.
  'application/vnd.docker.image.rootfs.diff.tar.zstd',
  'application/vnd.docker.image.rootfs.diff.tar+gzip',
  // Layers that registries mostly do not have: their descriptors say where they are.
  MEDIA_TYPE.dockerForeignLayer,
  MEDIA_TYPE.ociForeignLayer,
  `${MEDIA_TYPE.ociForeignLayer}+gzip`,
  `${MEDIA_TYPE.ociForeignLayer}+zstd`,
];

/** @throws ERR_TSBOX_UNSUPPORTED for what is no layer, or encrypted */
export function requireLayerType({ mediaType, digest }: Descriptor, what: string): void {
  if (LAYERS.includes(mediaType)) return;
  const type = JSON.stringify(mediaType.slice(0, 200));
  throw new TsboxError('ERR_TSBOX_UNSUPPORTED', `${what}: layer ${digest} is of type ${type}`);
}

/** @throws ERR_TSBOX_UNSUPPORTED for an image of another operating system; very old ones do not say */
export function requireLinux({ os }: ImageConfig, what: string): void {
  if (os === 'linux' || os === '') return;
  const message = `${what}: image operating system ${JSON.stringify(os.slice(0, 50))} cannot be used on this platform`;
  throw new TsboxError('ERR_TSBOX_UNSUPPORTED', message);
}
