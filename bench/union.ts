/**
 * `make bench-union`: the union from user space beside fuse-overlayfs and the kernel's overlay, in one run: small operations with client
 * and server on one processor, a day's work (unpack, stat, read cold and warm, write, remove), and memory. The day's work once more in a user
 * namespace, where the kernel does not read and write by itself (passthrough). usage: union.ts [RUNS]
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { which } from './engines.ts';
import { median, run, time } from './measure.ts';
import { table } from './table.ts';
import { KNOWN_FILES, makeFiles, memoryOfServer, PROMISED_MB } from './union-memory.ts';

const REPOSITORY = join(import.meta.dirname, '..');
/** `host` or `user`: where this runs. */
const NAMESPACE = 'TSBOX_BENCH_UNION';
const isUserNamespace = process.env[NAMESPACE] === 'user';
const OPERATIONS = '20000';
const WRITTEN = '512';

const KERNEL = 'kernel overlay';

/** What is compared: how it is mounted with `-o OPTIONS` on a directory. */
const UNIONS: Readonly<Record<string, readonly [string, ...string[]]>> = {
  'tsbox-union': [join(REPOSITORY, 'bin/tsbox-union')],
  'fuse-overlayfs': ['fuse-overlayfs'],
  [KERNEL]: ['mount', '-t', 'overlay', 'overlay'],
};

/** A server in C that does nothing but answer (union-floor.c): what the protocol alone costs, whoever serves it. Only for the operations. */
const FLOOR = 'floor';

/** The least of fuse-overlayfs' operations a second. */
const PROMISES: Readonly<Record<string, number>> = { 'negative lookup': 0.9, chmod: 1.3, 'open/close': 1.3 };
const PEER = 'fuse-overlayfs';

interface Mounted {
  /** Has the layers, and the directory that they are mounted on. */
  place: string;
  directory: string;
  unmount(): void;
  mount(): void;
}

const floorIn = (work: string): string => join(work, 'union-floor');

function buildFloor(work: string): void {
  run({
    argv: ['cc', '-O2', '-Wall', '-Wextra', '-Werror', '-o', floorIn(work), join(import.meta.dirname, 'union-floor.c')],
  });
}

/** A fresh stack of two lower layers and an upper one. @param pinned on which processor the server runs */
function mountUnion(work: string, name: string, pinned: readonly string[]): Mounted {
  const command: readonly [string, ...string[]] = name === FLOOR ? [floorIn(work)] : UNIONS[name]!;
  const place = mkdtempSync(join(work, 'm-'));
  for (const part of ['l1', 'l2', 'u', 'w', 'm']) mkdirSync(join(place, part));
  const own = isUserNamespace && name === KERNEL ? ',userxattr' : '';
  const options = `lowerdir=${place}/l1:${place}/l2,upperdir=${place}/u,workdir=${place}/w${own}`;
  const directory = join(place, 'm');
  const argv = [...pinned, ...command, directory, '-o', options] as unknown as [string, ...string[]];
  const mount = (): void => {
    run({ argv });
  };
  mount();
  return { place, directory, mount, unmount: () => run({ argv: ['umount', directory] }) };
}

type Figures = Map<string, Map<string, number[]>>;

function note(figures: Figures, row: string, name: string, value: number): void {
  const byName = figures.get(row) ?? new Map<string, number[]>();
  figures.set(row, byName);
  byName.set(name, [...(byName.get(name) ?? []), value]);
}

/** Operations a second, by one client on the server's processor. */
function operations(figures: Figures, work: string, name: string): void {
  const pinned = ['taskset', '--cpu-list', '1'];
  const mounted = mountUnion(work, name, pinned);
  const client = join(import.meta.dirname, 'union-client.ts');
  const argv = [...pinned, process.execPath, client, mounted.directory, OPERATIONS] as unknown as [string, ...string[]];
  for (const line of run({ argv }).stdout.trim().split('\n')) {
    const [row, value] = line.split('\t');
    note(figures, row!, name, Number(value));
  }
  mounted.unmount();
}

/** Seconds. Cold is after mounting anew: the union knows nothing then, and the kernel nothing of the union. */
function dailyWork(figures: Figures, work: string, name: string, archive: string): void {
  const mounted = mountUnion(work, name, []);
  const { directory } = mounted;
  const step = (row: string, script: string): void => {
    note(figures, row, name, time({ argv: ['sh', '-c', `cd "$0" && ${script}`, directory] }) / 1000);
  };
  const again = (): void => {
    mounted.unmount();
    mounted.mount();
  };
  step('untar', `mkdir rootfs && tar -xf ${archive} -C rootfs`);
  again();
  step('stat of all', 'find rootfs -newer /proc/self > /dev/null');
  again();
  step('cat of all, cold', 'find rootfs -type f -exec cat {} + > /dev/null');
  step('cat of all, warm', 'find rootfs -type f -exec cat {} + > /dev/null');
  step(`write ${WRITTEN} MB`, `dd if=/dev/zero of=big bs=1M count=${WRITTEN} status=none`);
  step(`write ${WRITTEN} MB, 4 KB each`, `dd if=/dev/zero of=small bs=4k count=${Number(WRITTEN) * 256} status=none`);
  again();
  step(`read ${WRITTEN} MB, cold`, 'cat big > /dev/null');
  step(`read ${WRITTEN} MB, warm`, 'cat big > /dev/null');
  step('rm -rf', 'rm -rf rootfs');
  mounted.unmount();
}

