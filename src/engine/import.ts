/** `import`: a root file system becomes an image of one layer. */
import { wrapError } from '../errors.ts';
import { applyLayer } from '../layer/apply.ts';
import { decompress } from '../layer/decompress.ts';
import type { ContainerConfig, ImageConfig } from '../spec/oci-image.ts';
import { defaultPlatform, parsePlatform } from '../spec/platform.ts';
import { familiarString, parseNewName } from '../spec/reference.ts';
import { noteImage } from '../store/events.ts';
import { putImage, setReferences } from '../store/image-changes.ts';
import { registerLayer } from '../store/register.ts';
import { withLease } from '../store/take-back.ts';
import { applyChanges } from './changes.ts';
import { isUrl, openSource } from './import-source.ts';
import { unpackAs } from './install-layers.ts';
import { abortable, interruptible } from './interrupt.ts';
import type { Engine } from './open.ts';
import { VERSION } from './version.ts';

export interface ImportRequest {
  /** Path of a tar, compressed or not; `-` for standard input; an http(s) URL. */
  source: string;
  /** `NAME[:TAG]`; without it the image has only its id. */
  reference?: string;
  /** `Imported from ...` when empty. */
  message: string;
  /** Dockerfile instructions. */
  changes: readonly string[];
  platform?: string;
  /** Told what could not be kept of the archive, a sentence a kind. */
  notice?(text: string): void;
}

/** As Docker writes a configuration that says nothing. */
const EMPTY_CONFIG: ContainerConfig = {
  Hostname: '',
  Domainname: '',
  User: '',
  AttachStdin: false,
  AttachStdout: false,
  AttachStderr: false,
  Tty: false,
  OpenStdin: false,
  StdinOnce: false,
  Env: null,
  Cmd: null,
  Image: '',
  Volumes: null,
  WorkingDir: '',
  Entrypoint: null,
  OnBuild: null,
  Labels: null,
};

function imageConfig(
  request: ImportRequest,
  config: ContainerConfig,
  diffId: string,
): ImageConfig & { comment: string } {
  const platform = request.platform === undefined ? defaultPlatform() : parsePlatform(request.platform);
  const created = new Date().toISOString();
  const comment = request.message || `Imported from ${isUrl(request.source) ? request.source : '-'}`;
  return {
    architecture: platform.architecture,
    comment,
    config,
    container_config: EMPTY_CONFIG,
    created,
    docker_version: VERSION,
    history: [{ created, comment }],
    os: platform.os,
    rootfs: { type: 'layers', diff_ids: [diffId] },
    ...(platform.variant === undefined ? {} : { variant: platform.variant }),
  };
}

/** Makes an image. Wrong changes and a wrong name are found before anything is read.
 *  @returns the image's id
 *  @throws ERR_TSBOX_USAGE, ERR_TSBOX_SPEC; ERR_TSBOX_DAMAGED, ERR_TSBOX_LIMIT, SyscallError: then nothing stays behind */
export function importImage({ store, options }: Engine, request: ImportRequest): Promise<string> {
  return interruptible(async (signal) => {
    const config = applyChanges(EMPTY_CONFIG, request.changes);
    const reference = request.reference === undefined ? undefined : parseNewName(request.reference);
    imageConfig(request, config, '');
    try {
      return await withLease(store, async (lease) => {
        const layer = await registerLayer(store, lease, undefined, async (target) => {
          const archive = decompress(abortable(openSource(request.source, signal), signal), options.limits);
          const applied = await applyLayer(archive, target.dir, {
            ...unpackAs(),
            limits: options.limits ?? {},
            tarSplit: target.tarSplit,
          });
          for (const notice of applied.notices) request.notice?.(notice);
          return applied;
        });
        const bytes = Buffer.from(JSON.stringify(imageConfig(request, config, layer.diffId)));
        const id = putImage(store, bytes, {
          lease,
          name: (locked, id) => reference !== undefined && setReferences(locked, [reference], id),
        });
        if (reference !== undefined) noteImage(store, 'tag', id, { name: familiarString(reference) });
        noteImage(store, 'import', id);
        return id;
      });
    } catch (error) {
      throw wrapError(`import ${request.source}`, error);
    }
  });
}
