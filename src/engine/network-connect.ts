/** `network connect` and `disconnect`: while the container runs its namespace is changed, and what it gets at its next start in any case. */
import { TsboxError } from '../errors.ts';
import type { ContainerRecord, HostConfig } from '../spec/container.ts';
import type { NetworkRecord } from '../spec/network.ts';
import { saveContainer } from '../store/change-container.ts';
import { findContainer, readHostConfig, requireContainer } from '../store/containers.ts';
import { noteEvent } from '../store/events.ts';
import { readNetwork } from '../store/networks.ts';
import { containerState, foldHeld } from '../store/state.ts';
import { containerDirectory, type Store } from '../store/store.ts';
import { withLock } from '../sys/lock.ts';
import type { EndpointRequest } from './api.ts';
import { otherContainer } from './namespaces.ts';
import { type Plugged, plugIn, pullOut, settleCables } from './network-plug.ts';
import { endpointConfig } from './network-request.ts';
import type { Engine } from './open.ts';

/** What `run` ends with 125 for, these verbs end with 1 for, as Docker's. */
const FAILED = 1;

function conflict(message: string): TsboxError {
  return new TsboxError('ERR_TSBOX_CONFLICT', message, { exitCode: FAILED });
}

/** Whose namespace is not his own has no networks of his own. */
function checkOwn({ NetworkMode }: HostConfig): void {
  if (NetworkMode === 'host' || otherContainer(NetworkMode) !== undefined) {
    throw conflict(
      'container sharing network namespace with another container or host cannot be connected to any other network',
    );
  }
  if (NetworkMode === 'none') {
    throw conflict(
      'container cannot be connected to multiple networks with one of the networks in private (none) mode',
    );
  }
}

function note(
  store: Store,
  action: 'connect' | 'disconnect',
  { ID, Name, Driver }: NetworkRecord,
  container: string,
): void {
  noteEvent(store, { type: 'network', action, id: ID, attributes: { container, name: Name, type: Driver } });
}

/** What it has in networks is its own while it runs; before and between its runs there is only what was asked for. */
function pluggedIn(store: Store, record: ContainerRecord): Plugged | undefined {
  const { Running, Restarting, Pid } = containerState(store, record);
  if (!Running || Restarting || Pid === 0) return undefined;
  const container = { record, pid: Pid };
  settleCables(store, container);
  return container;
}

/** Adds a network to a container; one that runs is in it at once. On an error nothing has changed.
 *  @throws ERR_TSBOX_NOT_FOUND, ERR_TSBOX_CONFLICT, ERR_TSBOX_USAGE in Docker's words */
export async function connectContainer(engine: Engine, asked: EndpointRequest & { container: string }): Promise<void> {
  const { store } = engine;
  const network = readNetwork(store, asked.network);
  // As Docker keeps it: what is not asked for is empty here, and null for what `run` says.
  const { IPAMConfig, DriverOpts, ...others } = endpointConfig(network, asked, FAILED);
  const config = { ...others, IPAMConfig: IPAMConfig ?? {}, DriverOpts: DriverOpts ?? {} };
  const { ID } = requireContainer(store, asked.container);
  checkOwn(readHostConfig(store, ID));
  withLock(containerDirectory(store, ID), 'exclusive', () => {
    const record = foldHeld(store, ID);
    const { Networks = {} } = record.NetworkSettings ?? {};
    if (Networks[network.Name] !== undefined) {
      throw conflict(`endpoint with name ${record.Name.slice(1)} already exists in network ${network.Name}`);
    }
    const wanted: ContainerRecord = {
      ...record,
      NetworkSettings: { Networks: { ...Networks, [network.Name]: config } },
    };
    const plugged = pluggedIn(store, record);
    if (plugged !== undefined) plugIn(store, { ...plugged, record: wanted }, network, config);
    saveContainer(store, wanted);
    note(store, 'connect', network, ID);
  });
}

/** Takes a container out of a network; one that runs loses its interface at once.
 *  @throws ERR_TSBOX_NOT_FOUND, ERR_TSBOX_CONFLICT in Docker's words */
export async function disconnectContainer(
  engine: Engine,
  asked: { network: string; container: string; force?: boolean },
): Promise<void> {
  const { store } = engine;
  const network = readNetwork(store, asked.network);
  const found = findContainer(store, asked.container);
  if (found === undefined && asked.force === true) return;
  const { ID } = found ?? requireContainer(store, asked.container);
  if (network.Driver === 'host') {
    throw conflict(
      'container cannot be disconnected from host network - ' +
        'container sharing network namespace with another container or host cannot be connected to any other network',
    );
  }
  withLock(containerDirectory(store, ID), 'exclusive', () => {
    const record = foldHeld(store, ID);
    const plugged = pluggedIn(store, record);
    const { [network.Name]: config, ...Networks } = record.NetworkSettings?.Networks ?? {};
    if (config === undefined) throw conflict(`container ${ID} is not connected to network ${network.Name}`);
    if (plugged !== undefined) pullOut(store, plugged, ({ networkId }) => networkId === network.ID);
    saveContainer(store, { ...record, NetworkSettings: { Networks } });
    note(store, 'disconnect', network, ID);
  });
}
