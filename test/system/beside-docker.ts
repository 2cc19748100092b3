/** The same commands to a real docker and to tsbox, and what each says, with ids by names that both have. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import type { TestContext } from 'node:test';
import { type Sandbox, sandbox } from './harness.ts';
import { startDocker } from './images-setup.ts';

export interface Said {
  status: number | null;
  stdout: string;
  stderr: string;
}

type Speaker = (args: readonly string[]) => Promise<Said>;

/** One of the two, and the names of the ids that it has given. */
interface Side {
  say: Speaker;
  /** Full id without `sha256:` -> name. */
  names: Map<string, string>;
}

export interface Pair {
  box: Sandbox;
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
  const sides: [Side, Side] = [
    { say: async (args) => dockerSays(docker, args), names: new Map() },
    { say: async (args) => box.tsbox(args), names: new Map() },
  ];
  const ask = async (side: Side, args: readonly string[]): Promise<Said> => {
    const said = await side.say(args.map((word) => filledIn(word, side.names)));
    if (MAKERS.includes(args[0]!)) await learn(side);
    return { status: said.status, stdout: named(said.stdout, side), stderr: message(named(said.stderr, side)) };
  };
  const compare = async (...args: string[]): Promise<[Said, Said]> => [
    await ask(sides[0], args),
    await ask(sides[1], args),
  ];
  return {
    box,
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
      for (const side of sides) await clean(side);
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

/** The verbs that give new ids. */
const MAKERS = ['commit', 'create', 'import', 'load', 'pull', 'run'];

/** Gives names to the ids that are new: containers have one; an image has that of its first tag, a layer that of its first image. */
async function learn({ say, names }: Side): Promise<void> {
  const containers = await say(['ps', '-a', '--no-trunc', '--format', '{{.ID}} {{.Names}}']);
  for (const [id = '', name = ''] of words(containers.stdout)) names.set(id, name);
  const images = await say(['images', '-a', '--no-trunc', '--format', '{{.ID}} {{.Repository}}:{{.Tag}}']);
  for (const [id = '', tag = ''] of words(images.stdout)) {
    if (names.has(bare(id))) continue;
    const name = tag.startsWith('<none>') ? `image ${names.size}` : tag;
    names.set(bare(id), name);
    const layers = await say(['inspect', '--type', 'image', '--format', '{{json .RootFS.Layers}}', id]);
    let chainId = '';
    for (const [index, diffId] of ((JSON.parse(layers.stdout) ?? []) as string[]).entries()) {
      chainId = chainId === '' ? diffId : `sha256:${createHash('sha256').update(`${chainId} ${diffId}`).digest('hex')}`;
      if (!names.has(bare(chainId))) names.set(bare(chainId), `layer ${index} of ${name}`);
    }
  }
}

const words = (text: string) =>
  text
    .split('\n')
    .filter(Boolean)
    .map((line) => line.split(' '));
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
    .replace(/^(tsbox|docker|Error response from daemon|Error): /gm, '')
    .replace(/^(hint: .*|See '.*|Run '.*|Usage: .*)\n/gm, '')
    .replace(/repository name \(\S+\) must/, 'repository name must')
    .trim();
}

async function clean({ say, names }: Side): Promise<void> {
  const containers = words((await say(['ps', '-aq'])).stdout).flat();
  if (containers.length > 0) await say(['rm', '-f', ...containers]);
  // Children before their parents.
  for (let left = ['']; left.length > 0; ) {
    left = words((await say(['images', '-aq'])).stdout).flat();
    if (left.length > 0) await say(['rmi', '-f', ...new Set(left)]);
  }
  names.clear();
}
