/** The devices of a container, and the rules that allow them. */
import { statSync } from 'node:fs';
import { TsboxError } from '../errors.ts';
import type { HostConfig } from '../spec/container.ts';
import type { OciDevice, OciDeviceRule } from '../spec/oci-runtime.ts';
import type { DeviceMapping } from '../spec/resources.ts';
import { deviceAt, devicesBelow, hostDevices } from '../sys/devices.ts';

export interface ContainerDevices {
  devices: OciDevice[];
  /** Beside those for the devices that every container has; a privileged one's allows all. */
  rules: OciDeviceRule[];
}

function refuse(path: string, why: string): TsboxError {
  const message = `error gathering device information while adding custom device ${JSON.stringify(path)}: ${why}`;
  return new TsboxError('ERR_TSBOX_NOT_FOUND', message, { exitCode: 125 });
}

/** One device, or all below a directory. @throws ERR_TSBOX_NOT_FOUND, in Docker's words */
function mapped({ PathOnHost, PathInContainer }: DeviceMapping): OciDevice[] {
  const stat = statSync(PathOnHost, { throwIfNoEntry: false });
  if (stat === undefined) throw refuse(PathOnHost, 'no such file or directory');
  const one = stat.isDirectory() ? undefined : deviceAt(PathOnHost, PathInContainer);
  const found = stat.isDirectory() ? devicesBelow(PathOnHost, PathInContainer) : one === undefined ? [] : [one];
  if (found.length === 0) throw refuse(PathOnHost, 'not a device node');
  return found;
}

/** `c 189:* rmw`; a star is every number. */
function parseRule(text: string): OciDeviceRule {
  const [, type = 'a', major = '*', minor = '*', access = 'rwm'] = /^([acb]) (\S+):(\S+) (\S+)$/.exec(text) ?? [];
  return {
    allow: true,
    type: type as 'a' | 'c' | 'b',
    ...(major !== '*' && { major: Number(major) }),
    ...(minor !== '*' && { minor: Number(minor) }),
    access,
  };
}

/** @throws ERR_TSBOX_NOT_FOUND for a device that the host does not have */
export function containerDevices(hostConfig: HostConfig): ContainerDevices {
  const { Devices, DeviceCgroupRules, Privileged } = hostConfig;
  const mappings = Devices ?? [];
  if (Privileged) {
    const renamed = mappings.filter(({ PathOnHost, PathInContainer }) => PathOnHost !== PathInContainer);
    return { devices: [...hostDevices(), ...renamed.flatMap(mapped)], rules: [{ allow: true, access: 'rwm' }] };
  }
  const devices: OciDevice[] = [];
  const rules: OciDeviceRule[] = [];
  for (const mapping of mappings) {
    for (const device of mapped(mapping)) {
      const { type, major = 0, minor = 0 } = device;
      devices.push(device);
      rules.push({ allow: true, type: type === 'b' ? 'b' : 'c', major, minor, access: mapping.CgroupPermissions });
    }
  }
  return { devices, rules: [...rules, ...(DeviceCgroupRules ?? []).map(parseRule)] };
}
