/** What a network's `Options` mean: those of Docker's bridge driver. Pure. @see docs.docker.com, Bridge network driver, Options */
import type { NetworkRecord } from './network.ts';

export const BRIDGE_NAME = 'com.docker.network.bridge.name';
export const ENABLE_ICC = 'com.docker.network.bridge.enable_icc';
export const ENABLE_MASQUERADE = 'com.docker.network.bridge.enable_ip_masquerade';
export const HOST_BINDING = 'com.docker.network.bridge.host_binding_ipv4';
export const DEFAULT_BRIDGE = 'com.docker.network.bridge.default_bridge';
export const MTU = 'com.docker.network.driver.mtu';

export interface BridgeOptions {
  /** Of the interface. */
  name: string;
  /** May its containers talk to each other? */
  icc: boolean;
  /** Do its addresses mean nothing outside? */
  masquerade: boolean;
  /** Where ports are published that say nothing of it. */
  hostBinding: string;
  /** 0: that of the host's way out. */
  mtu: number;
}

const TRUE = /^(1|t|T|true|TRUE|True)$/;
const FALSE = /^(0|f|F|false|FALSE|False)$/;

/** As Go reads a boolean; undefined for what is none. */
export function parseBool(text: string): boolean | undefined {
  if (TRUE.test(text)) return true;
  return FALSE.test(text) ? false : undefined;
}

/** The interface's name: what was asked for, else as Docker's, `br-` and the begin of the id. */
export function bridgeName({ ID, Options }: Pick<NetworkRecord, 'ID' | 'Options'>): string {
  return Options[BRIDGE_NAME] ?? `br-${ID.slice(0, 12)}`;
}

/** Options that were not given are as Docker has them. Values were checked when the network was made. */
export function bridgeOptions(record: Pick<NetworkRecord, 'ID' | 'Options'>): BridgeOptions {
  const { Options } = record;
  const flag = (option: string) => parseBool(Options[option] ?? 'true') ?? true;
  return {
    name: bridgeName(record),
    icc: flag(ENABLE_ICC),
    masquerade: flag(ENABLE_MASQUERADE),
    hostBinding: Options[HOST_BINDING] ?? '0.0.0.0',
    mtu: Number(Options[MTU] ?? 0),
  };
}

/** Networks that are there without anybody having made them, and that nobody removes. */
export const PREDEFINED: readonly string[] = ['bridge', 'host', 'none'];

/** Has a user made it? Then its containers find each other by name. */
export function isUserDefined({ Name }: Pick<NetworkRecord, 'Name'>): boolean {
  return !PREDEFINED.includes(Name);
}
