/** The plan of a container's start, from its record. Reads facts of the host and of the image; changes nothing. */
import { compilePlan } from '../plan/compile.ts';
import type { SeccompFilter } from '../plan/credentials.ts';
import type { MonitorInput } from '../plan/monitor.ts';
import { makeDirectories, type PathKind } from '../plan/mounts.ts';
import type { Plan, Step } from '../plan/step.ts';
import { hole, text } from '../plan/text.ts';
import { hostRoot } from '../plan/userns.ts';
import type { ContainerConfig, ContainerRecord, HostConfig } from '../spec/container.ts';
import type { HostFacts } from '../spec/host.ts';
import type { IdMaps } from '../spec/id-map.ts';
import { type LogSubject, logFile } from '../spec/log-config.ts';
import type { OciConfig, OciResources } from '../spec/oci-runtime.ts';
import { readContainer } from '../store/containers.ts';
import { driverOf } from '../store/drivers/choose.ts';
import { eventPlace, volumePlaces } from '../store/events.ts';
import { readFileInStack } from '../store/lookup.ts';
import type { RwLayer } from '../store/rw-layers.ts';
import { needsOwner, shiftedHome } from '../store/shifted.ts';
import {
  exitRecord,
  localLogDirectory,
  logPath,
  mappedPlace,
  memoryEventsFile,
  runDirectory,
  type Store,
  unionLock,
} from '../store/store.ts';
import { requireBuiltFile } from '../sys/built-file.ts';
import { cgroupFacts, parentCpuset } from '../sys/cgroup.ts';
import { deviceNumbers } from '../sys/node.ts';
import { isHostRoot, ownMaps } from '../sys/own-ids.ts';
import { hostFacts, pathKind } from '../sys/probe.ts';
import { parentPath, placeSteps } from './cgroup-path.ts';
import type { ContainerNetwork } from './container-network.ts';
import { containerDevices } from './devices.ts';
import { type Probe, probeOf } from './health.ts';
import { withMappedVolumes } from './mapped-volumes.ts';
import { noSuchSource } from './mount-spec.ts';
import { joinedContainers } from './namespaces.ts';
import { fileSteps, filesOf, hostResolvConf } from './network-files.ts';
import { wantedNetworks } from './network-mode.ts';
import { ociConfig, READY_MOUNT_POINTS } from './oci.ts';
import type { Engine } from './open.ts';
import { ownCommand } from './own-command.ts';
import { withPlaces } from './places.ts';
import { checkProcMounts } from './proc-mounts.ts';
import { removalSteps } from './removal.ts';
import { ociResources } from './resources.ts';
import { isCarrier } from './rootless-mode.ts';
import { seccompFilter } from './seccomp.ts';
import { shmCleanup, shmSetup, shmSource } from './shm.ts';
import { withTmpfsModes } from './tmpfs-modes.ts';
import { type ResolvedUser, resolveUser } from './user.ts';
import { mapsOf } from './userns.ts';
import { ownerSteps, releaseSteps } from './volume-use.ts';

export interface ContainerPlanInput {
  record: ContainerRecord;
  hostConfig: HostConfig;
  layer: RwLayer;
  size?: { rows: number; columns: number };
  /** Only to be looked at: nothing is kept, not even in a cache. */
  preview?: boolean;
}

export interface ContainerPlan {
  plan: Plan;
  config: OciConfig;
  facts: HostFacts;
  seccomp?: SeccompFilter;
  /** Of its user namespace, if it has one. */
  maps?: IdMaps;
}

/** Overlay's `volatile` option: Linux 5.10. */
const VOLATILE_SINCE = 510;

/** The user namespace of the container that is being started. */
const USERNS = text`/proc/${hole('pid')}/ns/user`;

const PASSWD_LIMIT = 16 * 1024 * 1024;

/** A container's user by the files in its own layers: nothing needs to be mounted for it. */
export function lookUpUser(layer: RwLayer, spec: string, groups: readonly string[]): ResolvedUser {
  const read = (path: string) => readFileInStack(layer.stack, path, PASSWD_LIMIT)?.toString('utf8') ?? '';
  return resolveUser(spec, read('/etc/passwd'), read('/etc/group'), groups);
}

