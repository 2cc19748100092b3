/** The three files that a container's network gives it in /etc. Pure. @see hosts(5), resolv.conf(5) */

export type NetworkMode = 'none' | 'host';

export const NETWORK_MODES: readonly NetworkMode[] = ['none', 'host'];

const LOCALHOST = `127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::0\tip6-localnet
ff00::0\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
`;

export interface HostFiles {
  hosts: string;
  resolvConf: string;
}

/** Contents of hosts, hostname and resolv.conf. With `host` the container has the host's own; with `none` only itself. */
export function networkFiles(mode: NetworkMode, hostname: string, host: HostFiles) {
  return {
    hostname: `${hostname}\n`,
    hosts: mode === 'host' ? host.hosts : LOCALHOST,
    resolvConf: host.resolvConf,
  };
}
