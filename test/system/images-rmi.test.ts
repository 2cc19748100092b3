/** `rmi` beside docker's: the same images, names and containers on both, the same lines, errors and exit codes. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import test from 'node:test';
import { requires } from '../requires.ts';
import { besideDocker, type Pair } from './beside-docker.ts';
import { REPOSITORY } from './harness.ts';
import { makeLayout, skopeo, startRegistry } from './registry-daemon.ts';

const BUSYBOX = join(REPOSITORY, 'rootfs-fixtures/build/busybox.tar');

/** What must work on both, commands whose answers are held against each other. `{one:1}` is an id, `{one:1#12}` its beginning. */
interface Scenario {
  given: readonly string[];
  asked: readonly string[];
}

const ONE = `import --change LABEL~n=1 ${BUSYBOX} one:1`;
/** Made from `one:1`: without a layer of its own, and with one. */
const CHILD = ['create --name maker --network none one:1 true', 'commit --change LABEL~n=2 maker child:1', 'rm maker'];
const CHANGED = ['run --name maker --network none one:1 touch /new', 'commit maker changed:1', 'rm maker'];
const STOPPED = 'create --name stopped --network none one:1 true';
const RUNNING = 'run -d --name running --network none one:1 sleep 1000';

const SCENARIOS: Readonly<Record<string, Scenario>> = {
  'the last name takes the image and its layer along': { given: [ONE], asked: ['rmi one:1', 'rmi one:1'] },
  'names that nobody has, and words that are no names': {
    given: [ONE],
    asked: [
      'rmi none',
      'rmi none:1 other',
      'rmi None',
      'rmi one',
      'rmi one:2',
      'rmi abcdef',
      `rmi sha256:${'a'.repeat(64)}`,
    ],
  },
  'one of two tags of a repository, then the other': {
    given: [ONE, 'tag one:1 one:2'],
    asked: ['rmi one:1', 'rmi one:2'],
  },
  'tags of two repositories, both at once': { given: [ONE, 'tag one:1 two:1'], asked: ['rmi two:1 one:1'] },
  'one name twice': { given: [ONE], asked: ['rmi one:1 one:1'] },
  'a name that is there between names that are not': { given: [ONE], asked: ['rmi none one:1 neither'] },
  'the name in full': { given: [ONE], asked: ['rmi docker.io/library/one:1'] },
  'by short id': { given: [ONE], asked: ['rmi {one:1#12}'] },
  'by full id': { given: [ONE], asked: ['rmi sha256:{one:1}'] },
  'by the digits of the full id': { given: [ONE], asked: ['rmi {one:1}'] },
  'by id with two tags of a repository': {
    given: [ONE, 'tag one:1 one:2'],
    asked: ['rmi {one:1#12}', 'rmi -f {one:1#12}'],
  },
  'by id with tags of several repositories': {
    given: [ONE, 'tag one:1 zwei/two:1', 'tag one:1 localhost:5000/a/one:1', 'tag one:1 and:1'],
    asked: ['rmi {one:1}', 'rmi -f {one:1}'],
  },
  'a tag, then by id': { given: [ONE, 'tag one:1 two:1'], asked: ['rmi two:1', 'rmi {one:1#6}'] },
  'by name with a stopped container': { given: [ONE, STOPPED], asked: ['rmi one:1', 'rmi -f one:1', 'rm stopped'] },
  'by id with a stopped container': {
    given: [ONE, STOPPED],
    asked: ['rmi {one:1#12}', 'rmi -f {one:1#12}', 'rm stopped'],
  },
  'one of two tags with a stopped container, then the other': {
    given: [ONE, 'tag one:1 two:1', STOPPED],
    asked: ['rmi two:1', 'rmi one:1', 'rmi {one:1#12}', 'rmi -f one:1'],
  },
  'by id with two tags and a stopped container': {
    given: [ONE, 'tag one:1 two:1', STOPPED],
    asked: ['rmi {one:1#12}', 'rmi -f {one:1#12}'],
  },
  'by name with a running container': {
    given: [ONE, RUNNING],
    asked: ['rmi one:1', 'rmi -f one:1', 'rmi -f {one:1#12}'],
  },
  'by id with a running container': { given: [ONE, RUNNING], asked: ['rmi {one:1#12}', 'rmi -f {one:1#12}'] },
  'two tags and a running container': {
    given: [ONE, 'tag one:1 two:1', RUNNING],
    asked: ['rmi two:1', 'rmi one:1', 'rmi -f {one:1}', 'rmi -f one:1'],
  },
  'a stopped and a running container': { given: [ONE, STOPPED, RUNNING], asked: ['rmi {one:1}', 'rmi -f {one:1}'] },
  'an image that another was made from, by name': {
    given: [ONE, ...CHILD],
    asked: ['rmi one:1', 'rmi {one:1#12}', 'rmi child:1'],
  },
  'an image that another was made from, by id': {
    given: [ONE, ...CHILD],
    asked: ['rmi {one:1#12}', 'rmi -f {one:1#12}', 'rmi -f one:1', 'rmi child:1'],
  },
  'a child leaves a parent that has a name': { given: [ONE, ...CHANGED], asked: ['rmi changed:1', 'rmi one:1'] },
  'a child takes a parent without a name along': { given: [ONE, ...CHANGED, 'rmi one:1'], asked: ['rmi changed:1'] },
  'a child leaves its parent when told to': {
    given: [ONE, ...CHANGED, 'rmi one:1'],
    asked: ['rmi --no-prune changed:1', 'rmi {one:1#12}'],
  },
  'a child leaves a parent that a container uses': {
    given: [ONE, ...CHANGED, STOPPED, 'rmi -f one:1'],
    asked: ['rmi changed:1', 'rmi {one:1#12}', 'rmi -f {one:1#12}'],
  },
  'a grandchild takes two along': {
    given: [
      ONE,
      ...CHANGED,
      'run --name maker --network none changed:1 touch /newer',
      'commit maker newest:1',
      'rm maker',
      'rmi one:1',
      'rmi changed:1',
    ],
    asked: ['rmi -f {changed:1}', 'rmi newest:1'],
  },
  'the first of two children leaves the parent, the second takes it along': {
    given: [ONE, ...CHILD, ...CHANGED, 'rmi one:1'],
    asked: ['rmi child:1', 'rmi changed:1'],
  },
  'a child by id, by force': {
    given: [ONE, ...CHANGED, 'tag changed:1 also:1', 'rmi one:1'],
    asked: ['rmi -f {changed:1}'],
  },
  'an image that lost its name to another': {
    given: [ONE, `import --change LABEL~n=3 ${BUSYBOX} two:1`, 'tag two:1 one:1'],
    asked: ['rmi {one:1#12}', 'rmi one:1', 'rmi two:1'],
  },
  'an image that lost its name, with a container': {
    given: [ONE, STOPPED, `import --change LABEL~n=3 ${BUSYBOX} two:1`, 'tag two:1 one:1'],
    asked: ['rmi {one:1#12}', 'rmi -f {one:1#12}'],
  },
  'one id that fails beside one that goes': {
    given: [ONE, `import --change LABEL~n=3 ${BUSYBOX} two:1`, STOPPED],
    asked: ['rmi {one:1#12} {two:1#12}'],
  },
};

