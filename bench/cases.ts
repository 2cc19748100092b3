/** What is measured of images, step by step, for everyone who takes part. A trial is one time through a case, in a fresh directory. */
import { join } from 'node:path';
import {
  type Engine,
  firstLine,
  REPOSITORY,
  type Start,
  startDocker,
  startPodman,
  startTsbox,
  which,
} from './engines.ts';
import { run } from './measure.ts';
import type { Sample } from './sample.ts';
import type { Work } from './usage.ts';

/** Runs a step and takes its measure. It ends without one when the step fails, which is noted. */
export type Step = (verb: string, work: Work) => Promise<void>;

export interface Contender {
  readonly name: string;
  readonly version: string;
  /** Whether its system calls can be counted: nothing works for it but what it starts, and it does not take minutes. */
  readonly counted: boolean;
  trial(directory: string, step: Step): Promise<void>;
}

const STARTS: Record<string, Start> = { tsbox: startTsbox, docker: startDocker, podman: startPodman };

/** Starts each engine once. @returns their versions by name, and sentences about those that cannot take part */
export async function probe(work: string): Promise<{ versions: Map<string, string>; missing: string[] }> {
  const versions = new Map<string, string>();
  const missing: string[] = [];
  for (const [name, start] of Object.entries(STARTS)) {
    const engine = await start(join(work, name)).catch((error: Error) => error.message);
    if (typeof engine === 'string') {
      missing.push(`left out: ${name}: ${engine}`);
    } else {
      versions.set(name, engine.version);
      await engine.abandon();
    }
  }
  return { versions, missing };
}

type Course = (engine: Engine, step: Step, directory: string) => Promise<void>;

const work = (engine: Engine, ...words: string[]): Work => ({
  argv: [...engine.program, ...words],
  env: engine.env,
  daemons: engine.daemons,
});

/** The engines, each with a fresh store that it has opened once. */
function engines(versions: Map<string, string>, course: Course): Contender[] {
  return [...versions].map(([name, version]) => ({
    name,
    version,
    counted: name === 'tsbox',
    trial: async (directory, step) => {
      const engine = await STARTS[name]!(join(directory, 'engine'));
      if (typeof engine === 'string') throw new Error(engine);
      try {
        run(work(engine, 'images'));
        await course(engine, step, directory);
      } finally {
        await engine.abandon();
      }
    },
  }));
}

/** GNU tar, one layer after the other: neither a registry nor a digest nor a whiteout. */
function tar(sample: Sample): Contender {
  const script = 'd=$1; shift; for f; do d=$d-; mkdir "$d" && tar -xzf "$f" -C "$d" || exit; done';
  const version = firstLine(run({ argv: ['tar', '--version'] }).stdout).replace('tar (GNU tar) ', '');
  return {
    name: 'tar -xzf',
    version,
    counted: true,
    trial: (directory, step) => {
      const files = sample.layers.map(({ file }) => file);
      return step('pull', { argv: ['sh', '-c', script, 'sh', join(directory, 'layer'), ...files], daemons: [] });
    },
  };
}

/** From the registry to an OCI layout, from there to one directory. */
function skopeoAndUmoci(sample: Sample): Contender[] {
  if (which('skopeo') === undefined || which('umoci') === undefined) return [];
  const script =
    'skopeo --insecure-policy copy --quiet --src-tls-verify=false "docker://$1" "oci:$2:latest" && umoci unpack --image "$2:latest" "$3"';
  const version = firstLine(run({ argv: ['skopeo', '--version'] }).stdout).replace('skopeo version ', '');
  const trial: Contender['trial'] = (directory, step) => {
    const places = [join(directory, 'layout'), join(directory, 'bundle')];
    const env = { ...process.env, TMPDIR: directory };
    return step('pull', { argv: ['sh', '-c', script, 'sh', sample.reference, ...places], env, daemons: [] });
  };
  return [{ name: 'skopeo, umoci', version, counted: false, trial }];
}

export function pullers(versions: Map<string, string>, sample: Sample): Contender[] {
  const course: Course = (engine, step) => step('pull', work(engine, 'pull', '-q', ...engine.http, sample.reference));
  // They need a multiple of everybody's time.
  const slow = sample.name === 'debian' ? skopeoAndUmoci(sample) : [];
  return [...engines(versions, course), ...slow, tar(sample)];
}

/** Load and save of the same image, one after the other in the same store. */
export function archivers(versions: Map<string, string>, sample: Sample): Contender[] {
  return engines(versions, async (engine, step, directory) => {
    await step('load', work(engine, 'load', '-i', sample.archive!));
    await step('save', work(engine, 'save', '-o', join(directory, 'saved.tar'), sample.loaded));
  });
}

/** Of an image that was loaded, so that nobody has anything compressed. @param host with a registry; each push is to a new repository */
export function pushers(versions: Map<string, string>, sample: Sample, host: string): Contender[] {
  let number = 0;
  return engines(versions, async (engine, step) => {
    const target = `${host}/pushed-${number++}:latest`;
    run(work(engine, 'load', '-i', sample.archive!));
    run(work(engine, 'tag', sample.loaded, target));
    await step('push', work(engine, 'push', ...engine.http, target));
  });
}

/** @param files a tar of what the container makes */
export function committers(versions: Map<string, string>, files: string): Contender[] {
  const rootfs = join(REPOSITORY, 'rootfs-fixtures/build/busybox.tar');
  return engines(versions, async (engine, step) => {
    run(work(engine, 'import', rootfs, 'busybox:offline'));
    const makeFiles = ['run', '--interactive', '--name', 'bench', '--network', 'none', 'busybox:offline'];
    const { argv, env } = work(engine, ...makeFiles, 'tar', '-x', '-f', '-', '-C', '/home');
    run({ argv: ['sh', '-c', 'exec "$@" < "$0"', files, ...argv], env: env! });
    await step('commit', work(engine, 'commit', 'bench', 'committed:latest'));
  });
}
