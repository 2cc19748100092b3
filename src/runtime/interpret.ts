/**
 * The interpreter in TypeScript: runs a list of steps through FFI, as the executor does in C. The setup list is run here; that every other
 * operation is there too is what one test holds the two against each other with.
 *
 * Operations that need a process which is alone with its thread (`fork`, `spawn`, `outside`, `wait`) or a monitor's loop belong to
 * the executor; asking for them here is a bug. `unshare`, `setuid` and their like change Node's main thread only.
 */
import {
  chmodSync,
  chownSync,
  closeSync,
  openSync,
  readSync,
  renameSync,
  rmdirSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { SyscallError, TsboxError } from '../errors.ts';
import type { OpName } from '../plan/ops.ts';
import type { Step, StepOf } from '../plan/step.ts';
import { fill, show, type Text, type Values } from '../plan/text.ts';
import { argInteger } from '../plan/wire.ts';
import { errnoNumber, errnoOf } from '../spec/errno.ts';
import { AT, CLONE, type FlagSet, flagBits, MNT, MOUNT_ATTR, MOVE_MOUNT, MS, O } from '../spec/linux.ts';
import { attachDeviceProgram } from '../sys/bpf.ts';
import { monotonicMs } from '../sys/clock.ts';
import { refuse } from '../sys/ffi.ts';
import { whenLast } from '../sys/last.ts';
import * as mounts from '../sys/mount.ts';
import * as net from '../sys/netlink.ts';
import * as nftables from '../sys/nftables.ts';
import { makeNode } from '../sys/node.ts';
import { propagateAll } from '../sys/own-mounts.ts';
import { pause } from '../sys/pause.ts';
import { joinNamespaces } from '../sys/pidfd.ts';
import * as processes from '../sys/process.ts';
import { removeWholeTree } from '../sys/remove-tree.ts';
import * as walk from '../sys/walk.ts';

export interface StepReport {
  step: Step;
  /** 0 when it worked or was skipped. */
  errno: number;
  ns: number;
}

export interface InterpretOptions {
  /** Late holes that the caller knows. */
  values?: Values;
  onStep?: (report: StepReport) => void;
  /** Go on after a failed step, as cleanup lists do; the first failure is thrown at the end. */
  keepGoing?: boolean;
}

interface Context {
  text(value: Text): string;
  slots: Map<number, number>;
  /** Runs a list below a step, up to its first error. */
  run(list: readonly Step[]): void;
}

type Runner<Name extends OpName> = (step: StepOf<Name>, context: Context) => void;

const bits = (set: FlagSet, names: readonly string[]) => flagBits(set, names);

function writeFile(step: StepOf<'write'>, context: Context): void {
  walk.writeFile(context.text(step.path), context.text(step.data), bits(O, step.flags), step.mode);
}

/** As much as one read(2) of a page gives. Plain paths are safe here: the plan copies from a cgroup, whose file system has no links and no
 *  names that a container could give to files, to the container's own directory below the data root. Neither is in a root file system, nor
 *  on a way that an image or a container has a say in. What may be, is opened by `sys/walk.ts`. */
function copySmall(step: StepOf<'copy'>, context: Context): void {
  writeFileSync(context.text(step.to), readSmall('copy', context.text(step.from)), { mode: 0o644 });
}

function readSmall(op: OpName, path: string): Buffer {
  const from = openSync(path, 'r');
  try {
    const data = Buffer.alloc(COPY_MOST);
    const length = readSync(from, data);
    if (length === COPY_MOST) throw refuse(op, `${op} ${path}`, 'EFBIG');
    return data.subarray(0, length);
  } finally {
    closeSync(from);
  }
}

function writeCounted(step: StepOf<'write_counted'>, context: Context): void {
  const lines = readSmall('write_counted', context.text(step.from)).toString('latin1').split('\n');
  const name = `${context.text(step.count)} `;
  if (lines.some((line) => line.startsWith(name) && /^0*[1-9]/.test(line.slice(name.length)))) {
    walk.writeFile(context.text(step.path), context.text(step.data), bits(O, step.flags), step.mode);
  }
}

const COPY_MOST = 4096;

function fillSlot(context: Context, slot: number, fd: number): void {
  const before = context.slots.get(slot);
  if (before !== undefined) closeSync(before);
  context.slots.set(slot, fd);
}

function slot(context: Context, number: number): number {
  const fd = context.slots.get(number);
  if (fd === undefined) throw new Error(`nothing is in slot ${number}`);
  return fd;
}

function moveMount(step: StepOf<'move_mount'>, context: Context): void {
  const fd = slot(context, step.slot);
  mounts.moveMount(fd, context.text(step.target), bits(MOVE_MOUNT, step.flags));
  context.slots.delete(step.slot);
  closeSync(fd);
}

function treeSetattr(step: StepOf<'tree_setattr'>, context: Context): void {
  const { at, set, clear, propagation } = step;
  const tree = slot(context, step.slot);
  mounts.treeSetattr(tree, bits(AT, at), bits(MOUNT_ATTR, set), bits(MOUNT_ATTR, clear), bits(MS, propagation));
}

function idmap(step: StepOf<'idmap'>, context: Context): void {
  const fd = context.slots.get(step.slot);
  if (fd === undefined) throw new Error(`nothing is in slot ${step.slot}`);
  mounts.mapMount(fd, context.text(step.userns));
}

function setattr(step: StepOf<'mount_setattr'>, context: Context): void {
  const { at, set, clear, propagation } = step;
  const target = context.text(step.target);
  mounts.mountSetattr(target, bits(AT, at), bits(MOUNT_ATTR, set), bits(MOUNT_ATTR, clear), bits(MS, propagation));
}

function addLink(step: StepOf<'link_add'>, context: Context): void {
  const { text } = context;
  const { name, type, peer, netns, mac, mtu } = step;
  net.addLink({ name: text(name), type: text(type), peer: text(peer), netns: text(netns), mac: text(mac), mtu });
}

function deleteRules(step: StepOf<'nft_delete'>, context: Context): void {
  const [table, set] = [context.text(step.table), context.text(step.set)];
  if (set === '') nftables.deleteTable(table);
  else nftables.deleteElement(table, set, step.key);
}

/** As execvp(3) looks it up, in the PATH that the program will have. */
function execProgram(step: StepOf<'exec'>, context: Context): void {
  const args = step.args.map(context.text);
  const env = step.env.map(context.text);
  const [name = ''] = args;
  const path = env.find((one) => one.startsWith('PATH='))?.slice(5) ?? DEFAULT_PATH;
  const candidates = name.includes('/') ? [name] : path.split(':').map((one) => `${one === '' ? '.' : one}/${name}`);
  let refusal: unknown;
  for (const candidate of candidates) {
    try {
      processes.execve(candidate, args, env);
    } catch (error) {
      const denied = error instanceof SyscallError && error.errnoName === 'EACCES';
      if (refusal === undefined || denied) refusal = error;
      if (!denied && !(error instanceof SyscallError && ['ENOENT', 'ENOTDIR'].includes(error.errnoName))) throw error;
    }
  }
  throw refusal;
}

const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

const RUNNERS: { [Name in OpName]?: Runner<Name> } = {
  mkdir: (s, c) => walk.makeDirectory(c.text(s.path), s.mode),
  write: writeFile,
  symlink: (s, c) => symlinkSync(c.text(s.target), c.text(s.path)),
  mknod: (s, c) => makeNode(c.text(s.path), s.mode, s.major, s.minor),
  chmod: (s, c) => chmodSync(c.text(s.path), s.mode),
  chown: (s, c) => chownSync(c.text(s.path), s.uid, s.gid),
  unlink: (s, c) => unlinkSync(c.text(s.path)),
  rmdir: (s, c) => rmdirSync(c.text(s.path)),
  remove_tree: (s, c) => removeWholeTree(c.text(s.path), { mustExist: true }),
  rename: (s, c) => renameSync(c.text(s.from), c.text(s.to)),
  mount: (s, c) =>
    s.target === '/' && s.source === '' && s.type === ''
      ? propagateAll(bits(MS, s.flags))
      : mounts.mount(c.text(s.source), c.text(s.target), c.text(s.type), bits(MS, s.flags), c.text(s.data)),
  umount: (s, c) => mounts.umount(c.text(s.target), bits(MNT, s.flags)),
  mount_setattr: setattr,
  open_tree: (s, c) => fillSlot(c, s.slot, mounts.openTree(c.text(s.path), bits(AT, s.flags))),
  open_device: (s, c) => fillSlot(c, s.slot, mounts.openDevice(c.text(s.path), s.major, s.minor)),
  tree_setattr: treeSetattr,
  move_mount: moveMount,
  idmap,
  pivot_root: (s, c) => mounts.pivotRoot(c.text(s.root), c.text(s.old)),
  chdir: (s, c) => walk.changeDirectory(c.text(s.path)),
  write_proc: (s, c) => walk.writeProc(c.text(s.path), c.text(s.data)),
  unshare: (s) => processes.unshare(bits(CLONE, s.flags)),
  join: (s) => joinNamespaces(s.pid, s.parent, bits(CLONE, s.flags)),
  setns: (s, c) => processes.setns(c.text(s.path), bits(CLONE, s.type)),
  setsid: () => processes.setsid(),
  sethostname: (s, c) => processes.setHostname(c.text(s.name)),
  setdomainname: (s, c) => processes.setDomainname(c.text(s.name)),
  link_up: (s, c) => processes.linkUp(c.text(s.name)),
  close_fds: (s) => processes.closeOnExecFrom(s.from),
  umask: (s) => processes.umask(s.mask),
  rlimit: (s) => processes.setRlimit(Number(argInteger('rlimit', s.resource)), s.soft, s.hard),
  capbset: (s) => processes.dropBoundingSet(s.keep),
  capset: (s) => processes.capset(s.effective, s.permitted, s.inheritable),
  capambient: (s) => processes.raiseAmbient(s.raise),
  setgroups: (s) => processes.setGroups(s.groups),
  setgid: (s) => processes.setGid(s.gid),
  setuid: (s) => processes.setUid(s.uid),
  run: (s, c) => processes.runProgram(s.args.map(c.text)),
  setfsid: (s) => processes.setFsIds(s.uid, s.gid),
  prctl: (s) => void processes.prctl(Number(argInteger('prctl', s.option)), s.value),
  seccomp: (s) => processes.seccompFilter(s.filter, s.flags),
  keyctl_join: (s, c) => processes.joinSessionKeyring(c.text(s.name)),
  exec: execProgram,
  kill_cgroup: (s, c) => processes.killCgroup(c.text(s.path)),
  bpf_device: (s, c) => attachDeviceProgram(c.text(s.cgroup), s.program),
  copy: copySmall,
  write_counted: writeCounted,
  link_add: addLink,
  port_set: (s, c) => net.setPort(c.text(s.name), s.hairpin !== 0, s.isolated !== 0),
  link_set: (s, c) => net.setMaster(c.text(s.name), c.text(s.master)),
  link_delete: (s, c) => net.deleteLink(c.text(s.name)),
  address_add: (s, c) => net.addAddress(c.text(s.link), c.text(s.address)),
  route_add: (s, c) => net.addRoute(c.text(s.to), c.text(s.via), c.text(s.link)),
  nft: (s, c) => nftables.changeRules(c.text(s.commands)),
  nft_delete: deleteRules,
  together: (s, c) => c.run(s.list),
  last: (s, c) => whenLast(c.text(s.lock), c.text(s.directory), () => c.run(s.list)),
};

/** Operations that only the executor can run. */
export const EXECUTOR_ONLY: readonly OpName[] = [
  'fork',
  'spawn',
  'outside',
  'wait',
  'stdio',
  'pty',
  'chown_stdio',
  'flock',
  'listen',
  'log',
  'become',
  'repeat',
  'birth_cgroup',
  'bind_port',
];

const RETRY_MS = 2000;

function errnoNameOf(error: unknown): string | undefined {
  if (error instanceof SyscallError) return error.errnoName;
  return error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined;
}

function runStep(step: Step, context: Context): void {
  const runner = RUNNERS[step.op] as Runner<OpName> | undefined;
  if (runner === undefined) throw new Error(`${step.op} belongs to the executor`);
  const deadline = monotonicMs() + RETRY_MS;
  for (;;) {
    try {
      runner(step as never, context);
      return;
    } catch (error) {
      const name = errnoNameOf(error);
      const action = name === undefined ? undefined : step.onError?.[name];
      if (action === 'skip') return;
      if (action !== 'retry' || monotonicMs() > deadline) throw error;
      pause(5);
    }
  }
}

/** A refusal with the step's own words in front, whether it came from Node's file system calls or from ours. */
function refusal(step: Step, error: unknown): unknown {
  const name = errnoNameOf(error);
  if (error instanceof TsboxError || name === undefined || !/^E[A-Z0-9]+$/.test(name)) return error;
  const object = 'path' in step ? show(step.path) : 'target' in step ? show(step.target) : '';
  return new SyscallError(step.op, `${step.op} ${object}`.trim(), errnoOf(errnoNumber(name)), { cause: error });
}

/** The working directory; the root for a caller whose own was removed. */
export function workingDirectory(): string {
  try {
    return process.cwd();
  } catch {
    return '/';
  }
}

function runSteps(list: readonly Step[], context: Context, options: InterpretOptions, keepGoing: boolean): void {
  let first: unknown;
  for (const step of list) {
    const start = process.hrtime.bigint();
    let errno = 0;
    try {
      runStep(step, context);
    } catch (error) {
      const refused = refusal(step, error);
      errno = refused instanceof SyscallError ? refused.errno : 1;
      if (!keepGoing) throw refused;
      first ??= refused;
    } finally {
      options.onStep?.({ step, errno, ns: Number(process.hrtime.bigint() - start) });
    }
  }
  if (first !== undefined) throw first;
}

/** Runs a list in order. Working directory and umask are put back at the end, so a list may use short names and mean modes exactly.
 *  @throws SyscallError at the first step that fails; its `cause` is Node's own error where there was one */
export function interpret(steps: readonly Step[], options: InterpretOptions = {}): void {
  const directory = workingDirectory();
  const umask = process.umask();
  const context: Context = {
    text: (value) => {
      const filled = fill(value, options.values ?? {});
      if (typeof filled !== 'string') throw new Error(`open hole in ${show(filled)}`);
      return filled;
    },
    slots: new Map(),
    run: (list) => runSteps(list, context, options, false),
  };
  try {
    runSteps(steps, context, options, options.keepGoing === true);
  } finally {
    for (const fd of context.slots.values()) closeSync(fd);
    process.chdir(directory);
    process.umask(umask);
  }
}
