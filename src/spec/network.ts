/** Networks and what a container has in them, in Docker's words. Types only. */

export interface IpamConfig {
  /** `172.18.0.0/16` */
  Subnet: string;
  /** Addresses are handed out from here; absent: from all of the subnet. */
  IPRange?: string;
  Gateway: string;
}

/** A network as `<data-root>/networks/<ID>.json` has it: what Docker's `network inspect` shows, without the containers. */
export interface NetworkRecord {
  Name: string;
  /** 64 hexadecimal digits. */
  ID: string;
  /** RFC 3339. */
  Created: string;
  /** `null` is that of `none`. */
  Driver: 'bridge' | 'host' | 'null';
  EnableIPv6: boolean;
  /** One for IPv4, and one for IPv6 if that is enabled. */
  IPAM: { Driver: string; Options: Record<string, string> | null; Config: IpamConfig[] };
  /** Nothing leads out of it. */
  Internal: boolean;
  /** `com.docker.network.bridge.name` and its like. */
  Options: Record<string, string>;
  Labels: Record<string, string>;
  /** The interface was there before the network, and stays when that goes. */
  KeepsInterface?: boolean;
}

/** What was asked for: one for each network of a container. Docker's `EndpointSettings`, the part that lasts. */
export interface EndpointConfig {
  IPAMConfig: { IPv4Address?: string; IPv6Address?: string } | null;
  Links: string[] | null;
  Aliases: string[] | null;
  MacAddress?: string;
  DriverOpts: Record<string, string> | null;
}

/** What a running container has in a network. */
export interface Endpoint {
  /** Of the network. */
  networkId: string;
  network: string;
  /** In the container: `eth0`. */
  interface: string;
  /** The other end, on the host: a port of the bridge. */
  port: string;
  /** `02:42:ac:11:00:02` */
  mac: string;
  /** `172.17.0.2/16` */
  address?: string;
  gateway?: string;
  address6?: string;
  gateway6?: string;
  /** By which others in the network find it, besides its address: its name first, short id, aliases, host name. None in the default network. */
  names: readonly string[];
  /** By which this container alone finds others, besides their names: `NAME[:ALIAS]` of `--link`. */
  links?: readonly string[];
}

/** A port of the container that is reached on the host. */
export interface PublishedPort {
  protocol: 'tcp' | 'udp';
  /** `0.0.0.0`, `::`, or one of the host's. */
  hostAddress: string;
  hostPort: number;
  containerPort: number;
}

/** And where it leads: to an address of the same version of IP. */
export interface ForwardedPort extends PublishedPort {
  /** Of the container. */
  address: string;
}
