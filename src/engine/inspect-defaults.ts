/** What `inspect` shows of settings that no container has here: Docker's values for "not set", so that templates made for Docker find
 *  their fields. */

export const HOST_CONFIG_DEFAULTS = {
  PortBindings: {},
  RestartPolicy: { Name: 'no', MaximumRetryCount: 0 },
  VolumeDriver: '',
  VolumesFrom: null,
  Dns: [],
  DnsOptions: [],
  DnsSearch: [],
  ExtraHosts: null,
  GroupAdd: null,
  IpcMode: 'private',
  Cgroup: '',
  Links: null,
  OomScoreAdj: 0,
  PidMode: '',
  PublishAllPorts: false,
  UTSMode: '',
  UsernsMode: '',
  Isolation: '',
  CpuShares: 0,
  Memory: 0,
  NanoCpus: 0,
  CgroupParent: '',
  BlkioWeight: 0,
  BlkioWeightDevice: [],
  BlkioDeviceReadBps: [],
  BlkioDeviceWriteBps: [],
  BlkioDeviceReadIOps: [],
  BlkioDeviceWriteIOps: [],
  CpuPeriod: 0,
  CpuQuota: 0,
  CpuRealtimePeriod: 0,
  CpuRealtimeRuntime: 0,
  CpusetCpus: '',
  CpusetMems: '',
  Devices: [],
  DeviceCgroupRules: null,
  DeviceRequests: null,
  MemoryReservation: 0,
  MemorySwap: 0,
  MemorySwappiness: null,
  OomKillDisable: false,
  PidsLimit: null,
  Ulimits: [],
} as const;

/** Of a container and of each network that it is in. */
const ADDRESSES = {
  EndpointID: '',
  Gateway: '',
  GlobalIPv6Address: '',
  GlobalIPv6PrefixLen: 0,
  IPAddress: '',
  IPPrefixLen: 0,
  IPv6Gateway: '',
  MacAddress: '',
} as const;

/** Without an address. @param network `none` or `host` @param pid of the first process; 0 when there is none */
export function networkSettings(network: string, pid: number) {
  return {
    Bridge: '',
    SandboxID: '',
    SandboxKey: pid === 0 ? '' : `/proc/${pid}/ns/net`,
    Ports: {},
    ...ADDRESSES,
    Networks: {
      [network]: { IPAMConfig: null, Links: null, Aliases: null, NetworkID: '', ...ADDRESSES, DriverOpts: null },
    },
  };
}
