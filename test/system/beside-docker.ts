/**
 * The same commands to a real docker and to tsbox, and what each says, with ids by names that both have. Docker is asked through its
 * command line, tsbox in this process unless the verb starts one in a container. Which ids there are is asked for without either
 * command line: docker's API, tsbox's store.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import type { TestContext } from 'node:test';
import { listImages } from '../../src/engine/images.ts';
import { openEngine } from '../../src/engine/open.ts';
import { listContainers } from '../../src/store/containers.ts';
import { readImageConfig } from '../../src/store/images.ts';
import { inProcess } from '../in-process.ts';
import { type Sandbox, sandbox } from './harness.ts';
import { type Docker, removeContainers, startDocker } from './images-setup.ts';

export interface Said {
  status: number | null;
  stdout: string;
  stderr: string;
}

type Speaker = (args: readonly string[]) => Promise<Said>;

interface Image {
  id: string;
  tags: readonly string[];
  /** `name@sha256:..` */
  digests: readonly string[];
  diffIds: readonly string[];
}

interface Inventory {
  containers: [id: string, name: string][];
  /** The youngest first. */
  images: Image[];
}

/** One of the two, and the names of the ids that it has given. */
interface Side {
  say: Speaker;
  inventory(): Promise<Inventory>;
  /** Removes containers and images. */
  clear(): Promise<void>;
  /** Full id without `sha256:` -> name. */
  names: Map<string, string>;
}

export interface Pair {
  box: Sandbox;
  /** DOCKER_HOST, for who starts docker himself. */
  dockerHost: string;
  /** Runs a command on both, which must work on both. `{one}` stands for an id, `{one:12}` for its beginning. */
  both(...args: string[]): Promise<void>;
  /** Runs a command on both. @returns what each says, ids by their names: docker first */
  compare(...args: string[]): Promise<[Said, Said]>;
  /** Runs a command on both and holds tsbox's answer against docker's. @returns it */
  same(...args: string[]): Promise<Said>;
  /** Removes everything on both. */
  clean(): Promise<void>;
}

/** A dockerd and a tsbox of one's own until the test ends. */
export async function besideDocker(context: TestContext): Promise<Pair> {
  const box = sandbox(context);
  const docker = await startDocker(context);
  const sides: [Side, Side] = [dockerSide(docker), tsboxSide(box)];
  const ask = async (side: Side, args: readonly string[]): Promise<Said> => {
    const said = await side.say(args.map((word) => filledIn(word, side.names)));
    if (MAKERS.includes(args[0]!) && (said.status === 0 || args[0] === 'run'))
      learn(await side.inventory(), side.names);
    return { status: said.status, stdout: named(said.stdout, side), stderr: message(named(said.stderr, side)) };
  };
  const compare = (...args: string[]): Promise<[Said, Said]> => Promise.all([ask(sides[0], args), ask(sides[1], args)]);
  return {
    box,
    dockerHost: docker.host,
    async both(...args) {
      for (const [index, said] of (await compare(...args)).entries()) {
        assert.equal(said.status, 0, `${['docker', 'tsbox'][index]} ${args.join(' ')}: ${said.stderr}`);
      }
    },
    compare,
    async same(...args) {
      const [docker, tsbox] = await compare(...args);
      assert.deepEqual(tsbox, docker, args.join(' '));
      return tsbox;
    },
    async clean() {
      for (const side of sides) {
        await side.clear();
        side.names.clear();
      }
    },
  };
}

async function dockerSays(docker: (...args: string[]) => Promise<string>, args: readonly string[]): Promise<Said> {
  try {
    const text = await docker(...args);
    return { status: 0, stdout: text === '' ? '' : `${text}\n`, stderr: '' };
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: Buffer; stderr: Buffer };
    return { status: code, stdout: String(stdout), stderr: String(stderr) };
  }
}

