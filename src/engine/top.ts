/** `top`: the processes of a container as the host's ps(1) shows them, by Docker's rules. @see moby, daemon/top_unix.go */
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { TsboxError } from '../errors.ts';
import type { ContainerRecord } from '../spec/container.ts';
import { requireContainer } from '../store/containers.ts';
import { noteContainer } from '../store/events.ts';
import { containerState } from '../store/state.ts';
import type { Store } from '../store/store.ts';
import { refusal } from '../sys/node-error.ts';
import { containerCgroup, containerFacts } from './cgroup-path.ts';
import type { Engine } from './open.ts';

export interface ProcessList {
  titles: string[];
  /** Each with as many fields as there are titles. */
  processes: string[][];
}

const USUAL = ['-ef'];
const conflict = (message: string) => new TsboxError('ERR_TSBOX_CONFLICT', message);
const refused = (message: string) => new TsboxError('ERR_TSBOX_USAGE', message);

/** @param options of ps(1); `-ef` for none
 *  @throws ERR_TSBOX_NOT_FOUND, ERR_TSBOX_CONFLICT when it does not run, ERR_TSBOX_USAGE for options that ps refuses or whose output has
 *  no column PID */
export function topContainer({ store }: Engine, name: string, options: readonly string[]): ProcessList {
  const words = options.length === 0 ? USUAL : options.join(' ').split(' ');
  for (const [, key, value] of options.join(' ').matchAll(/\s+([^\s]*)=\s*(PID[^\s]*)/g)) {
    if (key?.toLowerCase() !== 'pid') throw refused(`specifying "${key}=${value}" is not allowed`);
  }
  const record = requireContainer(store, name);
  const state = containerState(store, record);
  if (state.Restarting) {
    throw conflict(`Container ${record.ID} is restarting, wait until the container is running`);
  }
  if (!state.Running) throw conflict(`Container ${record.ID} is not running`);
  const pids = processesOf(store, record, state.Pid);
  const list = parseProcesses(ps(words, pids), new Set(pids));
  noteContainer(store, record, 'top');
  return list;
}

/** Those of its cgroups; of a container without one, those of its PID namespace. */
function processesOf(store: Store, { ID: id }: ContainerRecord, first: number): number[] {
  const path = containerCgroup(store, id);
  for (const { mount } of containerFacts(store, id).hierarchies) {
    const pids = inCgroup(`${mount}${path}`);
    if (pids.includes(first)) return pids;
  }
  const namespace = pidNamespace(first);
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .map(Number)
    .filter((pid) => pid === first || (namespace !== undefined && pidNamespace(pid) === namespace));
}

function inCgroup(directory: string): number[] {
  try {
    const own = readFileSync(`${directory}/cgroup.procs`, 'utf8').split('\n').filter(Boolean).map(Number);
    const below = readdirSync(directory, { withFileTypes: true }).filter((entry) => entry.isDirectory());
    return [...own, ...below.flatMap((entry) => inCgroup(`${directory}/${entry.name}`))];
  } catch {
    return []; // no such cgroup, or one that is gone again
  }
}

function pidNamespace(pid: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/pid`);
  } catch {
    return undefined; // somebody else's, or ended
  }
}

function ps(words: readonly string[], pids: readonly number[]): string {
  // Some options (f) do not go with -q: then all processes are listed.
  const narrow = runPs([...words, `-q${pids.join(',')}`]);
  const { status, stdout, stderr, error } = narrow.status === 0 ? narrow : runPs(words);
  if (error !== undefined) throw refusal('run ps', error);
  if (status !== 0) throw refused(`ps: ${stderr.split('\n', 1)[0] || `exit status ${status}`}`);
  return stdout;
}

function runPs(words: readonly string[]) {
  return spawnSync('ps', words, { encoding: 'utf8', maxBuffer: 1 << 28, stdio: ['ignore', 'pipe', 'pipe'] });
}

const fieldsOf = (line: string) => line.split(/[\t\n\v\f\r ]+/).filter((field) => field !== '');

/** The lines of ps that are about these processes, and about their threads. Pure. @throws ERR_TSBOX_USAGE */
export function parseProcesses(output: string, pids: ReadonlySet<number>): ProcessList {
  const [first = '', ...lines] = output.split('\n');
  const titles = fieldsOf(first);
  const index = titles.indexOf('PID');
  if (index < 0) throw refused("Couldn't find PID field in ps output");
  const processes: string[][] = [];
  let isThread = false; // the lines with a dash instead of a pid are about threads of the one before
  for (const line of lines.filter((text) => text !== '')) {
    const fields = fieldsOf(line);
    const pid = fields[index] ?? '';
    if (pid !== '-') {
      if (!/^\d+$/.test(pid)) {
        throw refused(`Unexpected pid '${pid}': strconv.Atoi: parsing ${JSON.stringify(pid)}: invalid syntax`);
      }
      isThread = pids.has(Number(pid));
    }
    if (!isThread) continue;
    const last = titles.length - 1;
    processes.push([...fields.slice(0, last), fields.slice(last).join(' ')]);
  }
  return { titles, processes };
}
