/**
 * What Docker's templates see of an object that is inspected: Go's structs, whose fields are there whether JSON has them or not.
 * Pure. @see Docker's api/types; pkg.go.dev/text/template
 */
import { goTimeText } from '../spec/go-time.ts';

/** A struct with its fields; JSON has what it was made from. */
export class GoStruct {
  readonly type: string;
  readonly json: Readonly<Record<string, unknown>>;

  constructor(type: string, json: Readonly<Record<string, unknown>>) {
    this.type = type;
    this.json = json;
  }

  /** undefined when the type has no such field. */
  field(name: string): { value: unknown } | undefined {
    const found = fieldsOf(this.type).get(name);
    return found === undefined ? undefined : { value: goValue(this.json[found.key], found.type) };
  }

  values(): unknown[] {
    return [...fieldsOf(this.type).values()].map(({ key, type }) => goValue(this.json[key], type));
  }

  toJSON(): unknown {
    return this.json;
  }
}

/** A list, map or pointer that is not there. */
export class GoNil {
  readonly kind: 'list' | 'map' | 'pointer';

  constructor(kind: GoNil['kind']) {
    this.kind = kind;
  }

  toJSON(): null {
    return null;
  }
}

/** A number or text of JSON that Go prints in another way. */
export class GoShown {
  readonly json: unknown;
  readonly text: string;

  constructor(json: unknown, text: string) {
    this.json = json;
    this.text = text;
  }

  toJSON(): unknown {
    return this.json;
  }
}

interface Field {
  /** Its name in JSON. */
  key: string;
  type: string;
}

