/**
 * Networks on disk: `<data-root>/networks/<id>.json`, one file a network, that of `bridge`, `host` and `none` too. Those three are made
 * when the networks are first asked for. Their ids are random, as Docker's, and not derived from something: a record is needed all the
 * same for the time when they were made, and a data root keeps them when it is moved.
 *
 * The lock is flock(2) on `networks`, had alone by whoever adds or removes one, so that names and subnets are given once; whoever
 * needs `<run-root>/network.lock` too takes that first. What is read without a lock is whole, since files are renamed into place.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { isErrno, TsboxError } from '../errors.ts';
import { formatAddress, formatSubnet, parseAddress, parseSubnet, type Subnet } from '../spec/ip.ts';
import type { IpamConfig, NetworkRecord } from '../spec/network.ts';
import {
  BRIDGE_NAME,
  DEFAULT_BRIDGE,
  ENABLE_ICC,
  ENABLE_MASQUERADE,
  HOST_BINDING,
  PREDEFINED,
} from '../spec/network-options.ts';
import { freeSubnet, noFreeSubnet, type TakenSubnet, takenBy } from '../spec/subnets.ts';
import { writeFileAtomic } from '../sys/atomic.ts';
import { withLock } from '../sys/lock.ts';
import { linkInfo, routes } from '../sys/netlink.ts';
import { randomHex } from '../sys/random.ts';
import { removeWholeTree } from '../sys/remove-tree.ts';
import { sha256Hex } from '../sys/sha256.ts';
import { noteEvent } from './events.ts';
import { attempt, ensureDirectory, isObject, parseStored, readText, unlessGone, withoutUmask } from './io.ts';
import { isHexId, type Store, TEMPORARY } from './store.ts';

const FORMAT_VERSION = 1;
const DEFAULT_RUN_ROOT = '/run/tsbox';

/** `<data-root>/networks` */
export function networksHome(store: Store): string {
  return `${store.dataRoot}/networks`;
}

const fileOf = (store: Store, id: string) => `${networksHome(store)}/${id}.json`;

/** What is appended to names that several instances of tsbox on one host would share: nothing for that with the default run root, else
 *  eight digits that stand for the run root. */
export function instanceDigits({ runRoot }: Store): string {
  return runRoot === DEFAULT_RUN_ROOT ? '' : sha256Hex(Buffer.from(runRoot)).slice(0, 8);
}

/** Is there a network `bridge`? Not without root, and not where `--bridge none` says so. */
export function hasDefaultNetwork({ bridge }: Store): boolean {
  return bridge !== 'none' && process.geteuid?.() === 0;
}

/** The interface that the default network has when it is made. */
function defaultBridge(store: Store): string {
  const digits = instanceDigits(store);
  return store.bridge ?? (digits === '' ? 'tsbox0' : `ts-${digits}`);
}

const isTexts = (value: unknown): value is Record<string, string> =>
  isObject(value) && Object.values(value).every((one) => typeof one === 'string');

function isIpamConfig(value: unknown): value is IpamConfig {
  if (!isObject(value)) return false;
  const { Subnet: subnet, IPRange: range, Gateway: gateway } = value;
  const isSubnet = (text: unknown) => typeof text === 'string' && parseSubnet(text) !== undefined;
  return (
    isSubnet(subnet) &&
    (range === undefined || isSubnet(range)) &&
    typeof gateway === 'string' &&
    parseAddress(gateway) !== undefined
  );
}

/** Fields, and what each must be. */
const FIELDS: Readonly<Record<keyof NetworkRecord, (value: unknown) => boolean>> = {
  Name: (value) => typeof value === 'string' && value !== '',
  ID: (value) => typeof value === 'string' && isHexId(value),
  Created: (value) => typeof value === 'string' && !Number.isNaN(Date.parse(value)),
  Driver: (value) => ['bridge', 'host', 'null'].includes(value as string),
  EnableIPv6: (value) => typeof value === 'boolean',
  IPAM: (value) =>
    isObject(value) &&
    typeof value['Driver'] === 'string' &&
    (value['Options'] === null || isTexts(value['Options'])) &&
    Array.isArray(value['Config']) &&
    value['Config'].every(isIpamConfig),
  Internal: (value) => typeof value === 'boolean',
  Options: isTexts,
  Labels: isTexts,
  KeepsInterface: (value) => value === undefined || typeof value === 'boolean',
};

