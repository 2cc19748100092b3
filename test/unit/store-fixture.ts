/** A store in a temporary directory, and layers, images and containers made up for it. */
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { TestContext } from 'node:test';
import type { Engine } from '../../src/engine/open.ts';
import { type ContainerRecord, type HostConfig, NEVER } from '../../src/spec/container.ts';
import { createContainer, newContainerId } from '../../src/store/create-container.ts';
import { putImage, tag } from '../../src/store/image-changes.ts';
import { newLease, releaseLease } from '../../src/store/leases.ts';
import { openStore } from '../../src/store/open.ts';
import { type ApplyLayer, registerLayer } from '../../src/store/register.ts';
import type { Store } from '../../src/store/store.ts';

export function temporaryStore(context: TestContext): Store {
  const root = mkdtempSync(join(tmpdir(), 'tsbox-store-'));
  context.after(() => rmSync(root, { recursive: true, force: true }));
  return openStore({ dataRoot: `${root}/data`, runRoot: `${root}/run` });
}

/** An engine on {@link temporaryStore}. */
export function temporaryEngine(context: TestContext): Engine {
  const store = temporaryStore(context);
  return { store, options: { dataRoot: store.dataRoot, runRoot: store.runRoot } };
}

export const sha256 = (text: string | Buffer) => `sha256:${createHash('sha256').update(text).digest('hex')}`;

/** Files by path (`dir/` makes a directory); stands for the unpacking of a tar. */
export function filesLayer(files: Readonly<Record<string, string>>): ApplyLayer {
  return async ({ dir, tarSplit }) => {
    let size = 0;
    for (const [path, content] of Object.entries(files)) {
      const place = join(dir, path);
      mkdirSync(path.endsWith('/') ? place : dirname(place), { recursive: true });
      if (path.endsWith('/')) continue;
      writeFileSync(place, content);
      size += content.length;
    }
    writeFileSync(tarSplit, '');
    return { diffId: sha256(JSON.stringify(files)), archiveSize: 0, size };
  };
}

export interface MadeImage {
  id: string;
  /** The base first. */
  chainIds: string[];
}

/** An image of these layers, with these names. `salt` makes two images of the same layers different. */
export async function makeImage(
  store: Store,
  layers: readonly Readonly<Record<string, string>>[],
  options: { names?: readonly string[]; salt?: string; parent?: string } = {},
): Promise<MadeImage> {
  const lease = newLease();
  try {
    const chainIds: string[] = [];
    const diffIds: string[] = [];
    for (const files of layers) {
      const layer = await registerLayer(store, lease, chainIds.at(-1), filesLayer(files));
      chainIds.push(layer.chainId);
      diffIds.push(layer.diffId);
    }
    const config = {
      architecture: 'amd64',
      os: 'linux',
      created: '2024-01-02T03:04:05.678Z',
      config: { Env: ['A=b'], Cmd: ['sh'] },
      rootfs: { type: 'layers', diff_ids: diffIds },
      history: layers.map((_, index) => ({ created: '2024-01-02T03:04:05Z', created_by: `step ${index}` })),
      ...(options.salt === undefined ? {} : { author: options.salt }),
    };
    const id = putImage(
      store,
      Buffer.from(JSON.stringify(config)),
      options.parent === undefined ? {} : { parent: options.parent },
    );
    for (const name of options.names ?? []) tag(store, name, id);
    return { id, chainIds };
  } finally {
    releaseLease(lease);
  }
}

export function recordOf(image: string, name = '', id = newContainerId()): ContainerRecord {
  return {
    ID: id,
    Created: new Date().toISOString(),
    Path: 'sh',
    Args: [],
    Config: {
      Hostname: id.slice(0, 12),
      Domainname: '',
      User: '',
      AttachStdin: false,
      AttachStdout: true,
      AttachStderr: true,
      Tty: false,
      OpenStdin: false,
      StdinOnce: false,
      Env: [],
      Cmd: ['sh'],
      Image: image,
      Volumes: null,
      WorkingDir: '',
      Entrypoint: null,
      OnBuild: null,
      Labels: {},
    },
    Image: image,
    Name: `/${name}`,
    Driver: 'overlay2',
    OS: 'linux',
    State: {
      Status: 'created',
      Running: false,
      Paused: false,
      Restarting: false,
      OOMKilled: false,
      Dead: false,
      Pid: 0,
      ExitCode: 0,
      Error: '',
      StartedAt: NEVER,
      FinishedAt: NEVER,
    },
    MountPoints: {},
    HostnamePath: '',
    HostsPath: '',
    ResolvConfPath: '',
    LogPath: '',
    RestartCount: 0,
    HasBeenStartedBefore: false,
  };
}

export const HOST_CONFIG: HostConfig = {
  Binds: null,
  ContainerIDFile: '',
  LogConfig: { Type: 'json-file', Config: {} },
  NetworkMode: 'none',
  AutoRemove: false,
  CapAdd: null,
  CapDrop: null,
  CgroupnsMode: 'private',
  Privileged: false,
  ReadonlyRootfs: false,
  SecurityOpt: null,
  ShmSize: 67108864,
  UsernsMode: '',
  ConsoleSize: [0, 0],
  MaskedPaths: [],
  ReadonlyPaths: [],
};

export function makeContainer(store: Store, image: MadeImage, name = '') {
  return createContainer(store, recordOf(image.id, name), HOST_CONFIG, image.chainIds.at(-1));
}
