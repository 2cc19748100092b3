/** What the engine's verbs take and give back: plain data, shared by the engine and its callers. Types only. */
import type { Plan, Step } from '../plan/step.ts';
import type { ClientOptions } from '../registry/client.ts';
import type { ExitStatus, StreamName } from '../runtime/session.ts';
import type {
  ContainerConfig,
  ContainerRecord,
  ContainerState,
  GoSet,
  Health,
  PortBinding,
} from '../spec/container.ts';
import type { PublishedPort } from '../spec/network.ts';
import type { Healthcheck } from '../spec/oci-image.ts';
import type { Resources } from '../spec/resources.ts';
import type { MountSpec } from '../spec/volume.ts';

export interface EngineOptions {
  /** `/var/lib/tsbox` */
  dataRoot: string;
  /** `/run/tsbox` */
  runRoot: string;
  /** `--registry-mirror`, in the order of the command line. */
  registryMirrors?: readonly string[];
  /** Patience with registries; the client's own where absent. */
  registry?: Pick<ClientOptions, 'timeouts' | 'retry'>;
  /** `--userns-remap`: whose subordinate ids containers get that ask for nothing else. */
  usernsRemap?: string;
  /** `--bridge`: interface of the default network, `none` for no such network; one is made up where absent. */
  bridge?: string;
  /** `--storage-driver`; chosen by what the host can do where absent. */
  storageDriver?: string;
  /** What a layer may unpack to; the codec's own limits where absent. */
  limits?: UnpackLimits;
}

export type AttachedStream = 'stdin' | 'stdout' | 'stderr';

/** Limits against archives that are made to fill a disk. */
export interface UnpackLimits {
  /** Bytes that come out. */
  maxBytes?: number;
  /** How many times larger than what went in. */
  maxRatio?: number;
  /** Files, directories and so on. */
  maxEntries?: number;
}

/** `run` and `create`: what the user asked for, nothing looked up yet. */
export interface ContainerRequest {
  image: string;
  /** What stood behind the image. */
  command: readonly string[];
  name?: string;
  hostname?: string;
  user?: string;
  workdir?: string;
  /** `KEY=VALUE`; a bare `KEY` was replaced by the caller's value or left out. */
  env: readonly string[];
  /** `--entrypoint`; the empty string takes the image's away. */
  entrypoint?: string;
  labels: Readonly<Record<string, string>>;
  tty: boolean;
  openStdin: boolean;
  /** The caller will attach (no `-d`): decides AttachStdout and friends, and StdinOnce. */
  attached: boolean;
  /** Then only to these; to its output, and its input if that is open, when absent. */
  attach?: readonly AttachedStream[];
  autoRemove: boolean;
  readonlyRootfs: boolean;
  /** `-v`: `[SOURCE:]DESTINATION[:ro]`, not split. */
  volumes: readonly string[];
  /** `--mount`, as Docker's `Mount`. */
  mounts?: readonly MountSpec[];
  /** `--tmpfs`: options by path, comma-separated. */
  tmpfs?: Readonly<Record<string, string>>;
  /** `--volumes-from`: `CONTAINER[:ro]`. */
  volumesFrom?: readonly string[];
  /** `--volume-driver`: of the volumes of `-v` and the image that have to be made. */
  volumeDriver?: string;
  /** `--network`: a mode or a network; `default` unless given. */
  network: string;
  /** Names for others in the network, which a user has made. */
  networkAliases?: readonly string[];
  /** `CONTAINER[:ALIAS]` */
  links?: readonly string[];
  domainname?: string;
  /** `NAME:ADDRESS`, or `host-gateway` as the address. */
  extraHosts?: readonly string[];
  /** Servers, domains to search and options of resolv.conf(5): each, when there is one, instead of the host's. */
  dns?: readonly string[];
  dnsSearch?: readonly string[];
  dnsOptions?: readonly string[];
  /** `80/tcp`: those that are published too. */
  exposedPorts?: readonly string[];
  /** By `80/tcp`. */
  portBindings?: Readonly<Record<string, PortBinding[]>>;
  /** `--publish-all` */
  publishAllPorts?: boolean;
  /** What was asked for in each network, that of `network` first; absent when nothing was. */
  endpoints?: readonly EndpointRequest[];
  /** `--userns`: `host`, or whose subordinate ids; absent for the engine's own choice. */
  userns?: string;
  capAdd: readonly string[];
  capDrop: readonly string[];
  /** `seccomp=` is followed by the profile itself and not by the name of its file. */
  securityOpt: readonly string[];
  /** `--security-opt systempaths=unconfined`: nothing of /proc and /sys is covered or read-only. */
  systemPaths?: 'unconfined';
  /** Modes of namespaces, as Docker's `IpcMode`, `PidMode`, `UTSMode`, `CgroupnsMode` have them. */
  ipc?: string;
  pid?: string;
  uts?: string;
  cgroupns?: string;
  /** Bytes of /dev/shm. */
  shmSize?: number;
  sysctls?: Readonly<Record<string, string>>;
  /** Names and numbers. */
  groupAdd?: readonly string[];
  privileged?: boolean;
  /** Limits and devices: those that were asked for. */
  resources?: Partial<Resources>;
  oomScoreAdj?: number;
  /** `--log-driver`, `--log-opt`: not looked at yet. */
  logDriver?: string;
  logOptions?: readonly string[];
  stopSignal?: string;
  /** Seconds. */
  stopTimeout?: number;
  /** What is left open is the image's; `NONE` turns that off. */
  healthcheck?: Healthcheck;
  /** An init is the first process. */
  init?: boolean;
  /** `on-failure:3` */
  restart?: string;
  pull: 'missing' | 'always' | 'never';
  platform?: string;
}