/** @returns undefined where there is none @throws ERR_TSBOX_DAMAGED naming the file, ERR_TSBOX_UNSUPPORTED for one of a later tsbox */
function readRecord(store: Store, id: string): NetworkRecord | undefined {
  const path = fileOf(store, id);
  const text = readText(path);
  if (text === undefined) return undefined;
  const value = parseStored(text, path);
  const wrong = Object.entries(FIELDS).find(([field, isRight]) => !isObject(value) || !isRight(value[field]));
  if (wrong !== undefined || !isObject(value) || value['ID'] !== id) {
    throw new TsboxError('ERR_TSBOX_DAMAGED', `read ${path}: ${wrong?.[0] ?? 'ID'} is missing or wrong`, {
      hint: `\`tsbox network rm ${id}\` removes it.`,
    });
  }
  const { FormatVersion: _, ...record } = value;
  return record as unknown as NetworkRecord;
}

/** Ids of all networks on disk. */
export function networkIds(store: Store): string[] {
  try {
    return readdirSync(networksHome(store))
      .filter((name) => name.endsWith('.json') && isHexId(name.slice(0, -5)))
      .map((name) => name.slice(0, -5))
      .sort();
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return [];
    throw error;
  }
}

/** What is on disk and can be read. @param onDamaged is told of each that cannot; without it the first is thrown */
function records(store: Store, onDamaged: (id: string, error: TsboxError) => void): NetworkRecord[] {
  return networkIds(store).flatMap((id) => {
    try {
      return readRecord(store, id) ?? [];
    } catch (error) {
      if (!(error instanceof TsboxError)) throw error;
      onDamaged(id, error);
      return [];
    }
  });
}

const ignore = () => {};

function save(store: Store, record: NetworkRecord): void {
  const path = fileOf(store, record.ID);
  const text = JSON.stringify({ FormatVersion: FORMAT_VERSION, ...record });
  attempt(`write ${path}`, () => writeFileAtomic(path, text, { mode: 0o600 }));
}

/** Runs `work` while nobody else adds or removes networks. Not to be nested. Files are written under the lock only, so what is half-made
 *  then was left by a process that was killed. */
function locked<T>(store: Store, work: () => T): T {
  const home = networksHome(store);
  const hold = () =>
    withLock(home, 'exclusive', () => {
      for (const name of readdirSync(home)) if (name.startsWith(TEMPORARY)) removeWholeTree(`${home}/${name}`);
      return work();
    });
  try {
    return hold();
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw error;
    withoutUmask(() => ensureDirectory(home, 0o700));
    return hold();
  }
}

/** A record of what is given; the rest is as for a network that nobody asked anything of. */
export function newNetworkRecord(
  given: Pick<NetworkRecord, 'Name' | 'Driver'> & Partial<NetworkRecord>,
): NetworkRecord {
  return {
    ID: randomHex(32),
    Created: new Date().toISOString(),
    EnableIPv6: false,
    IPAM: { Driver: 'default', Options: null, Config: [] },
    Internal: false,
    Options: {},
    Labels: {},
    ...given,
  };
}

/** Subnets of networks, by their names. */
export function networkSubnets(others: readonly NetworkRecord[]): TakenSubnet[] {
  return others.flatMap(({ Name, IPAM }) =>
    IPAM.Config.flatMap((config) => {
      const subnet = parseSubnet(config.Subnet);
      return subnet === undefined ? [] : [{ subnet, by: `network ${Name}` }];
    }),
  );
}

interface DeviceSubnet {
  destination: Subnet;
  device: string;
}

/** Where the host's routes lead, but for the default ones. */
function routedSubnets(): DeviceSubnet[] {
  return routes().flatMap(({ to, device = '' }) => {
    const destination = parseSubnet(to);
    return destination === undefined || destination.prefix === 0 ? [] : [{ destination, device }];
  });
}

/** Subnets that the host uses: its routes, and where its name servers are. @param own an interface that does not count */
export function hostSubnets(own: string): TakenSubnet[] {
  const used = routedSubnets()
    .filter(({ device }) => device !== own)
    .map(({ destination: subnet, device }) => ({ subnet, by: `route through ${device}` }));
  return [...used, ...nameServers()];
}

