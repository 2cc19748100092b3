/**
 * Limits of a container in Docker's words: the part of `HostConfig` that `update` may change too. Types only.
 * Numbers of bytes are bytes. 0, an empty text and null are "not set", unless a field says otherwise.
 */

/** A share of a device's time. `--blkio-weight-device /dev/sda:300` */
export interface WeightDevice {
  Path: string;
  /** 10 to 1000; 0 takes the device's own weight away. */
  Weight: number;
}

/** `--device-read-bps /dev/sda:1mb` and its sisters. */
export interface ThrottleDevice {
  Path: string;
  /** Bytes or operations a second. */
  Rate: number;
}

/** `--device /dev/fuse:/dev/fuse:rwm` */
export interface DeviceMapping {
  PathOnHost: string;
  PathInContainer: string;
  /** Some of `r`, `w`, `m`. */
  CgroupPermissions: string;
}

/** `--ulimit nofile=1024:2048` */
export interface Ulimit {
  Name: string;
  /** -1 is unlimited, here and below. */
  Hard: number;
  Soft: number;
}

/** Docker's `Resources`. */
export interface Resources {
  /** A share beside others: 1024 is usual, 2 the least. */
  CpuShares: number;
  /** Bytes. */
  Memory: number;
  /** Processors, in billionths: `--cpus 0.5` is 500000000. */
  NanoCpus: number;
  CgroupParent: string;
  /** 10 to 1000. */
  BlkioWeight: number;
  BlkioWeightDevice: WeightDevice[] | null;
  BlkioDeviceReadBps: ThrottleDevice[] | null;
  BlkioDeviceWriteBps: ThrottleDevice[] | null;
  BlkioDeviceReadIOps: ThrottleDevice[] | null;
  BlkioDeviceWriteIOps: ThrottleDevice[] | null;
  /** Microseconds. */
  CpuPeriod: number;
  /** Microseconds of processor time in each period; -1 is unlimited. */
  CpuQuota: number;
  CpuRealtimePeriod: number;
  CpuRealtimeRuntime: number;
  /** `0-2,4` */
  CpusetCpus: string;
  CpusetMems: string;
  Devices: DeviceMapping[] | null;
  /** `c 10:229 rwm` */
  DeviceCgroupRules: string[] | null;
  MemoryReservation: number;
  /** Memory and swap together, in bytes; -1 is unlimited swap. */
  MemorySwap: number;
  /** 0 to 100; null or -1 is not set. */
  MemorySwappiness: number | null;
  OomKillDisable: boolean | null;
  /** 0 and -1 are unlimited. */
  PidsLimit: number | null;
  Ulimits: Ulimit[] | null;
}