/** What is asked for in one network: by `run`, `create` and `network connect`. */
export interface EndpointRequest {
  network: string;
  ip?: string;
  ip6?: string;
  mac?: string;
  aliases?: readonly string[];
  /** `NAME[:ALIAS]` */
  links?: readonly string[];
  driverOptions?: Readonly<Record<string, string>>;
}

/** A step that was run, or is about to be shown by `--dry-run`. */
export interface StepEvent {
  list: 'setup' | 'monitor' | 'init' | 'cleanup';
  /** From 1, within its list. */
  number: number;
  /** Below which step it is nested, for `outside` lists. */
  depth: number;
  step: Step;
  /** 0 when it worked; absent when it has not been run. */
  errno?: number;
  /** Nanoseconds; absent when it has not been run. */
  ns?: number;
}

export interface StartOptions {
  /** Called for each step as it is run. */
  explain?: (event: StepEvent) => void;
  /** Window of the terminal. */
  size?: { rows: number; columns: number };
  /** Whether the caller gives standard input: then the end of the session is its end, for a container that has it once. True when
   *  absent. */
  stdin?: boolean;
  /** The caller stays to see the output: told as the event `attach`. */
  attach?: boolean;
}

export type { ExitStatus, StreamName };

/** A live connection to a container's or an exec's monitor. */
export interface Session {
  readonly id: string;
  /** As the host sees it; known once `started` is fulfilled. */
  pid(): number;
  /** Where output goes from here on; until it is called nothing is read. `write` returns false to ask for a pause until `resume()`. */
  output(write: (stream: StreamName, data: Buffer) => boolean): void;
  resume(): void;
  /** @returns false when the container does not take it as fast: wait for `drained` */
  stdin(data: Buffer): boolean;
  onDrained(callback: () => void): void;
  closeStdin(): void;
  resize(size: { rows: number; columns: number }): void;
  /** Fulfilled when the process has ended and the cleanup is done; rejected when the connection was lost. */
  readonly exited: Promise<ExitStatus>;
  /** Leaves; the container goes on. */
  detach(): void;
}

export interface ExecRequest {
  container: string;
  command: readonly string[];
  env: readonly string[];
  workdir?: string;
  user?: string;
  tty: boolean;
  openStdin: boolean;
  detach: boolean;
  /** All capabilities; the filter of system calls stays the container's, as with Docker. */
  privileged?: boolean;
  size?: { rows: number; columns: number };
}

/** What lists tell of a container's record. */
export interface ListedRecord
  extends Pick<ContainerRecord, 'ID' | 'Created' | 'Path' | 'Args' | 'Image' | 'Name' | 'State' | 'MountPoints'> {
  NetworkSettings: ContainerRecord['NetworkSettings'] | undefined;
  Config: Pick<ContainerConfig, 'Image' | 'Labels'> & {
    ExposedPorts: GoSet | undefined;
    Healthcheck: Healthcheck | undefined;
  };
}

export interface ContainerSummary {
  record: ListedRecord;
  /** The name by which its image was asked for, or the image's id where that name leads elsewhere by now. */
  image: string;
  /** Whether memory was wanting takes a look at one file more. */
  state: Omit<ContainerState, 'OOMKilled'>;
  /** Of one with a health check that was started. */
  health?: Health;
  /** Docker's `NetworkMode`; absent when nobody asked. */
  network?: string;
  /** Of one that runs; absent when nobody asked. */
  ports?: { published: readonly PublishedPort[]; exposed: GoSet };
}

export interface ImageSummary {
  id: string;
  /** Familiar `name:tag`s; empty for a dangling image. */
  tags: string[];
  /** `name@sha256:...` */
  digests: string[];
  /** Bytes of all its layers. */
  size: number;
  created: string;
  labels: Readonly<Record<string, string>>;
  /** The image that it was made from, empty where that is not here; absent where nobody asked. */
  parent?: string;
}

export interface HistoryEntry {
  /** Image id, or `<missing>`. */
  id: string;
  created: string;
  createdBy: string;
  size: number;
  comment: string;
  tags: string[];
}

/** Progress of a pull, a push or a load. `layer` is the short digest that Docker shows. */
export type Progress =
  | { kind: 'text'; text: string }
  | { kind: 'layer'; layer: string; status: LayerStatus; current?: number; total?: number };

export type LayerStatus =
  | 'Pulling fs layer'
  | 'Waiting'
  | 'Downloading'
  | 'Verifying Checksum'
  | 'Download complete'
  | 'Extracting'
  | 'Pull complete'
  | 'Already exists'
  | 'Loading layer'
  | 'Preparing'
  | 'Pushing'
  | 'Pushed'
  | 'Layer already exists'
  | `Mounted from ${string}`
  | `Retrying in ${string}`;

export type OnProgress = (progress: Progress) => void;

export interface CommitRequest {
  container: string;
  /** `NAME[:TAG]`; without it the image has only its id. */
  reference?: string;
  message: string;
  author: string;
  /** Dockerfile instructions. */
  changes: readonly string[];
  pause: boolean;
}

export interface Removed {
  /** Names, in the order in which they went. */
  untagged: string[];
  /** Ids of images, each followed by the chain ids of its layers. */
  deleted: string[];
}

export interface PlanPreview {
  plan: Plan;
  id: string;
}
