/**
 * Which devices a container may open or make. Pure. The rules of a configuration are brought into the form that the kernel's version 1
 * controller keeps: what holds for all devices, and exceptions. Version 1 is told them line by line, version 2 as a program.
 * @see runtime-spec config-linux.md, Allowed Device list; cgroup-v1/devices.rst
 */
import type { OciDeviceRule } from '../spec/oci-runtime.ts';
import { deviceProgram } from './device-program.ts';
import type { Step } from './step.ts';

export interface DeviceException {
  type: 'c' | 'b';
  /** Absent: every number. */
  major?: number;
  minor?: number;
  /** Some of `r`, `w`, `m`, in this order. */
  access: string;
}

export interface DeviceAccess {
  /** What holds where no exception does. */
  allow: boolean;
  exceptions: readonly DeviceException[];
}

const ALL = 'rwm';
const only = (access: string, is: (letter: string) => boolean) => [...ALL].filter((l) => access.includes(l) && is(l));

function sameDevices(a: OciDeviceRule | DeviceException, b: DeviceException): boolean {
  return a.type === b.type && a.major === b.major && a.minor === b.minor;
}

/** The rules one after the other, as the kernel would take them: one for every device forgets all before it. */
export function deviceAccess(rules: readonly OciDeviceRule[]): DeviceAccess {
  let allow = true;
  let exceptions: DeviceException[] = [];
  for (const rule of rules) {
    const { type = 'a', access = ALL } = rule;
    if (type === 'a') {
      allow = rule.allow;
      exceptions = [];
      continue;
    }
    const old = exceptions.find((one) => sameDevices(rule, one));
    const had = old?.access ?? '';
    const isException = rule.allow !== allow;
    const now = isException ? only(had + access, () => true) : only(had, (letter) => !access.includes(letter));
    const { major, minor } = rule;
    const numbers = { ...(major !== undefined && { major }), ...(minor !== undefined && { minor }) };
    const changed: DeviceException = { type, ...numbers, access: now.join('') };
    if (old !== undefined) exceptions = exceptions.map((one) => (one === old ? changed : one));
    else exceptions.push(changed);
    exceptions = exceptions.filter((one) => one.access !== '');
  }
  return { allow, exceptions };
}

/** `c 1:3 rwm`, as the files of version 1 take it. */
export function exceptionText({ type, major, minor, access }: DeviceException): string {
  return `${type} ${major ?? '*'}:${minor ?? '*'} ${access}`;
}

const NAMES: Readonly<Record<string, string>> = {
  'c *:* m': 'a node of any device may be made: opening it is another matter',
  'b *:* m': 'the same for block devices',
  'c 1:3 rwm': '/dev/null',
  'c 1:5 rwm': '/dev/zero',
  'c 1:7 rwm': '/dev/full',
  'c 1:8 rwm': '/dev/random',
  'c 1:9 rwm': '/dev/urandom',
  'c 5:0 rwm': '/dev/tty',
  'c 5:1 rwm': '/dev/console',
  'c 5:2 rwm': '/dev/ptmx',
  'c 136:* rwm': '/dev/pts/*',
};

const SEE_V1 = 'cgroup-v1/devices.rst';

/** Version 1: a line a write. Nothing when everything is allowed: so a new cgroup begins.
 *  @param at the container's directory in the hierarchy of the controller `devices` */
export function deviceStepsV1(at: string, rules: readonly OciDeviceRule[]): Step[] {
  const { allow, exceptions } = deviceAccess(rules);
  if (allow && exceptions.length === 0) return [];
  const write = (file: string, data: string, why: string): Step => {
    return { op: 'write', path: `${at}/devices.${file}`, data, flags: [], mode: 0, why, see: SEE_V1 };
  };
  const first = allow ? [] : [write('deny', 'a', 'no device may be opened or made, but for those that follow')];
  return [
    ...first,
    ...exceptions.map((one) => {
      const line = exceptionText(one);
      return write(allow ? 'deny' : 'allow', line, NAMES[line] ?? `the device rule ${line}`);
    }),
  ];
}

/** Version 2: a program that the kernel asks. Nothing when everything is allowed.
 *  @param at the container's directory */
export function deviceStepsV2(at: string, rules: readonly OciDeviceRule[]): Step[] {
  const access = deviceAccess(rules);
  if (access.allow && access.exceptions.length === 0) return [];
  const count = access.exceptions.length;
  const why = `${access.allow ? 'all devices' : 'no device'} but ${count}: the kernel asks this program when one is opened or made`;
  return [
    { op: 'bpf_device', cgroup: at, program: deviceProgram(access), why, see: 'cgroup-v2.rst, Device controller' },
  ];
}