function dockerSide(docker: Docker): Side {
  type Listed = { Id: string; RepoTags: string[] | null; RepoDigests: string[] | null };
  const listed = async () => (await docker.api('GET', '/images/json?all=1')) as Listed[];
  const known = (names: string[] | null) => (names ?? []).filter((name) => !name.startsWith('<none>'));
  return {
    names: new Map(),
    say: (args) => dockerSays(docker, args),
    async inventory() {
      const containers = (await docker.api('GET', '/containers/json?all=1')) as { Id: string; Names: string[] }[];
      const images = (await listed()).map(async ({ Id: id, RepoTags, RepoDigests }) => {
        const { RootFS } = (await docker.api('GET', `/images/${id}/json`)) as { RootFS: { Layers?: string[] } };
        return { id, tags: known(RepoTags), digests: known(RepoDigests), diffIds: RootFS.Layers ?? [] };
      });
      return {
        containers: containers.map(({ Id, Names }) => [Id, Names[0]!.slice(1)]),
        images: await Promise.all(images),
      };
    },
    async clear() {
      await removeContainers(docker);
      await empty(
        async () => (await listed()).map(({ Id }) => Id),
        async (ids) => {
          for (const id of ids) await docker.api('DELETE', `/images/${id}?force=1`).catch(() => {});
        },
      );
    },
  };
}

function tsboxSide(box: Sandbox): Side {
  const engine = openEngine(box);
  const say: Speaker = (args) =>
    STARTERS.includes(args[0]!) ? box.start(args, { input: '' }).done : inProcess(box, args);
  return {
    names: new Map(),
    say,
    async inventory() {
      return {
        containers: listContainers(engine.store).map(({ ID, Name }) => [ID, Name.slice(1)]),
        images: listImages(engine, { all: true }).map((image) => ({
          ...image,
          diffIds: readImageConfig(engine.store, image.id).rootfs.diff_ids,
        })),
      };
    },
    async clear() {
      const containers = listContainers(engine.store).map(({ ID }) => ID);
      if (containers.length > 0) await say(['rm', '-f', ...containers]);
      await empty(
        async () => listImages(engine, { all: true }).map(({ id }) => id),
        (ids) => say(['rmi', '-f', ...ids]),
      );
    },
  };
}

/** Removes until nothing is left: an image that has children is refused until they are gone. @throws Error when that does not end */
async function empty(list: () => Promise<string[]>, remove: (ids: string[]) => Promise<unknown>): Promise<void> {
  for (let ids = await list(), tries = 0; ids.length > 0; ids = await list(), tries++) {
    if (tries > 20) throw new Error(`not to be removed: ${ids.join(' ')}`);
    await remove(ids);
  }
}

/** The verbs that give new ids. */
const MAKERS = ['commit', 'create', 'import', 'load', 'pull', 'run'];
/** The verbs whose processes are of use beyond their words, that write more than words, or that read files of the user's home. */
const STARTERS = ['run', 'start', 'restart', 'exec', 'logs', 'pull'];

/** Gives names to the ids that are new: containers have one; an image has that of its first tag, a layer that of its first image. */
function learn({ containers, images }: Inventory, names: Map<string, string>): void {
  for (const [id, name] of containers) names.set(id, name);
  for (const { id, tags, digests, diffIds } of images) {
    if (names.has(bare(id))) continue;
    const named = [...[...tags].sort(), ...digests.map((digest) => digest.replace(/@.*/, ':<none>')).sort()];
    const name = named[0] ?? `image ${names.size}`;
    names.set(bare(id), name);
    let chainId = '';
    for (const [index, diffId] of diffIds.entries()) {
      chainId = chainId === '' ? diffId : `sha256:${createHash('sha256').update(`${chainId} ${diffId}`).digest('hex')}`;
      if (!names.has(bare(chainId))) names.set(bare(chainId), `layer ${index} of ${name}`);
    }
  }
}

const bare = (id: string) => id.replace(/^sha256:/, '');

function filledIn(word: string, names: ReadonlyMap<string, string>): string {
  return word.replace(/\{([^{}]+?)(?:#(\d+))?\}/g, (whole, name: string, digits?: string) => {
    const id = [...names].findLast(([, each]) => each === name)?.[0];
    return id === undefined ? whole : id.slice(0, digits === undefined ? undefined : Number(digits));
  });
}

function named(text: string, { names }: Side): string {
  let result = text;
  for (const [id, name] of names) result = result.replaceAll(id, `(${name})`).replaceAll(id.slice(0, 12), `(${name}…)`);
  return result;
}

/** The error alone: without who says it, without advice, and without the name that newer Dockers quote in it. */
function message(text: string): string {
  return text
    .replace(/^((tsbox|docker|Error response from daemon|Error): )+/gm, '')
    .replace(/^(hint: .*|See '.*|Run '.*|Usage: .*)\n/gm, '')
    .replace(/repository name \(\S+\) must/, 'repository name must')
    .trim();
}