/** By Go's names, `name/key` where JSON has another: types as Go writes them, `set` for map[string]struct{}. */
const STRUCTS: Readonly<Record<string, string>> = {
  Container:
    'ID/Id string, Created string, Path string, Args []string, State *State, Image string, ResolvConfPath string, HostnamePath string, ' +
    'HostsPath string, LogPath string, Name string, RestartCount int, Driver string, Platform string, MountLabel string, ' +
    'ProcessLabel string, AppArmorProfile string, ExecIDs []string, HostConfig *HostConfig, GraphDriver GraphDriver, SizeRw *int, ' +
    'SizeRootFs *int, Mounts []Mount, Config *Config, NetworkSettings *NetworkSettings',
  State:
    'Status string, Running bool, Paused bool, Restarting bool, OOMKilled bool, Dead bool, Pid int, ExitCode int, Error string, ' +
    'StartedAt string, FinishedAt string, Health *Health',
  Health: 'Status string, FailingStreak int, Log []*Probe',
  Probe: 'Start time, End time, ExitCode int, Output string',
  GraphDriver: 'Data map[string]string, Name string',
  Mount:
    'Type string, Name string, Source string, Destination string, Driver string, Mode string, RW bool, Propagation string',
  Config:
    'Hostname string, Domainname string, User string, AttachStdin bool, AttachStdout bool, AttachStderr bool, ExposedPorts set, ' +
    'Tty bool, OpenStdin bool, StdinOnce bool, Env []string, Cmd []string, Healthcheck *Healthcheck, ArgsEscaped bool, Image string, ' +
    'Volumes set, WorkingDir string, Entrypoint []string, NetworkDisabled bool, MacAddress string, OnBuild []string, ' +
    'Labels map[string]string, StopSignal string, StopTimeout *int, Shell []string',
  Healthcheck: 'Test []string, Interval duration, Timeout duration, StartPeriod duration, Retries int',
  HostConfig:
    'Binds []string, ContainerIDFile string, LogConfig LogConfig, NetworkMode string, PortBindings map[string][]PortBinding, ' +
    'RestartPolicy RestartPolicy, AutoRemove bool, VolumeDriver string, VolumesFrom []string, ConsoleSize []int, CapAdd []string, ' +
    'CapDrop []string, CgroupnsMode string, DNS/Dns []string, DNSOptions/DnsOptions []string, DNSSearch/DnsSearch []string, ' +
    'ExtraHosts []string, GroupAdd []string, IpcMode string, Cgroup string, Links []string, OomScoreAdj int, PidMode string, ' +
    'Privileged bool, PublishAllPorts bool, ReadonlyRootfs bool, SecurityOpt []string, StorageOpt map[string]string, ' +
    'Tmpfs map[string]string, UTSMode string, UsernsMode string, ShmSize int, Sysctls map[string]string, Runtime string, ' +
    'Isolation string, CPUShares/CpuShares int, Memory int, NanoCPUs/NanoCpus int, CgroupParent string, BlkioWeight int, ' +
    'BlkioWeightDevice []any, BlkioDeviceReadBps []any, BlkioDeviceWriteBps []any, BlkioDeviceReadIOps []any, ' +
    'BlkioDeviceWriteIOps []any, CPUPeriod/CpuPeriod int, CPUQuota/CpuQuota int, CPURealtimePeriod/CpuRealtimePeriod int, ' +
    'CPURealtimeRuntime/CpuRealtimeRuntime int, CpusetCpus string, CpusetMems string, Devices []Device, DeviceCgroupRules []string, ' +
    'DeviceRequests []any, KernelMemory int, KernelMemoryTCP int, MemoryReservation int, MemorySwap int, MemorySwappiness *int, ' +
    'OomKillDisable *bool, PidsLimit *int, Ulimits []any, CPUCount/CpuCount int, CPUPercent/CpuPercent int, IOMaximumIOps int, ' +
    'IOMaximumBandwidth int, Mounts []any, MaskedPaths []string, ReadonlyPaths []string, Init *bool',
  LogConfig: 'Type string, Config map[string]string',
  RestartPolicy: 'Name string, MaximumRetryCount int',
  Device: 'PathOnHost string, PathInContainer string, CgroupPermissions string',
  PortBinding: 'HostIP/HostIp string, HostPort string',
  NetworkSettings:
    'Bridge string, SandboxID string, HairpinMode bool, LinkLocalIPv6Address string, LinkLocalIPv6PrefixLen int, ' +
    'Ports map[string][]PortBinding, SandboxKey string, SecondaryIPAddresses []any, SecondaryIPv6Addresses []any, EndpointID string, ' +
    'Gateway string, GlobalIPv6Address string, GlobalIPv6PrefixLen int, IPAddress string, IPPrefixLen int, IPv6Gateway string, ' +
    'MacAddress string, Networks map[string]*Endpoint',
  Endpoint:
    'IPAMConfig *EndpointIPAM, Links []string, Aliases []string, NetworkID string, EndpointID string, Gateway string, ' +
    'IPAddress string, IPPrefixLen int, IPv6Gateway string, GlobalIPv6Address string, GlobalIPv6PrefixLen int, MacAddress string, ' +
    'DriverOpts map[string]string',
  EndpointIPAM: 'IPv4Address string, IPv6Address string, LinkLocalIPs []string',
  Network:
    'Name string, ID/Id string, Created time, Scope string, Driver string, EnableIPv6 bool, IPAM IPAM, Internal bool, ' +
    'Attachable bool, Ingress bool, ConfigFrom ConfigFrom, ConfigOnly bool, Containers map[string]NetworkEndpoint, ' +
    'Options map[string]string, Labels map[string]string, Peers []any, Services map[string]any',
  IPAM: 'Driver string, Options map[string]string, Config []Subnet',
  Subnet: 'Subnet string, IPRange string, Gateway string, AuxAddress/AuxiliaryAddresses map[string]string',
  ConfigFrom: 'Network string',
  NetworkEndpoint: 'Name string, EndpointID string, MacAddress string, IPv4Address string, IPv6Address string',
  Volume:
    'CreatedAt string, Driver string, Labels map[string]string, Mountpoint string, Name string, Options map[string]string, ' +
    'Scope string, Status map[string]any, UsageData *UsageData',
  Image:
    'ID/Id string, RepoTags []string, RepoDigests []string, Parent string, Comment string, Created string, Container string, ' +
    'ContainerConfig *Config, DockerVersion string, Author string, Config *Config, Architecture string, Variant string, Os string, ' +
    'OsVersion string, Size int, VirtualSize int, GraphDriver GraphDriver, RootFS RootFS, Metadata ImageMetadata',
  RootFS: 'Type string, Layers []string, BaseLayer string',
  ImageMetadata: 'LastTagTime time',
  UsageData: 'RefCount int, Size int',
  Event:
    'Status/status string, ID/id string, From/from string, Type string, Action string, Actor Actor, Scope/scope string, ' +
    'Time/time int, TimeNano/timeNano int',
  Actor: 'ID string, Attributes map[string]string',
};

