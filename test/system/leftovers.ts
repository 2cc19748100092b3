/** What a run may have left behind outside its own records: mounts, processes, cgroups, directories of containers. */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, readlinkSync, rmdirSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';

/** A process that is dying and a cgroup that is being removed need a moment. */
const PATIENCE_MS = 10_000 * Number(process.env['TSBOX_PATIENCE'] ?? 1);

const names = (directory: string) => {
  try {
    return readdirSync(directory);
  } catch {
    return []; // gone meanwhile
  }
};

const content = (file: string) => {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return ''; // gone meanwhile, or not for us to read
  }
};

const link = (path: string) => {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
};

/** Mount points below `directory`, the innermost first. */
function mounts(directory: string): string[] {
  const points = content('/proc/self/mountinfo')
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '');
  return points.filter((point) => point.startsWith(`${directory}/`)).reverse();
}

/** Does a process with this mountinfo have the files in its /etc that tsbox puts there, out of `directory`? Other mounts prove nothing:
 *  what the host mounts is also seen in the namespaces that the host's mounts are propagated to. */
function isContainerOf(directory: string, mountinfo: string): boolean {
  return mountinfo.split('\n').some((line) => {
    const [, , , source = '', point = ''] = line.split(' ');
    return source.includes(`/${basename(directory)}/`) && /^\/etc\/(hosts|hostname|resolv\.conf)$/.test(point);
  });
}

/** Processes that have a file of `directory` open, stand in it, or are in one of its containers; not ourselves. */
function processes(directory: string): number[] {
  const within = (path: string) => path === directory || path.startsWith(`${directory}/`);
  return names('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .filter((pid) => {
      const proc = `/proc/${pid}`;
      if (within(link(`${proc}/cwd`)) || within(link(`${proc}/root`))) return true;
      if (names(`${proc}/fd`).some((fd) => within(link(`${proc}/fd/${fd}`)))) return true;
      // A union names its mount; its layers may be in mounts that it has left.
      if (
        /union\.js|src\/union/.test(content(`${proc}/cmdline`)) &&
        content(`${proc}/cmdline`).includes(`${directory}/`)
      )
        return true;
      return isContainerOf(directory, content(`${proc}/mountinfo`));
    })
    .map(Number);
}

/** Cgroups of containers, in any hierarchy; of whatever sandbox. */
function containerCgroups(): string[] {
  const base = '/sys/fs/cgroup';
  const hierarchies = existsSync(join(base, 'cgroup.procs')) ? [base] : names(base).map((name) => join(base, name));
  return hierarchies
    .flatMap((hierarchy) => names(hierarchy).map((name) => join(hierarchy, name)))
    .filter((path) => /\/tsbox-[0-9a-f]{64}$/.test(path));
}

/** Those in which there is nobody, unless another test's sandbox beside this one has the container: some kill what would remove them. */
function emptyCgroups(directory: string): string[] {
  const others = names(dirname(directory)).filter((name) => name.startsWith('tsb-') && name !== basename(directory));
  const known = new Set(
    others.flatMap((name) =>
      ['d/containers', 'r'].flatMap((path) => names(join(dirname(directory), name, path)).map((id) => `tsbox-${id}`)),
    ),
  );
  return containerCgroups().filter((path) => content(join(path, 'cgroup.procs')) === '' && !known.has(basename(path)));
}

/** Takes the cgroups of these containers away, as a power cut does. @returns whether all are gone: those in which somebody still dies stay */
export function removeCgroups(ids: readonly string[]): boolean {
  const theirs = () => containerCgroups().filter((path) => ids.some((id) => path.endsWith(`/tsbox-${id}`)));
  for (const path of theirs()) {
    try {
      rmdirSync(path);
    } catch {
      // EBUSY, or somebody else has removed it
    }
  }
  return theirs().length === 0;
}

/** Directories below the roots that belong to a container. */
function containerDirectories(directory: string): string[] {
  const own = (path: string, pattern: RegExp) =>
    names(join(directory, path))
      .filter((name) => pattern.test(name))
      .map((name) => join(directory, path, name));
  return [
    ...own('d/containers', /^[0-9a-f]{64}$/),
    ...own('d/image/overlay2/layerdb/mounts', /^[0-9a-f]{64}$/),
    ...own('d/overlay2', /-init$/),
    ...own('r', /^[0-9a-f]{64}$/),
    ...own('d', /^\.tmp-/),
    ...own('d/overlay2', /^\.tmp-/),
  ];
}

function look(directory: string): { now: string[]; cgroups: string[] } {
  const now = [
    ...mounts(directory).map((path) => `mount ${path}`),
    ...processes(directory).map((pid) => `process ${pid}: ${content(`/proc/${pid}/cmdline`).replaceAll('\0', ' ')}`),
    ...containerDirectories(directory).map((path) => `directory ${path}`),
  ];
  return { now, cgroups: emptyCgroups(directory) };
}

/** What is still there of the sandbox in `directory`, one line each, once everything has had the time to go: `patience` in milliseconds.
 *  An empty cgroup counts when it stays for all that time: other tests make and remove theirs meanwhile. */
export async function leftovers(directory: string, patience = PATIENCE_MS): Promise<string[]> {
  const end = performance.now() + patience;
  let cgroups: string[] | undefined;
  for (;;) {
    const seen = look(directory);
    const stayed = cgroups;
    cgroups = stayed === undefined ? seen.cgroups : seen.cgroups.filter((path) => stayed.includes(path));
    const left = [...seen.now, ...cgroups.map((path) => `cgroup ${path}`)];
    if (left.length === 0 || performance.now() > end) return left;
    await new Promise((wake) => setTimeout(wake, 50));
  }
}

/** Takes away by force what is left of the sandbox in `directory`; of cgroups only what `left` names. */
export function removeLeftovers(directory: string, left: readonly string[]): void {
  for (const pid of processes(directory)) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // it has ended by itself
    }
  }
  for (const path of mounts(directory)) spawnSync('umount', ['--lazy', path]);
  for (const line of left) {
    try {
      if (line.startsWith('cgroup ')) rmdirSync(line.slice('cgroup '.length));
    } catch {
      // the test that made it has removed it
    }
  }
}
