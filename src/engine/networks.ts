/** `network create|ls|inspect|rm|prune`: what there is of networks, who uses them, and their end. */
import { isErrno, TsboxError } from '../errors.ts';
import {
  checkBridgeName,
  checkNetworkRequest,
  chooseSubnets,
  type NetworkRequest,
} from '../network/network-request.ts';
import type { ContainerRecord } from '../spec/container.ts';
import type { Endpoint, NetworkRecord } from '../spec/network.ts';
import { BRIDGE_NAME, bridgeName, isUserDefined } from '../spec/network-options.ts';
import { readContainer, readHostConfig } from '../store/containers.ts';
import { endpointId, endpointsByNetwork, networkUsers } from '../store/endpoints.ts';
import { withNetworkLock } from '../store/network-lock.ts';
import {
  addNetwork,
  deleteNetwork,
  hostSubnets,
  keptInterface,
  networkIds,
  networkSubnets,
  networks,
  newNetworkRecord,
  readNetwork,
} from '../store/networks.ts';
import { monitorLives, runIds } from '../store/state.ts';
import { type Store, shortId } from '../store/store.ts';
import { linkInfo } from '../sys/netlink.ts';
import { randomBytes } from '../sys/random.ts';
import { releaseNetwork } from './network-release.ts';
import type { Engine } from './open.ts';
import { fits, notePrune, type Pruned, type PruneFilter } from './prune.ts';

export type { NetworkRequest } from '../network/network-request.ts';

export interface NetworkSummary {
  record: NetworkRecord;
  /** Has a user made it? */
  isCustom: boolean;
  /** Has a container that runs an address in it? */
  isUsed: boolean;
}

/** Makes a network: its record. The bridge comes with the first container.
 *  @returns the id, and what may turn out badly
 *  @throws ERR_TSBOX_USAGE, ERR_TSBOX_UNSUPPORTED; ERR_TSBOX_CONFLICT for a name, an interface or a subnet that another has */
export function createNetwork({ store }: Engine, request: NetworkRequest): { id: string; warnings: string[] } {
  checkNetworkRequest(request);
  if (process.geteuid?.() !== 0) {
    throw new TsboxError('ERR_TSBOX_UNSUPPORTED', `create network ${request.name}: not supported without root`, {
      hint: "An ordinary user's container has a network of its own: `tsbox run --network pasta`, or slirp4netns.",
    });
  }
  const { name, internal, ipv6, labels, options } = request;
  let warnings: string[] = [];
  const record = addNetwork(store, (others) => {
    const asked = newNetworkRecord({
      Name: name,
      Driver: 'bridge',
      EnableIPv6: ipv6,
      Internal: internal,
      Options: { ...options },
      Labels: { ...labels },
    });
    checkBridgeName(asked, others);
    checkInterfaceKind(options[BRIDGE_NAME]);
    const chosen = chooseSubnets(request, {
      networks: networkSubnets(others),
      host: hostSubnets(bridgeName(asked)),
      globalId: () => randomBytes(5),
    });
    ({ warnings } = chosen);
    return {
      ...asked,
      IPAM: { Driver: 'default', Options: {}, Config: chosen.config },
      ...keptInterface(options[BRIDGE_NAME]),
    };
  });
  return { id: record.ID, warnings };
}

/** An interface that is there can be used when it is a bridge. */
function checkInterfaceKind(name: string | undefined): void {
  const link = name === undefined ? undefined : linkInfo(name);
  if (link === undefined || link.kind === 'bridge') return;
  throw new TsboxError('ERR_TSBOX_CONFLICT', `use interface ${name}: it is there and no bridge`);
}

/** All networks by their names. @param onDamaged is told of each that cannot be read; the others are listed all the same */
export function listNetworks({ store }: Engine, onDamaged?: (id: string, error: TsboxError) => void): NetworkSummary[] {
  const used = endpointsByNetwork(store);
  return networks(store, onDamaged).map((record) => ({
    record,
    isCustom: isUserDefined(record),
    isUsed: used.has(record.ID),
  }));
}

/** The container's record, unless it has gone meanwhile or cannot be read. */
function recordOf(store: Store, id: string): ContainerRecord | undefined {
  try {
    return readContainer(store, id);
  } catch (error) {
    if (error instanceof TsboxError) return undefined;
    throw error;
  }
}

/** The containers that run with the host's network, or with none. */
function withoutEndpoints(store: Store, mode: string): string[] {
  return [...runIds(store)].filter((id) => {
    try {
      return readHostConfig(store, id).NetworkMode === mode && monitorLives(store, id);
    } catch (error) {
      if (error instanceof TsboxError || isErrno(error, 'ENOENT')) return false;
      throw error;
    }
  });
}