function nameServers(): TakenSubnet[] {
  let text = '';
  try {
    text = readFileSync('/etc/resolv.conf', 'utf8');
  } catch {
    // A host without one has no name servers.
  }
  return [...text.matchAll(/^\s*nameserver\s+(\S+)/gm)].flatMap(([, address = '']) => {
    const parsed = parseAddress(address);
    if (parsed === undefined) return [];
    const { version, value } = parsed;
    return [{ subnet: { version, base: value, prefix: version === 4 ? 32 : 128 }, by: 'name server of the host' }];
  });
}

/** With its first address as the gateway, as Docker. */
export function ipamConfig(subnet: Subnet): IpamConfig {
  return { Subnet: formatSubnet(subnet), Gateway: formatAddress(subnet.version, subnet.base + 1n) };
}

/** The subnet that its interface has, should that be there from another data root's time; else a free one. */
function defaultSubnet(others: readonly NetworkRecord[], bridge: string): Subnet {
  const most = 30; // with room for a gateway and a container
  const subnets = networkSubnets(others);
  const kept = routedSubnets()
    .filter(({ destination, device }) => device === bridge && destination.version === 4 && destination.prefix <= most)
    .find(({ destination }) => takenBy(destination, subnets) === undefined);
  if (kept !== undefined) return kept.destination;
  const free = freeSubnet([...subnets, ...hostSubnets(bridge)].map(({ subnet }) => subnet));
  if (free === undefined) throw noFreeSubnet();
  return free;
}

/** Is there an interface of the name that somebody chose? Then it is his, and stays. */
export function keptInterface(name: string | undefined): Pick<NetworkRecord, 'KeepsInterface'> {
  return name !== undefined && linkInfo(name) !== undefined ? { KeepsInterface: true } : {};
}

function predefinedRecord(store: Store, name: string, others: readonly NetworkRecord[]): NetworkRecord {
  if (name !== 'bridge') return newNetworkRecord({ Name: name, Driver: name === 'none' ? 'null' : 'host' });
  const bridge = defaultBridge(store);
  const subnet = defaultSubnet(others, bridge);
  return newNetworkRecord({
    Name: name,
    Driver: 'bridge',
    IPAM: { Driver: 'default', Options: null, Config: [ipamConfig(subnet)] },
    Options: {
      [DEFAULT_BRIDGE]: 'true',
      [ENABLE_ICC]: 'true',
      [ENABLE_MASQUERADE]: 'true',
      [HOST_BINDING]: '0.0.0.0',
      [BRIDGE_NAME]: bridge,
    },
    ...keptInterface(store.bridge),
  });
}

/** Those of the three that this host has. */
function predefinedNames(store: Store): string[] {
  return PREDEFINED.filter((name) => name !== 'bridge' || hasDefaultNetwork(store));
}

const byName = (a: NetworkRecord, b: NetworkRecord) => (a.Name < b.Name ? -1 : 1);

/** All networks by their names; `bridge`, `host` and `none` are made if this is the first time that somebody asks.
 *  @param onDamaged is told of each that cannot be read; the others are there all the same
 *  @param keep false to change nothing: then the three are made up each time
 *  @throws ERR_TSBOX_CONFLICT when no subnet is free for the default network */
export function networks(
  store: Store,
  onDamaged: (id: string, error: TsboxError) => void = ignore,
  keep = true,
): NetworkRecord[] {
  const found = records(store, onDamaged);
  const isThere = (name: string, among: readonly NetworkRecord[]) => among.some((record) => record.Name === name);
  const missing = predefinedNames(store).some((name) => !isThere(name, found));
  const all = missing ? made(store, found, keep) : found;
  return all.filter(({ Name }) => Name !== 'bridge' || hasDefaultNetwork(store)).sort(byName);
}

/** On a read-only data root they are made up, too: it can be looked at all the same. */
function made(store: Store, found: readonly NetworkRecord[], keep: boolean): NetworkRecord[] {
  if (!keep) return withPredefined(store, found, false);
  try {
    return locked(store, () => withPredefined(store, records(store, ignore)));
  } catch (error) {
    if (!isErrno(error, 'EROFS')) throw error;
    return withPredefined(store, found, false);
  }
}

