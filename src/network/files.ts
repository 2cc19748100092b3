/** The three files that a container's network gives it in /etc, as Docker fills them. Pure. @see hosts(5), hostname(5), resolv.conf(5) */
import { type HostsInput, hostsFile } from './hosts.ts';
import { type ResolvConfInput, resolvConfFile } from './resolv-conf.ts';

export interface HostFiles {
  hosts: string;
  resolvConf: string;
}

export interface NetworkFilesInput extends HostsInput, ResolvConfInput {
  /** The host's own. */
  host: HostFiles;
}

/** Contents of hosts, hostname and resolv.conf of a container with a network of its own or the host's. One that shares that of another
 *  container (`container:NAME`) has the very files of that one instead.
 *  @throws ERR_TSBOX_USAGE for `host-gateway` where the host cannot be reached */
export function networkFiles(input: NetworkFilesInput) {
  return {
    hostname: `${input.hostname}\n`,
    hosts: hostsFile(input, input.host.hosts),
    resolvConf: resolvConfFile(input, input.host.resolvConf),
  };
}