/** Was a promise kept? One that the floor does not keep either is out of everybody's reach on this machine. */
function verdict(promise: number, part: number, isTime: boolean, floor: number): string {
  if (isTime ? part <= promise : part >= promise) return 'kept';
  return floor < promise ? 'MISSED, as the floor does' : 'MISSED';
}

function report(figures: Figures, unit: string, isTime: boolean): string {
  const names = isTime ? Object.keys(UNIONS) : [...Object.keys(UNIONS), FLOOR];
  const rows = [...figures].map(([row, byName]) => {
    const values = names.map((name) => median(byName.get(name) ?? []));
    const [ours, peer] = [values[0]!, values[names.indexOf(PEER)]!];
    const part = ours / peer;
    const floor = isTime ? Number.POSITIVE_INFINITY : values[values.length - 1]! / peer;
    const promise = isTime ? 1 : PROMISES[row];
    const kept = promise === undefined ? '' : `${promise}: ${verdict(promise, part, isTime, floor)}`;
    const shown = values.map((value) => (isTime ? value.toFixed(2) : String(Math.round(value))));
    return [row, unit, ...shown, part.toFixed(2), ...(isTime ? [] : [floor.toFixed(2)]), kept];
  });
  return table([['', '', ...names, `of ${PEER}`, ...(isTime ? [] : ['floor of it']), 'promise'], ...rows]);
}

function memory(work: string): string {
  const rows = [Object.keys(UNIONS)[0]!, PEER].map((name) => {
    const { place, directory, mount, unmount } = mountUnion(work, name, []);
    unmount();
    makeFiles(join(place, 'l1'));
    mount();
    const { resident, proportional } = memoryOfServer(directory, place);
    unmount();
    const kept = name === PEER ? '' : `${PROMISED_MB}: ${resident <= PROMISED_MB ? 'kept' : 'MISSED'}`;
    return [name, 'MB', resident.toFixed(1), proportional.toFixed(1), kept];
  });
  return table([[`${KNOWN_FILES} files known`, '', 'resident', 'proportional', 'promise'], ...rows]);
}

function measure(runs: number): void {
  const work = mkdtempSync(join(tmpdir(), 'tsbox-bench-union-'));
  try {
    run({ argv: ['mount', '-t', 'tmpfs', '-o', 'mode=755,size=75%', 'tsbox-bench', work] });
    if (!isUserNamespace) buildFloor(work);
    const archive = join(work, 'usr.tar');
    const parts = ['bin', 'include', 'share/doc', 'share/perl', 'lib/python3'].filter((name) =>
      existsSync(join('/usr', name)),
    );
    // One owner: a user namespace may have no more.
    const owner = ['--owner=0', '--group=0'];
    run({ argv: ['tar', '--create', ...owner, '--file', archive, '--directory', '/usr', ...parts] });
    const [small, daily]: [Figures, Figures] = [new Map(), new Map()];
    for (let number = 0; number < runs; number++) {
      if (!isUserNamespace) for (const name of [...Object.keys(UNIONS), FLOOR]) operations(small, work, name);
      for (const name of Object.keys(UNIONS)) dailyWork(daily, work, name, archive);
    }
    const where = isUserNamespace ? ', in a user namespace, without passthrough' : '';
    console.log(`union: ${runs} runs each, interleaved; Linux ${release()}${where}\n`);
    if (isUserNamespace) console.log(report(daily, 's', true));
    else console.log(`${report(small, 'ops/s', false)}\n\n${report(daily, 's', true)}\n\n${memory(work)}\n`);
    run({ argv: ['umount', '--lazy', work] });
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** Runs this once more. @returns its status */
function measureIn(namespace: 'host' | 'user', unshare: readonly string[]): number {
  const argv = [...unshare, process.execPath, import.meta.filename, ...process.argv.slice(2)];
  return spawnSync('unshare', argv, { stdio: 'inherit', env: { ...process.env, [NAMESPACE]: namespace } }).status ?? 1;
}

if (process.env[NAMESPACE] === undefined) {
  const missing = ['fuse-overlayfs', 'taskset', 'unshare', 'cc'].filter((name) => which(name) === undefined);
  if (missing.length > 0) throw new Error(`not installed: ${missing.join(', ')}`);
  process.exitCode = measureIn('host', ['--mount']) || measureIn('user', ['--user', '--map-root-user', '--mount']);
} else measure(Number(process.argv[2] ?? '3'));