/** The caller has the lock, or keeps nothing. */
function withPredefined(store: Store, found: readonly NetworkRecord[], keep = true): NetworkRecord[] {
  const all = [...found];
  for (const name of predefinedNames(store)) {
    if (all.some(({ Name }) => Name === name)) continue;
    const record = predefinedRecord(store, name, all);
    if (keep) save(store, record);
    all.push(record);
  }
  return all;
}

/** The network `bridge`, where containers are that ask for nothing else; undefined where there is none.
 *  @throws as {@link networks} */
export function defaultNetwork(store: Store): NetworkRecord | undefined {
  return networks(store).find(({ Name }) => Name === 'bridge');
}

/** @returns Docker's refusal */
export function noSuchNetwork(name: string): TsboxError {
  return new TsboxError('ERR_TSBOX_NOT_FOUND', `network ${name} not found`, {
    hint: '`tsbox network ls` lists all networks.',
  });
}

/** A network by its id, its name, or the begin of its id, as Docker: in that order.
 *  @param keep as for {@link networks}
 *  @throws ERR_TSBOX_NOT_FOUND; ERR_TSBOX_USAGE when several ids begin so; ERR_TSBOX_DAMAGED for one that cannot be read */
export function readNetwork(store: Store, text: string, keep = true): NetworkRecord {
  const damaged = new Map<string, TsboxError>();
  const all = networks(store, (id, error) => damaged.set(id, error), keep);
  const exact = all.find(({ ID }) => ID === text) ?? all.find(({ Name }) => Name === text);
  if (exact !== undefined) return exact;
  const isPrefix = /^[0-9a-f]+$/.test(text);
  const found = isPrefix ? all.filter(({ ID }) => ID.startsWith(text)) : [];
  if (found.length > 1) {
    const message = `network ${text} is ambiguous (${found.length} matches found based on ID prefix)`;
    throw new TsboxError('ERR_TSBOX_USAGE', message);
  }
  const [id] = [...damaged.keys()].filter((one) => isPrefix && one.startsWith(text));
  if (found[0] !== undefined) return found[0];
  throw (id === undefined ? undefined : damaged.get(id)) ?? noSuchNetwork(text);
}

/** Within withNetworkLock: whoever removes a network holds that, so one that is still there stays for who has leased something of it then.
 *  @throws ERR_TSBOX_NOT_FOUND */
export function requireNetwork(store: Store, { ID, Name }: NetworkRecord): void {
  if (!existsSync(fileOf(store, ID))) throw noSuchNetwork(Name);
}

function note(store: Store, action: string, { ID, Name, Driver }: NetworkRecord): void {
  noteEvent(store, { type: 'network', action, id: ID, attributes: { name: Name, type: Driver } });
}

/** Adds a network.
 *  @param make gets those that are there, and the record is made while none can be added: what it chooses is free. What it throws is
 *  thrown, and nothing is added
 *  @throws ERR_TSBOX_CONFLICT in Docker's words when the name is taken; SyscallError */
export function addNetwork(store: Store, make: (others: readonly NetworkRecord[]) => NetworkRecord): NetworkRecord {
  return locked(store, () => {
    const others = withPredefined(store, records(store, ignore));
    const record = make(others);
    if (others.some(({ Name }) => Name === record.Name)) {
      throw new TsboxError('ERR_TSBOX_CONFLICT', `network with name ${record.Name} already exists`);
    }
    save(store, record);
    note(store, 'create', record);
    return record;
  });
}

/** Removes a network's record, if it is still there; one that is damaged too. Whether somebody uses it is for the caller to know, who
 *  holds `<run-root>/network.lock`.
 *  @returns whether it was there */
export function deleteNetwork(store: Store, record: Pick<NetworkRecord, 'ID'> & Partial<NetworkRecord>): boolean {
  const { ID: id, Name = id, Driver = 'bridge' } = record;
  const removed = locked(store, () =>
    unlessGone(`remove network ${Name}`, () => removeWholeTree(fileOf(store, id), { mustExist: true })),
  );
  if (removed) note(store, 'destroy', { ...newNetworkRecord({ Name, Driver }), ID: id });
  return removed;
}