/** What is left, by names. */
const STATE = [
  ['images', '-a', '--digests', '--no-trunc', '--format', '{{.ID}} {{.Repository}} {{.Tag}} {{.Digest}}'],
  ['ps', '-a', '--no-trunc', '--format', '{{.ID}} {{.Image}}'],
];

/** `~` is a blank within a word. */
const words = (line: string) => line.split(' ').map((word) => word.replaceAll('~', ' '));

async function play({ both, same, compare }: Pair, { given, asked }: Scenario): Promise<void> {
  for (const line of given) await both(...words(line));
  for (const line of asked) await same(...words(line));
  for (const state of STATE) {
    const [docker, tsbox] = await compare(...state);
    // Rows of one second have no order in docker, nor have the repositories of one image.
    assert.deepEqual(tsbox.stdout.split('\n').sort(), docker.stdout.split('\n').sort(), `what is left: ${state[0]}`);
  }
}

test("rmi: lines, errors and what is left are docker's", async (context) => {
  if (!requires(context, 'root', 'overlay', 'command:dockerd', `file:${BUSYBOX}`)) return;
  const pair = await besideDocker(context);
  for (const [name, scenario] of Object.entries(SCENARIOS)) {
    await context.test(name, () => play(pair, scenario));
    await pair.clean();
  }
});

