/** The plan of `exec`: a further process in a container that runs. Pure. @see setns(2), nsenter(1) */
import type { HostFacts } from '../spec/host.ts';
import { type IdMaps, toHost } from '../spec/id-map.ts';
import type { CLONE, STDIN } from '../spec/linux.ts';
import type { OciProcess } from '../spec/oci-runtime.ts';
import { cgroupEntry } from './cgroup.ts';
import {
  credentialSteps,
  execSteps,
  hideSteps,
  keyringSteps,
  lastSteps,
  limitSteps,
  oomScoreSteps,
  type SeccompFilter,
} from './credentials.ts';
import { type EventPlace, eventStep } from './monitor.ts';
import type { Plan, Step } from './step.ts';
import { allowedSteps } from './userns.ts';

export interface EnterInput {
  /** The container's first process, as the host sees it. */
  pid: number;
  /** Its parent: so the number is not taken for another process that has it meanwhile. */
  monitor: number;
  process: OciProcess;
  /** The container's own; absent for none. */
  seccomp?: SeccompFilter;
  facts: HostFacts;
  cgroupsPath: string;
  /** Namespaces that are the container's own, by their names in /proc/PID/ns. */
  namespaces: readonly NamespaceFile[];
  /** Of the container's own user namespace, when it has one. */
  maps?: IdMaps;
  /** Absent when the process has a terminal. */
  stdin?: keyof typeof STDIN;
  /** Where its end is told; `attributes` has its number. */
  events?: EventPlace;
}

export type NamespaceFile = keyof typeof NAMESPACES;

const NAMESPACES = {
  user: 'CLONE_NEWUSER',
  cgroup: 'CLONE_NEWCGROUP',
  ipc: 'CLONE_NEWIPC',
  uts: 'CLONE_NEWUTS',
  net: 'CLONE_NEWNET',
  pid: 'CLONE_NEWPID',
  mnt: 'CLONE_NEWNS',
} as const satisfies Record<string, keyof typeof CLONE>;

function joinSteps(input: EnterInput): Step[] {
  const names = (Object.keys(NAMESPACES) as NamespaceFile[]).filter((name) => input.namespaces.includes(name));
  return [
    ...hideSteps(),
    {
      op: 'join',
      pid: input.pid,
      parent: input.monitor,
      flags: names.map((name) => NAMESPACES[name]),
      why: 'see what the container sees; its first process is known by its parent too',
    },
  ];
}

function terminalSteps(process: OciProcess): Step[] {
  const session: Step = { op: 'setsid', why: 'a session of its own' };
  if (process.terminal !== true) return [session];
  const { height = 0, width = 0 } = process.consoleSize ?? {};
  const why = "one more terminal from the container's devpts";
  return [session, { op: 'pty', path: '/dev/pts/ptmx', rows: height, columns: width, why }];
}

/** Inside of a user namespace nobody may give away what belongs to the host's root. */
function stdioSteps({ process, maps }: EnterInput): Step[] {
  const uid = maps === undefined || process.terminal === true ? undefined : toHost(maps.uids, process.user.uid);
  const why = 'the user may open /dev/stdout again; by the number that he has on the host';
  return uid === undefined ? [] : [{ op: 'chown_stdio', uid, why }];
}

/** Unlike a new container's first process this one is not alone: it stays closed to the processes of the container (ptrace(2)) until
 *  the command runs. */
function becomeRoot(): Step[] {
  return [
    {
      op: 'setgid',
      gid: 0,
      why: 'the group of root of the namespace; until now it was one that the map does not have',
    },
    { op: 'setuid', uid: 0, why: 'root of the namespace' },
  ];
}

/** @throws nothing: what does not fit is found when the steps are run */
export function compileEnter(input: EnterInput): Plan {
  const { process } = input;
  const { birth, join } = cgroupEntry(input.cgroupsPath, input.facts);
  const init: Step[] = [
    { op: 'umask', mask: 0, why: 'modes below are meant exactly' },
    ...oomScoreSteps(process),
    ...join,
    ...stdioSteps(input),
    ...joinSteps(input),
    ...(input.maps === undefined ? [] : becomeRoot()),
    { op: 'chdir', path: process.cwd, why: 'the working directory' },
    ...keyringSteps(),
    ...limitSteps(process),
    { op: 'chown_stdio', uid: process.user.uid, why: 'the user may open /dev/stdout again' },
    ...allowedSteps(credentialSteps(process, input.seccomp), input.maps),
    {
      op: 'fork',
      why: 'only a child is in the PID namespace that was joined; those in there first see it when it may no more than they',
      see: 'pid_namespaces(7)',
    },
    ...terminalSteps(process),
    ...lastSteps(process, input.seccomp),
    ...execSteps(process),
  ];
  const monitor: Step[] = [{ op: 'setsid', why: 'the monitor outlives the terminal that it was started from' }];
  if (input.stdin !== undefined) {
    monitor.push({ op: 'stdio', stdin: [input.stdin], why: 'standard output and error, kept apart' });
  }
  monitor.push(...birth);
  monitor.push({ op: 'spawn', list: init, why: 'the new process goes its own way, through the list below' });
  const { events } = input;
  const told = events === undefined ? [] : [eventStep(events, 'exec_die', 'exit')];
  return { setup: [], monitor, cleanup: told };
}