const parsed = new Map<string, Map<string, Field>>();

function fieldsOf(type: string): Map<string, Field> {
  let fields = parsed.get(type);
  if (fields === undefined) {
    fields = new Map();
    for (const text of STRUCTS[type]!.split(', ')) {
      const [names = '', of = ''] = text.split(' ');
      const [name = '', key = name] = names.split('/');
      fields.set(name, { key, type: of });
    }
    parsed.set(type, fields);
  }
  return fields;
}

const ZEROS: Readonly<Record<string, unknown>> = { string: '', int: 0, bool: false };

/** A value of JSON as Go has it in a field of that type. */
function goValue(json: unknown, type: string): unknown {
  const isThere = json !== undefined && json !== null;
  if (type.startsWith('*')) return isThere ? goValue(json, type.slice(1)) : new GoNil('pointer');
  if (type.startsWith('[]')) {
    return isThere
      ? keepJson(
          (json as unknown[]).map((each) => goValue(each, type.slice(2))),
          json,
        )
      : new GoNil('list');
  }
  if (type === 'set') return isThere ? goMap(json, 'Empty') : new GoNil('map');
  if (type.startsWith('map[string]')) return isThere ? goMap(json, type.slice('map[string]'.length)) : new GoNil('map');
  if (type === 'duration') return new GoShown(json ?? 0, durationText(Number(json ?? 0)));
  if (type === 'time') {
    const text = String(json ?? '0001-01-01T00:00:00Z');
    return new GoShown(text, goTimeText(text));
  }
  if (type in ZEROS) return json ?? ZEROS[type];
  if (type in STRUCTS) return new GoStruct(type, (json ?? {}) as Record<string, unknown>);
  return type === 'Empty' ? EMPTY : json;
}

/** Go's struct{}. */
const EMPTY = new GoShown({}, '{}');

const ZERO = Symbol('zero');

function goMap(json: unknown, type: string): object {
  const entries = Object.entries(json as Record<string, unknown>).map(([key, each]) => [key, goValue(each, type)]);
  const value = type === 'Empty' ? EMPTY : ZEROS[type];
  return Object.defineProperty(keepJson(Object.fromEntries(entries) as object, json), ZERO, { value });
}

/** What `index` gives for a key that a map does not have: of texts the empty one; of what is no value in Docker's templates, none. */
export const zeroOf = (map: object): unknown => (map as { [ZERO]?: unknown })[ZERO];

/** In JSON a list or map is as it was. */
function keepJson<T extends object>(value: T, json: unknown): T {
  const written = () => (json as { toJSON?(): unknown }).toJSON?.() ?? (isNilJson(json) ? null : json);
  return Object.defineProperty(value, 'toJSON', { value: written, enumerable: false });
}

/** Has it a JSON of its own, which is null? */
const isNilJson = (json: unknown) => typeof (json as { toJSON?: unknown }).toJSON === 'function';

/** Is it a map of Go's, which has no value for a key that is not there? */
export const isGoMap = (value: object) => Object.hasOwn(value, 'toJSON');

/** What a template sees of an inspected object. */
export function inspected(kind: 'container' | 'image' | 'network' | 'volume', json: object): GoStruct {
  return new GoStruct(kind.slice(0, 1).toUpperCase() + kind.slice(1), json as Record<string, unknown>);
}

/** Nanoseconds as Go prints a time.Duration: `1m30s`, `1.5s`, `100ms`, `0s`. */
export function durationText(nanoseconds: number): string {
  if (nanoseconds === 0) return '0s';
  if (nanoseconds < 0) return `-${durationText(-nanoseconds)}`;
  if (nanoseconds < 1e3) return `${nanoseconds}ns`;
  if (nanoseconds < 1e6) return `${nanoseconds / 1e3}µs`;
  if (nanoseconds < 1e9) return `${nanoseconds / 1e6}ms`;
  const total = Math.floor(nanoseconds / 1e9);
  const seconds = `${((total % 60) * 1e9 + (nanoseconds % 1e9)) / 1e9}s`;
  const minutes = Math.floor(total / 60);
  if (minutes === 0) return seconds;
  return minutes < 60 ? `${minutes}m${seconds}` : `${Math.floor(minutes / 60)}h${minutes % 60}m${seconds}`;
}