test("rmi: tags and digests of pulled images go as docker's", async (context) => {
  const needed = ['command:dockerd', 'command:docker-registry', 'command:skopeo'] as const;
  if (!requires(context, 'root', 'overlay', ...needed)) return;
  const { directory, host } = await startRegistry(context);
  const layout = makeLayout(directory, ['one', 'two']);
  for (const name of ['one:1', 'one:2', 'two:1']) {
    await skopeo(directory, 'copy', '--dest-tls-verify=false', `oci:${layout}:one`, `docker://${host}/${name}`);
  }
  const inspected = await skopeo(directory, 'inspect', '--tls-verify=false', `docker://${host}/one:1`);
  const { Digest: digest } = JSON.parse(inspected.toString());
  const [one, byDigest] = [`${host}/one`, `${host}/one@${digest}`];
  const pair = await besideDocker(context);
  const scenarios: Record<string, Scenario> = {
    'a tag takes the digest along': { given: [`pull ${one}:1`], asked: [`rmi ${one}:1`] },
    'two tags, then the digest': { given: [`pull ${one}:1`, `pull ${one}:2`], asked: [`rmi ${one}:1`, `rmi ${one}:2`] },
    'by digest beside a tag': { given: [`pull ${one}:1`], asked: [`rmi ${byDigest}`, `rmi ${one}:1`] },
    'by digest alone': { given: [`pull ${byDigest}`], asked: [`rmi ${one}:1`, `rmi ${byDigest}`] },
    'by tag and digest at once': { given: [`pull ${one}:1`], asked: [`rmi ${one}:1@${digest}`, `rmi ${one}:1`] },
    'by id with tag and digest': { given: [`pull ${one}:1`], asked: [`rmi {${one}:1#12}`] },
    'by id with two tags and the digest': {
      given: [`pull ${one}:1`, `tag ${one}:1 ${one}:x`],
      asked: [`rmi {${one}:1#12}`, `rmi -f {${one}:1#12}`],
    },
    'by id with a name in another repository': {
      given: [`pull ${one}:1`, `tag ${one}:1 other:1`],
      asked: [`rmi {${one}:1#12}`, 'rmi other:1', `rmi {${one}:1#12}`],
    },
    'digests of two repositories': {
      given: [`pull ${one}:1`, `pull ${host}/two:1`],
      asked: [`rmi {${one}:1#12}`, `rmi ${one}:1`, `rmi {${one}:1#12}`],
    },
    'a digest with a container': {
      given: [`pull ${byDigest}`, `create --name user --network none ${byDigest} true`],
      asked: [`rmi ${byDigest}`, `rmi -f ${byDigest}`],
    },
    'the digest of another image': { given: [`pull ${one}:1`], asked: [`rmi ${one}@sha256:${'a'.repeat(64)}`] },
    'by the digest alone, without a name': { given: [`pull ${one}:1`], asked: [`rmi ${digest}`] },
  };
  for (const [name, scenario] of Object.entries(scenarios)) {
    await context.test(name, () => play(pair, scenario));
    await pair.clean();
  }
});