/** What was asked for comes first. */
function withDns(hostConfig: HostConfig, dns: string | undefined): HostConfig {
  return dns === undefined || (hostConfig.Dns ?? []).length > 0 ? hostConfig : { ...hostConfig, Dns: [dns] };
}

/** Files of the host that belong to the container's root. */
function ownedByRoot(paths: readonly string[], maps: IdMaps | undefined): Step[] {
  if (maps === undefined) return [];
  const owner = hostRoot(maps);
  return paths.map((path) => ({ op: 'chown', path, ...owner, why: "it belongs to the container's root" }));
}

/** Loaded for binds that ask for it only. */
async function checkBinds(record: ContainerRecord): Promise<void> {
  const points = Object.values(record.MountPoints).filter(({ Spec }) => Spec?.BindOptions?.Propagation !== undefined);
  if (points.length > 0) (await import('./propagation.ts')).checkPropagation(points);
}

/** A source that is not there is made as a directory, as Docker does for `-v`. @throws ERR_TSBOX_USAGE for one of `--mount` */
export function sourceSteps(
  record: ContainerRecord,
  kinds: ReadonlyMap<string, PathKind>,
  maps: IdMaps | undefined,
): Step[] {
  const gone = Object.values(record.MountPoints).find(
    ({ SkipMountpointCreation, Source }) => SkipMountpointCreation === true && kinds.get(Source) === 'absent',
  );
  if (gone !== undefined) throw noSuchSource(gone.Source);
  return Object.values(record.MountPoints)
    .filter((point) => point.Type === 'bind' && kinds.get(point.Source) === 'absent')
    .flatMap((point) => [
      ...makeDirectories(point.Source, `the source of ${point.Destination} is not there yet`),
      ...ownedByRoot(maps === undefined ? [] : missingParts(point.Source), maps),
    ]);
}

/** The path, and what of the way to it is not there either. */
function missingParts(path: string): string[] {
  const parts = path.split('/').filter((part) => part !== '');
  return parts.map((_, index) => `/${parts.slice(0, index + 1).join('/')}`).filter((at) => pathKind(at) === 'absent');
}

function pathKinds(config: OciConfig, record: ContainerRecord, init: string | undefined): Map<string, PathKind> {
  const kinds = new Map<string, PathKind>();
  for (const path of [...(config.linux?.maskedPaths ?? []), ...(config.linux?.readonlyPaths ?? []), '/proc/kcore']) {
    const seen = /^\/(proc|sys)\//.test(path);
    if (seen) kinds.set(path, pathKind(path));
  }
  for (const { Source } of Object.values(record.MountPoints)) if (Source !== '') kinds.set(Source, pathKind(Source));
  if (init !== undefined) kinds.set(init, 'file');
  for (const path of filesOf(record)) kinds.set(path, 'file');
  return kinds;
}

function stdinMode(config: ContainerConfig): NonNullable<MonitorInput['stdin']> {
  if (!config.OpenStdin) return 'STDIN_NULL';
  return config.StdinOnce ? 'STDIN_ONCE' : 'STDIN_OPEN';
}

/** What has to be known of the place of the container's cgroups: on version 1 nothing, unless a limit or a parent was asked for. */
export function withCgroupFacts(facts: HostFacts, hostConfig: HostConfig, resources: OciResources): HostFacts {
  const { devices: _, ...limits } = resources;
  const parent = parentPath(hostConfig.CgroupParent);
  if (facts.cgroupMode !== 'unified' && parent === '' && Object.keys(limits).length === 0) return facts;
  const cpuset = parentCpuset(facts, parent);
  return { ...facts, cgroup: cgroupFacts(facts, parent), ...(cpuset !== undefined && { cpuset }) };
}

