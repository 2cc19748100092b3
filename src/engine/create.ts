/** Makes a container: its read-write layer, its files and its name. Nothing runs yet. */
import { hostname } from 'node:os';
import { TsboxError } from '../errors.ts';
import { withHoles } from '../plan/holes.ts';
import { type ContainerConfig, type ContainerRecord, type HostConfig, NEVER } from '../spec/container.ts';
import { formatPlatform, normalizePlatform, parsePlatform, platformMatches } from '../spec/platform.ts';
import { parseReference } from '../spec/reference.ts';
import { createContainer as createFiles, newContainerId } from '../store/create-container.ts';
import { recordedDriver } from '../store/drivers/driver.ts';
import { noteContainer } from '../store/events.ts';
import { findImage, type ImageRecord, requireImage } from '../store/images.ts';
import { checkName } from '../store/names.ts';
import { plannedRwLayer } from '../store/rw-layers.ts';
import { containerDirectory } from '../store/store.ts';
import { hostFacts } from '../sys/probe.ts';
import { randomHex } from '../sys/random.ts';
import type { ContainerRequest, OnProgress, PlanPreview } from './api.ts';
import { type ContainerMounts, checkMounts, type MountPoints, makeMounts, plannedMounts } from './container-mounts.ts';
import { containerPlan } from './container-plan.ts';
import { makeHostConfig, networkNotes, securityModules, securityNotes } from './host-config.ts';
import { keptLinks } from './links.ts';
import { commandLine, mergeConfig } from './merge.ts';
import { nameNotes } from './name-options.ts';
import { joinedById } from './namespaces.ts';
import { checkNetworkConflicts, noNetworkNote, requestedNetworks, resolvedMode } from './network-request.ts';
import { boundingSet } from './oci.ts';
import type { Engine } from './open.ts';
import { isAuto } from './userns-mode.ts';
import { fillNewVolumes } from './volume-use.ts';

const usernsMode = (engine: Engine, request: ContainerRequest) => request.userns ?? engine.options.usernsRemap ?? '';

/** Limits that somebody asked for are held against what this host can do; without any nothing is looked at. */
async function checkResources(request: ContainerRequest): Promise<{ request: ContainerRequest; warnings: string[] }> {
  const { resources = {}, oomScoreAdj = 0 } = request;
  if (oomScoreAdj < -1000 || oomScoreAdj > 1000) {
    const message = `Invalid value ${oomScoreAdj}, range for oom score adj is [-1000, 1000]`;
    throw new TsboxError('ERR_TSBOX_USAGE', message);
  }
  const { Devices: _, DeviceCgroupRules: __, Ulimits: ___, ...limits } = resources;
  if (Object.keys(limits).length === 0) return { request, warnings: [] };
  const { limitsForHost } = await import('./limits-host.ts');
  const checked = limitsForHost(limits, limits.CgroupParent);
  // What was left out must not come back from what was asked for.
  const others = Object.entries(resources).filter(([name]) => !(name in limits));
  const kept = { ...Object.fromEntries(others), ...checked.resources };
  return { request: { ...request, resources: kept }, warnings: checked.warnings };
}

/** What can be refused before anything is pulled or made. */
async function checkRequest(engine: Engine, request: ContainerRequest): Promise<void> {
  const { name } = request;
  if (name !== undefined) checkName(name);
  checkNetworkConflicts(request);
  const userns = usernsMode(engine, request);
  if (process.geteuid?.() !== 0) (await import('./rootless.ts')).checkRequested(userns, request);
  else if (userns !== '' && userns !== 'host') {
    const { checkUserns } = await import('./userns.ts');
    checkUserns(userns, request);
  }
  makeHostConfig(request, userns);
  checkMounts(request);
}

/** Compiles a profile of one's own: what is wrong with it is told before there is a container. */
async function tryProfile(engine: Engine, hostConfig: HostConfig): Promise<void> {
  const { seccompFilter } = await import('./seccomp.ts');
  const facts = hostFacts();
  await seccompFilter(engine, hostConfig, facts, boundingSet(hostConfig, facts.capabilities));
}

