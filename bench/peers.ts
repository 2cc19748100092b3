/** Who takes part in the measurement of a start: engines with the busybox image, a bare runtime, and nothing at all. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { firstLine, nothing, REPOSITORY, type Start, startDocker, startPodman, startTsbox, which } from './engines.ts';
import { type Command, run } from './measure.ts';

export interface Peer {
  readonly name: string;
  readonly version: string;
  /** Start to exit of `true`. */
  readonly command: Command;
  /** Processes that work for it besides what the command starts. */
  readonly daemons: readonly number[];
  close(): Promise<void>;
}

/** Prepares a peer in a directory of its own. @returns a sentence instead when it cannot take part */
export type Prepare = (work: string) => Promise<Peer | string>;

const ROOTFS = join(REPOSITORY, 'rootfs-fixtures/build/busybox.tar');
const IMAGE = 'busybox:offline';
const RUN = ['run', '--rm', '--network', 'none'] as const;

/** @param flags of `run`, besides those that all get, and what they make of it */
function withImage(start: Start, flags: readonly string[] = [], what = ''): Prepare {
  return async (work) => {
    const engine = await start(work);
    if (typeof engine === 'string') return engine;
    const { name, version, program, env, daemons, close } = engine;
    try {
      run({ argv: [...program, 'import', ROOTFS, IMAGE], env });
    } catch (error) {
      await close();
      throw error;
    }
    const command: Command = { argv: [...program, ...RUN, ...flags, IMAGE, 'true'], env };
    return { name: `${name}${what}`, version, command, daemons, close };
  };
}

export const tsbox: Prepare = withImage(startTsbox);
/** Without what keeps a container in, and nothing more: `--privileged` has the host's devices to make besides. */
export const unguarded: Prepare = withImage(
  startTsbox,
  [
    ...['--security-opt', 'seccomp=unconfined', '--security-opt', 'systempaths=unconfined'],
    ...['--cap-add', 'ALL', '--device-cgroup-rule', 'a *:* rwm'],
  ],
  ', unguarded',
);
export const docker: Prepare = withImage(startDocker);
export const podman: Prepare = withImage(startPodman);

/** A bare runtime: no image, no layers, no network of its own to set up, only a bundle that somebody else has made. */
export const runc: Prepare = async (work) => {
  const program = which('runc');
  if (program === undefined) return 'runc is not installed';
  const bundle = join(work, 'bundle');
  mkdirSync(join(bundle, 'rootfs'), { recursive: true });
  run({ argv: ['tar', '--extract', '--file', ROOTFS, '--directory', join(bundle, 'rootfs')] });
  run({ argv: [program, 'spec', '--bundle', bundle] });
  const path = join(bundle, 'config.json');
  const config = JSON.parse(readFileSync(path, 'utf8')) as { process: { args: string[]; terminal: boolean } };
  config.process.args = ['true'];
  config.process.terminal = false;
  writeFileSync(path, JSON.stringify(config));
  const version = firstLine(run({ argv: [program, '--version'] }).stdout).replace('runc version ', '');
  const argv = [program, '--root', join(work, 'state'), 'run', '--bundle', bundle, 'bench'] as const;
  return { name: 'runc', version, command: { argv }, daemons: [], close: nothing };
};

/** What measuring itself costs. */
export const bare: Prepare = async () => {
  const program = which('true')!;
  return { name: 'no container', version: '', command: { argv: [program] }, daemons: [], close: nothing };
};