/** How the layers get the owners that a user namespace gives them: mapped when they are mounted, or as copies. */
async function layerOwners(
  { record, layer, preview }: ContainerPlanInput,
  store: Store,
  facts: HostFacts,
  maps: IdMaps,
) {
  const { mapsOwners } = await import('./maps-owners.ts');
  const { needsCopies, shiftLayers } = await import('./shift-layers.ts');
  const root = hostRoot(maps);
  if (
    !needsCopies(
      store,
      layer,
      maps,
      () => driverOf(store, layer).mapsOwners && mapsOwners(store, facts.kernel, preview !== true),
    )
  ) {
    const mapped = { userns: USERNS, ...root, place: mappedPlace(store, record.ID) };
    return { layers: { mapped }, setup: [] };
  }
  if (preview !== true) await shiftLayers(store, layer, maps);
  const setup: Step[] = needsOwner(layer.upper, maps)
    ? [
        {
          op: 'chown',
          path: layer.upper,
          ...root,
          why: 'what the container writes has the owners of outside, its root first',
        },
      ]
    : [];
  return { layers: { shifted: { home: shiftedHome(store, maps), ...root } }, setup };
}

function logSubject({ ID: id, Name, Image: imageId, Config }: ContainerRecord): LogSubject {
  const { Image: image, Labels: labels, Env: env } = Config;
  return { id, name: Name.replace(/^\//, ''), imageId, image, labels, env };
}

/** Who is in another container's network has its hosts, hostname and resolv.conf too, and its name. */
function withFilesOf(store: Store, record: ContainerRecord, id: string | undefined): ContainerRecord {
  if (id === undefined) return record;
  const { HostsPath, HostnamePath, ResolvConfPath, Config } = readContainer(store, id);
  const { Hostname, Domainname } = Config;
  return { ...record, HostsPath, HostnamePath, ResolvConfPath, Config: { ...record.Config, Hostname, Domainname } };
}

/** Loaded for containers only that have networks of their own. */
async function networkOf(
  { record, hostConfig, preview }: ContainerPlanInput,
  store: Store,
): Promise<(ContainerNetwork & { dns?: string }) | undefined> {
  if (process.geteuid?.() !== 0 && isCarrier(hostConfig.NetworkMode)) {
    const { rootlessNetwork } = await import('./rootless-network.ts');
    return rootlessNetwork(store, record, hostConfig, hostResolvConf(hostConfig.NetworkMode));
  }
  if (wantedNetworks(record, hostConfig).length === 0) return undefined;
  const { containerNetwork } = await import('./container-network.ts');
  return containerNetwork(store, record, hostConfig, preview === true);
}

/** @throws ERR_TSBOX_NOT_FOUND when the image does not know the user; as seccompFilter does */
export async function containerPlan(engine: Engine, input: ContainerPlanInput): Promise<ContainerPlan> {
  const { hostConfig, layer } = input;
  const { store } = engine;
  const { devices, rules } = containerDevices(hostConfig);
  const resources = ociResources(hostConfig, rules, deviceNumbers);
  const facts = withCgroupFacts(hostFacts(), hostConfig, resources);
  const rootless = facts.uid !== 0;
  const maps = rootless ? ownMaps() : mapsOf(hostConfig);
  const joined = joinedContainers(store, hostConfig);
  const record = withFilesOf(store, input.record, joined.net?.id);
  const shm = shmSource(engine, record.ID, hostConfig, joined);
  const probe = probeOf(record.Config.Healthcheck);
  const init = hostConfig.Init === true ? requireBuiltFile('tsbox-init') : undefined;
  const asked = ociConfig({
    resources,
    record,
    hostConfig,
    user: lookUpUser(layer, record.Config.User, hostConfig.GroupAdd ?? []),
    rootfs: layer.merged,
    hostCapabilities: facts.capabilities,
    joined,
    devices,
    ...(init === undefined ? {} : { init }),
    ...(shm === undefined ? {} : { shm }),
    ...(input.size === undefined ? {} : { size: input.size }),
    ...(maps === undefined ? {} : { maps }),
  });
  const config = withTmpfsModes(withPlaces(asked, layer.stack), layer.stack);
  checkProcMounts(config.mounts ?? []);
  const kinds = pathKinds(config, record, init);
  await checkBinds(record);
  const bounding = config.process.capabilities?.bounding ?? [];
  const seccomp = await seccompFilter(engine, hostConfig, facts, bounding, input.preview !== true);
  const run = runDirectory(store, record.ID);
  const network = await networkOf(input, store);
  const events = eventPlace(store, record);
  const discard = hostConfig.AutoRemove && facts.kernel >= VOLATILE_SINCE;
  const userxattr = !isHostRoot();
  const owner = rootless ? undefined : maps;
  const owners = owner && (await layerOwners(input, store, facts, owner));
  const served = { lock: unionLock(store, record.ID), ...(rootless && { inside: true as const }) };
  const driver = driverOf(store, layer);
  const mount = driver.mountSteps({ ...layer, discard, userxattr, ...served, ...owners?.layers });
  const log = logFile(hostConfig.LogConfig, logSubject(record));
  const setup: Step[] = [
    { op: 'umask', mask: 0, why: 'modes below are meant exactly' },
    ...(log?.format === 'local' ? [localLogs(store, record.ID)] : []),
    {
      op: 'mkdir',
      path: run,
      mode: 0o700,
      why: 'what is there only while the container runs: plan, lock, socket, state',
      // Made before, so that what is leased leads to it.
      ...(network !== undefined && { onError: { EEXIST: 'skip' } }),
    },
    ...(network?.steps.setup ?? []),
    ...placeSteps(store, record.ID, facts),
    ...(joined.net === undefined
      ? fileSteps(store, record, withDns(hostConfig, network?.dns), network?.endpoints ?? [])
      : []),
    ...(joined.net === undefined ? ownedByRoot(filesOf(record), owner) : []),
    ...sourceSteps(record, kinds, owner),
    ...(owners?.layers.shifted === undefined || owner === undefined
      ? []
      : ownerSteps(Object.values(record.MountPoints), owner)),
    ...shmSetup(engine, record.ID, hostConfig, owner),
    ...(owners?.setup ?? []),
    ...(maps === undefined ? mount : []),
  ];
  const cleanup: Step[] = [
    ...shmCleanup(engine, record.ID, hostConfig),
    ...(rootless
      ? driver.unplaceSteps(layer.mountId, unionLock(store, record.ID))
      : driver.umountSteps(layer.mountId, owner && mappedPlace(store, record.ID))),
  ];
  const end = [
    ...(hostConfig.AutoRemove ? removalSteps(engine, record, layer, owners?.layers.shifted && maps) : []),
    ...releaseSteps(engine, record, hostConfig.AutoRemove),
  ];
  const plan = compilePlan({
    config: owners?.layers.mapped === undefined ? config : withMappedVolumes(store, config, record, maps),
    ...(owners?.layers.mapped !== undefined && { mapping: { place: mappedPlace(store, record.ID), userns: USERNS } }),
    facts,
    kinds,
    readyMountPoints: READY_MOUNT_POINTS,
    rootIsMount: true,
    ...(seccomp === undefined ? {} : { seccomp }),
    ...(maps === undefined ? {} : rootless ? { inside: mount } : { outside: mount }),
    ...(hostConfig.AutoRemove ? {} : { memoryEvents: memoryEventsFile(store, record.ID) }),
    ...(network === undefined ? {} : { network: network.steps }),
    setup,
    cleanup,
    monitor: {
      runDirectory: run,
      events,
      volumes: volumePlaces(store, record),
      removes: hostConfig.AutoRemove,
      ...(log === undefined ? {} : { log: { path: logPath(store, record, log.format), ...log } }),
      ...(record.Config.Tty ? {} : { stdin: stdinMode(record.Config) }),
      ...(hostConfig.AutoRemove ? {} : { exitRecord: exitRecord(store, record.ID) }),
      ...(probe === undefined
        ? {}
        : { repeat: { ...repeated(probe), args: ownCommand(engine.options, ['system', 'probe', record.ID]) } }),
      successor: ownCommand(engine.options, ['system', 'after-exit', record.ID]),
      end,
    },
  });
  return { plan, config, facts, ...(seccomp && { seccomp }), ...(maps && { maps }) };
}

const localLogs = (store: Store, id: string): Step => ({
  op: 'mkdir',
  path: localLogDirectory(store, id),
  mode: 0o700,
  why: "the driver local has its files in a directory of their own, as Docker's",
  onError: { EEXIST: 'skip' },
});

const repeated = ({ every, early }: Probe) => ({ every, early: early?.every ?? 0, until: early?.until ?? 0 });