/** One for another platform than the one asked for is not the image that is meant. @throws ERR_TSBOX_SPEC when that is none */
function isFor({ config }: ImageRecord, platform: string | undefined): boolean {
  return platform === undefined || platformMatches(parsePlatform(platform), config);
}

async function findOrPull(engine: Engine, request: ContainerRequest, onProgress: OnProgress): Promise<ImageRecord> {
  const here = request.pull === 'always' ? undefined : findImage(engine.store, request.image);
  if (here !== undefined && isFor(here, request.platform)) return here;
  if (request.pull === 'never') {
    const other = requireImage(engine.store, request.image);
    const what = `image ${request.image} is for ${formatPlatform(normalizePlatform(other.config))}, not for ${request.platform}`;
    throw new TsboxError('ERR_TSBOX_NOT_FOUND', what);
  }
  const reference = parseReference(request.image);
  if (request.pull === 'missing') {
    const tag = reference.digest ?? reference.tag;
    const separator = reference.digest === undefined ? ':' : '@';
    const name = request.image.split(/[@]|:(?=[^/]*$)/)[0];
    onProgress({ kind: 'text', text: `Unable to find image '${name}${separator}${tag}' locally` });
  }
  if (process.geteuid?.() !== 0) {
    const { pullInUserNamespace } = await import('./rootless.ts');
    pullInUserNamespace(engine.options, request.image, request.platform, false);
    return requireImage(engine.store, request.image);
  }
  const { pullImage } = await import('./pull.ts');
  const options = request.platform === undefined ? {} : { platform: request.platform };
  const { id } = await pullImage(engine, request.image, options, onProgress);
  return requireImage(engine.store, id);
}

/** Calls `make` with what the container is made with: with ids of its own where it was asked for some. */
async function withMaps<T>(engine: Engine, hostConfig: HostConfig, make: (final: HostConfig) => T): Promise<T> {
  if (!isAuto(hostConfig.UsernsMode)) return make(hostConfig);
  const { withAutoMaps } = await import('./userns-auto.ts');
  return withAutoMaps(engine.store, hostConfig, engine.options.usernsRemap, make);
}

/** In networks that somebody has made a link is a matter of names there, and looked at no sooner than it is used. */
function defaultLinks(engine: Engine, { network, links = [] }: ContainerRequest): string[] {
  return ['default', 'bridge', 'none'].includes(network) ? keptLinks(engine.store, links) : [];
}

/** As Docker: who shares the host's network has the host's name too. */
function defaultHostname(id: string, network: string): string {
  return network === 'host' ? hostname() : id.slice(0, 12);
}

function makeRecord(
  engine: Engine,
  id: string,
  image: ImageRecord,
  request: ContainerRequest,
  points: MountPoints,
  preview = false,
): ContainerRecord {
  const config: ContainerConfig = mergeConfig(defaultHostname(id, request.network), request, image.config.config ?? {});
  const [path = '', ...args] = commandLine(config);
  const directory = containerDirectory(engine.store, id);
  const Networks = requestedNetworks(engine.store, request, preview);
  return {
    ID: id,
    Created: new Date().toISOString(),
    Path: path,
    Args: args,
    Config: config,
    Image: image.id,
    Name: `/${request.name ?? ''}`,
    Driver: recordedDriver(engine.store.driver),
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
    MountPoints: points,
    HostnamePath: `${directory}/hostname`,
    HostsPath: `${directory}/hosts`,
    ResolvConfPath: `${directory}/resolv.conf`,
    // As Docker: the file of another driver is nobody's to look at.
    LogPath: [undefined, '', 'json-file'].includes(request.logDriver) ? `${directory}/${id}-json.log` : '',
    ...(Networks !== undefined && { NetworkSettings: { Networks } }),
    RestartCount: 0,
    HasBeenStartedBefore: false,
  };
}

const imageVolumes = ({ config }: ImageRecord) => Object.keys(config.config?.Volumes ?? {});

/** The container's files, and what its volumes show of the image. On an error nothing of it is left, nor are volumes made for it; nor when
 *  the user interrupts a copy of all its files. */
async function makeContainer(...parts: Parameters<typeof makeParts>) {
  if (!parts[0].store.driver.copies) return makeParts(...parts);
  const { interruptible } = await import('./interrupt.ts');
  return interruptible(() => makeParts(...parts));
}