/** Docker's entry of a container in a network. */
function shownContainer(store: Store, networkId: string, id: string, endpoint?: Endpoint): [string, object][] {
  const record = recordOf(store, id);
  if (record === undefined) return [];
  const { mac = '', address = '', address6 = '' } = endpoint ?? {};
  const shown = {
    Name: record.Name.slice(1),
    EndpointID: endpointId(id, networkId),
    MacAddress: mac,
    IPv4Address: address,
    IPv6Address: address6,
  };
  return [[id, shown]];
}

function containersOf(store: Store, { ID, Name, Driver }: NetworkRecord): Record<string, object> {
  const found =
    Driver === 'bridge'
      ? (endpointsByNetwork(store).get(ID) ?? []).flatMap((one) =>
          shownContainer(store, ID, one.container, one.endpoint),
        )
      : withoutEndpoints(store, Name).flatMap((id) => shownContainer(store, ID, id));
  return Object.fromEntries(found);
}

interface ShownNetwork {
  Name: string;
  Id: string;
  [field: string]: unknown;
}

/** Everything about a network, in Docker's shape. @throws as readNetwork */
export function inspectNetwork({ store }: Engine, name: string): ShownNetwork {
  const record = readNetwork(store, name);
  return {
    Name: record.Name,
    Id: record.ID,
    Created: record.Created,
    Scope: 'local',
    Driver: record.Driver,
    EnableIPv6: record.EnableIPv6,
    IPAM: record.IPAM,
    Internal: record.Internal,
    Attachable: false,
    Ingress: false,
    ConfigFrom: { Network: '' },
    ConfigOnly: false,
    Containers: containersOf(store, record),
    Options: record.Options,
    Labels: record.Labels,
  };
}

type Removable = Pick<NetworkRecord, 'ID' | 'Name' | 'Driver' | 'Options' | 'KeepsInterface'>;

/** The network of that name. Of one that is damaged the id is enough, and what was not said there is as for any. */
function findRemovable(store: Store, name: string): Removable {
  try {
    return readNetwork(store, name);
  } catch (error) {
    const isDamaged = error instanceof TsboxError && error.code === 'ERR_TSBOX_DAMAGED';
    const [id, ...others] = networkIds(store).filter((one) => one.startsWith(name));
    if (!isDamaged || id === undefined || others.length > 0) throw error;
    return { ID: id, Name: id, Driver: 'bridge', Options: {} };
  }
}

/** @throws ERR_TSBOX_CONFLICT in Docker's words */
function checkUnused(store: Store, { ID, Name }: Removable): void {
  const users = networkUsers(store).get(ID) ?? [];
  if (users.length === 0) return;
  const names = users.map((id) => recordOf(store, id)?.Name.slice(1) ?? shortId(id));
  throw new TsboxError(
    'ERR_TSBOX_CONFLICT',
    `error while removing network: network ${Name} id ${ID} has active endpoints`,
    { hint: `Stop its containers first: ${names.join(', ')}.` },
  );
}

/** Removes a network that no running container is in, with its bridge.
 *  @returns its name @throws ERR_TSBOX_NOT_FOUND, ERR_TSBOX_CONFLICT, SyscallError */
export function removeNetwork(engine: Engine, name: string): string {
  const { store } = engine;
  return withNetworkLock(store, () => {
    const record = findRemovable(store, name);
    if (!isUserDefined(record)) {
      throw new TsboxError('ERR_TSBOX_CONFLICT', `${record.Name} is a pre-defined network and cannot be removed`);
    }
    checkUnused(store, record);
    releaseNetwork(engine, record);
    deleteNetwork(store, record);
    return record.Name;
  });
}

/** As Docker: removes the networks that no running container is in. The default one stays, without its bridge when nobody is in it.
 *  @returns their names */
export function pruneNetworks(engine: Engine, filter: PruneFilter): Pruned<string[]> {
  const { store } = engine;
  const pruned: Pruned<string[]> = { removed: [], bytes: 0, errors: [] };
  const all = networkIds(store).length === 0 ? [] : networks(store);
  for (const record of all) {
    if (!fits(filter, record.Created, record.Labels)) continue;
    try {
      if (isUserDefined(record)) pruned.removed.push(removeNetwork(engine, record.ID));
      else releaseUnused(engine, record);
    } catch (error) {
      if (!(error instanceof TsboxError)) throw error;
      if (!['ERR_TSBOX_NOT_FOUND', 'ERR_TSBOX_CONFLICT'].includes(error.code)) pruned.errors.push(error);
    }
  }
  notePrune(store, 'network', 0);
  return pruned;
}

/** The default network's bridge may be that of another data root, too, as of one for mapped ids. */
function releaseUnused(engine: Engine, record: NetworkRecord): void {
  if (record.Driver !== 'bridge') return;
  const { store } = engine;
  withNetworkLock(store, () => {
    const others = new Set(networkIds(store).filter((id) => id !== record.ID));
    const isUsed = [...networkUsers(store).keys()].some((id) => !others.has(id));
    if (!isUsed) releaseNetwork(engine, record);
  });
}
