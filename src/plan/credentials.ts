/** Who the process is and what it may do, in the order that the kernel allows. Pure. @see credentials(7), capabilities(7) */
import { capabilityMask } from '../spec/capabilities.ts';
import type { RLIMIT } from '../spec/linux.ts';
import type { OciProcess } from '../spec/oci-runtime.ts';
import type { Step } from './step.ts';

const ALL_GROUPS_WHY = "supplementary groups, from the image's /etc/group";

/** The new process is full of what is not the container's: the plan, the monitor's socket, all capabilities. It is its own from the first
 *  step on. Where a user namespace's maps are to be written by somebody who is not root, /proc/PID must still be that user's. */
export function hideSteps(): Step[] {
  return [
    {
      op: 'prctl',
      option: ['PR_SET_DUMPABLE'],
      value: 0,
      why: 'until exec no process of a namespace that is entered may trace this one or open its program',
      see: 'prctl(2), PR_SET_DUMPABLE',
    },
  ];
}

/** Keys that the caller's session holds would be there for the container too. */
export function keyringSteps(): Step[] {
  return [
    {
      op: 'keyctl_join',
      name: '',
      why: "a session keyring of its own: the caller's keys are not handed on",
      see: 'session-keyring(7)',
      onError: { ENOSYS: 'skip' },
    },
  ];
}

/** Limits and file mode mask, while the process may still raise a limit. */
export function limitSteps(process: OciProcess): Step[] {
  const steps: Step[] = (process.rlimits ?? []).map((limit) => ({
    op: 'rlimit',
    resource: [limit.type as keyof typeof RLIMIT],
    soft: limit.soft,
    hard: limit.hard,
    why: 'a limit that was asked for',
  }));
  steps.push({ op: 'umask', mask: process.user.umask ?? 0o022, why: 'what new files do not allow to others' });
  return steps;
}

/** Before anything else, while /proc is the host's and the process may still make itself less likely to be killed. */
export function oomScoreSteps({ oomScoreAdj }: OciProcess): Step[] {
  if (oomScoreAdj === undefined) return [];
  const why = 'how readily the kernel kills it when memory is short: -1000 never, 1000 first';
  const path = '/proc/self/oom_score_adj';
  const see = 'proc_pid_oom_score_adj(5)';
  return [{ op: 'write', path, data: String(oomScoreAdj), flags: [], mode: 0, why, see }];
}

/** A compiled filter of system calls. */
export interface SeccompFilter {
  /** For seccomp(2), SECCOMP_SET_MODE_FILTER: 8 bytes an instruction. */
  program: Uint8Array;
  /** SECCOMP_FILTER_FLAG_*. */
  flags: number;
}

function seccompStep({ program, flags }: SeccompFilter, why: string): Step {
  return { op: 'seccomp', filter: program, flags, why };
}

const NO_NEW_PRIVILEGES: Step = {
  op: 'prctl',
  option: ['PR_SET_NO_NEW_PRIVS'],
  value: 1,
  why: 'setuid files give nothing any more',
  see: 'prctl(2), PR_SET_NO_NEW_PRIVS',
};

const CLOSE_FILES: Step = { op: 'close_fds', from: 3, why: 'no descriptor of the host leaks into the container' };

/**
 * Capabilities are given up before the user changes, as giving up needs one; what is left is set when the user is the final one.
 * Loading a filter takes CAP_SYS_ADMIN, which is still there at the beginning, or no_new_privs; with that it is loaded last, when
 * fewer calls have to pass it.
 */
export function credentialSteps(process: OciProcess, seccomp?: SeccompFilter): Step[] {
  const bound = process.noNewPrivileges === true;
  const early =
    seccomp === undefined || bound
      ? []
      : [seccompStep(seccomp, 'system calls that no container needs are refused from here on')];
  return [...(bound ? [NO_NEW_PRIVILEGES] : []), CLOSE_FILES, ...early, ...identitySteps(process)];
}

/** What is to be said by the very process that executes: a fork would lose it, or has to be possible before. */
export function lastSteps(process: OciProcess, seccomp?: SeccompFilter): Step[] {
  const late =
    seccomp === undefined || process.noNewPrivileges !== true
      ? []
      : [seccompStep(seccomp, 'system calls that no container needs are refused: the last step of all')];
  return [
    {
      op: 'prctl',
      option: ['PR_SET_PDEATHSIG'],
      value: 9,
      why: 'a container without its monitor could not be waited for: it ends with it',
      see: 'prctl(2), PR_SET_PDEATHSIG',
    },
    ...late,
  ];
}

function identitySteps(process: OciProcess): Step[] {
  const { user, capabilities: caps = {} } = process;
  const mask = (names: readonly string[] | undefined) => capabilityMask(names ?? []);
  const keep: Step[] =
    user.uid !== 0 && (caps.permitted ?? []).length > 0
      ? [
          {
            op: 'prctl',
            option: ['PR_SET_KEEPCAPS'],
            value: 1,
            why: 'the change of user would take the capabilities that were asked for',
            see: 'prctl(2), PR_SET_KEEPCAPS',
          },
        ]
      : [];
  const steps: Step[] = [
    { op: 'capbset', keep: mask(caps.bounding), why: 'no program started here can ever gain more than this' },
    { op: 'setgroups', groups: user.additionalGids ?? [], why: ALL_GROUPS_WHY },
    { op: 'setgid', gid: user.gid, why: "the process's group" },
    ...keep,
    { op: 'setuid', uid: user.uid, why: "the process's user; from root to another the kernel takes all capabilities" },
    {
      op: 'capset',
      effective: mask(caps.effective),
      permitted: mask(caps.permitted),
      inheritable: mask(caps.inheritable),
      why: 'what the process may do now',
    },
  ];
  if ((caps.ambient ?? []).length > 0) {
    steps.push({ op: 'capambient', raise: mask(caps.ambient), why: 'what a program keeps without being root' });
  }
  return steps;
}

/** The last step: the program takes over. */
export function execSteps(process: OciProcess): Step[] {
  return [{ op: 'exec', args: process.args, env: process.env ?? [], why: 'the command takes over' }];
}