async function makeParts(
  engine: Engine,
  wanted: ContainerRecord,
  hostConfig: HostConfig,
  mounts: ContainerMounts,
  image: ImageRecord,
): Promise<ContainerRecord> {
  let made = false;
  try {
    const make = (final: HostConfig) => createFiles(engine.store, wanted, final, image.chainId);
    const { record } = await withMaps(engine, hostConfig, make);
    made = true;
    if (engine.store.driver.copies) await (await import('./fill-tree.ts')).fillTree(engine.store, record.ID);
    if (mounts.copied.length > 0) await fillNewVolumes(engine, wanted, mounts.copied);
    mounts.release();
    return record;
  } catch (error) {
    if (made) await (await import('./remove.ts')).removeContainer(engine, wanted.ID, { force: false });
    mounts.discard();
    throw error;
  }
}

/** What an ordinary user is told about the network that he gets. */
async function rootlessNotes({ store }: Engine, asked: string, mode: string): Promise<string[]> {
  if (process.geteuid?.() === 0) return [];
  const { noNetworkNotice } = await import('./rootless-network.ts');
  const notice = noNetworkNotice(asked, mode, store.bridge, store.dataRoot);
  return notice === undefined ? [] : [notice];
}

/** @throws ERR_TSBOX_NOT_FOUND without the image, ERR_TSBOX_CONFLICT when the name is in use, ERR_TSBOX_USAGE on a bad value;
 *  nothing stays behind */
export async function createContainer(
  engine: Engine,
  asked: ContainerRequest,
  onProgress: OnProgress,
): Promise<{ id: string; warnings: string[] }> {
  const wanted = { ...asked, network: resolvedMode(engine.store, asked) };
  await checkRequest(engine, wanted);
  const { request, warnings } = await checkResources(wanted);
  const asNamed = makeHostConfig(request, usernsMode(engine, request), defaultLinks(engine, request));
  const hostConfig = joinedById(engine.store, asNamed);
  const notes = [...securityNotes(hostConfig, securityModules()), ...networkNotes(hostConfig)];
  if (request.securityOpt.some((option) => option.startsWith('seccomp'))) await tryProfile(engine, hostConfig);
  const image = await findOrPull(engine, request, onProgress);
  const id = newContainerId();
  const mounts = makeMounts(engine, request, imageVolumes(image));
  const record = makeRecord(engine, id, image, request, mounts.points);
  const made = await makeContainer(engine, record, hostConfig, mounts, image);
  noteContainer(engine.store, made, 'create');
  notes.push(...noNetworkNote(engine.store, asked.network, request.network));
  notes.push(...(await rootlessNotes(engine, asked.network, request.network)));
  return { id, warnings: [...warnings, ...notes, ...nameNotes(request)] };
}

/** The plan that `createContainer` and `startContainer` would run for this request. Changes nothing: not even a missing image is pulled.
 *  @throws as createContainer does; ERR_TSBOX_NOT_FOUND when the image is not here */
export async function previewContainer(
  engine: Engine,
  asked: ContainerRequest,
  onProgress: OnProgress,
): Promise<PlanPreview> {
  const resolved = { ...asked, network: resolvedMode(engine.store, asked) };
  await checkRequest(engine, resolved);
  const { request } = await checkResources(resolved);
  const image = await findOrPull(engine, { ...request, pull: 'never' }, onProgress);
  const id = newContainerId();
  const name = request.name ?? randomHex(16);
  const points = plannedMounts(engine, request, imageVolumes(image));
  const record = makeRecord(engine, id, image, { ...request, name }, points, true);
  const layer = plannedRwLayer(engine.store, image.chainId);
  const wanted = makeHostConfig(request, usernsMode(engine, request), defaultLinks(engine, request));
  const hostConfig = await withMaps(engine, wanted, (final) => final);
  const { plan } = await containerPlan(engine, { record, hostConfig, layer, preview: true });
  const { mountId, initLink, link } = layer;
  const generated = request.name === undefined ? { name } : {};
  return { plan: withHoles(plan, { id, shortId: id.slice(0, 12), layer: mountId, initLink, link, ...generated }), id };
}
