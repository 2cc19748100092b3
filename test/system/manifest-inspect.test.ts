/** `manifest inspect`, side by side with docker's client. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { type TestContext, test } from 'node:test';
import { requires } from '../requires.ts';
import {
  descriptorOf,
  document,
  manifest,
  OCI_INDEX,
  sendDocument,
  sendError,
  serve,
} from '../unit/registry-fixture.ts';
import { type Sandbox, sandbox } from './harness.ts';
import { makeLayout, skopeo, startRegistry } from './registry-daemon.ts';

/** The registry with an image and a list of two, in OCI's and in Docker's form. */
async function filled(context: TestContext): Promise<{ host: string; directory: string }> {
  const registry = await startRegistry(context);
  const layout = makeLayout(registry.directory, ['<one> & more', 'two']);
  const copy = (from: string, to: string, ...options: string[]) => {
    const target = `docker://${registry.host}/lab/${to}:v1`;
    return skopeo(registry.directory, 'copy', ...options, '--dest-tls-verify=false', `oci:${layout}:${from}`, target);
  };
  await copy('one', 'one');
  await copy('many', 'many', '--all');
  await copy('one', 'docker', '--format', 'v2s2');
  await copy('many', 'list', '--all', '--format', 'v2s2');
  return registry;
}

function docker(box: Sandbox, ...args: string[]): { status: number | null; stdout: string } {
  // Neither a daemon nor stored lists: the client asks the registry itself.
  const env = {
    ...process.env,
    DOCKER_HOST: 'unix:///nonexistent',
    DOCKER_CONFIG: box.directory,
    DOCKER_CLI_EXPERIMENTAL: 'enabled',
  };
  return spawnSync('docker', ['manifest', 'inspect', ...args], { env, encoding: 'utf8' });
}

const inspect = (box: Sandbox, ...args: string[]) => box.start(['manifest', 'inspect', ...args]).done;

test('manifest inspect: what docker prints, to the letter where it prints the document itself', async (context) => {
  if (!requires(context, 'root', 'command:docker', 'command:docker-registry', 'command:skopeo')) return;
  const { host } = await filled(context);
  const box = sandbox(context);
  let compared = 0;
  for (const name of ['one', 'many', 'docker', 'list']) {
    for (const flags of [[], ['-v'], ['--verbose', '--insecure']]) {
      const args = [...flags, `${host}/lab/${name}:v1`];
      const { status, stdout } = await inspect(box, ...args);
      assert.equal(status, 0);
      const theirs = docker(box, '--insecure', ...flags.filter((flag) => flag !== '--insecure'), args.at(-1)!);
      // Clients before 24 know Docker's own types only, and print no bytes.
      if (theirs.status !== 0) {
        assert.ok(['one', 'many'].includes(name));
        continue;
      }
      compared++;
      const ours = theirs.stdout.includes('"Raw"') ? stdout : stdout.replace(/^\t+"Raw": .*\n/gm, '');
      // A list is put together again by docker, from what it knows of one.
      if (flags.length === 0 && ['many', 'list'].includes(name)) {
        assert.deepEqual(JSON.parse(ours), JSON.parse(theirs.stdout), args.join(' '));
        assert.match(ours, /^\{\n {3}"schemaVersion": 2,\n/);
      } else assert.equal(ours, theirs.stdout, args.join(' '));
    }
  }
  assert.ok(compared >= 6);
  const missing = await inspect(box, `${host}/lab/none:v1`);
  assert.deepEqual([missing.status, docker(box, '--insecure', `${host}/lab/none:v1`).status], [1, 1]);
  assert.match(missing.stderr, new RegExp(`^tsbox: no such manifest: ${host}/lab/none:v1$`, 'm'));
  assert.equal((await inspect(box)).status, 1);
});

test('manifest inspect: nothing of a document is lost or changed, and nothing of it reaches the terminal as a command', async (context) => {
  if (!requires(context, 'root')) return;
  const box = sandbox(context);
  const bytes = Buffer.from(
    '{"schemaVersion":2,"config":{"mediaType":"application/vnd.cncf.helm.config.v1+json","digest":"sha256:' +
      `${'0'.repeat(64)}","size":3},"layers":[ ],\n"annotations":{"a":"\\u003c\\"[{,:}]","b":"\u009b31m\u202e"},` +
      '"big":12345678901234567890,"odd":1.50e+3,"empty":{ },"__proto__":{"x":[[],[1,2]]}}',
  );
  const type = 'application/vnd.oci.image.manifest.v1+json';
  const server = await serve(context, (_, response) => response.writeHead(200, { 'content-type': type }).end(bytes));
  const plain = await inspect(box, `${server.host}/x`);
  assert.equal(plain.status, 0, plain.stderr);
  for (const part of ['"big": 12345678901234567890', '"odd": 1.50e+3', '"a": "\\u003c\\"[{,:}]"', '"layers": [],'])
    assert.ok(plain.stdout.includes(part), part);
  assert.ok(plain.stdout.includes('\n\t"__proto__": {\n\t\t"x": [\n\t\t\t[],\n\t\t\t[\n\t\t\t\t1,\n'));
  assert.ok(plain.stdout.includes('"b": "\\u009b31m\\u202e"'));
  assert.deepEqual(JSON.parse(plain.stdout), JSON.parse(bytes.toString()));
  const verbose = JSON.parse((await inspect(box, '-v', `${server.host}/x`)).stdout);
  assert.deepEqual(verbose.Descriptor.platform, { architecture: '', os: '' });
  assert.ok(Buffer.from(verbose.Raw, 'base64').equals(bytes));
});

test('manifest inspect: what cannot be shown is an error, and says what helps', async (context) => {
  if (!requires(context, 'root')) return;
  const box = sandbox(context);
  const image = manifest();
  const inner = document(OCI_INDEX, { schemaVersion: 2, manifests: [descriptorOf(image)] });
  const outer = document(OCI_INDEX, { schemaVersion: 2, manifests: [descriptorOf(inner)] });
  const all = [image, inner, outer];
  const server = await serve(context, (request, response) => {
    const name = request.url?.split('/').at(-1);
    if (name === 'html') return void response.writeHead(200, { 'content-type': 'text/html' }).end('<html>');
    if (name === 'denied') return sendError(response, 403, 'DENIED', 'no');
    const found = name === 'outer' ? outer : all.find(({ digest }) => digest === name);
    if (found === undefined) sendError(response, 404, 'MANIFEST_UNKNOWN');
    else sendDocument(response, found);
  });
  const cases: [string[], RegExp][] = [
    [[`${server.host}/x:html`], /answered HTML/],
    [[`${server.host}/x:denied`], /access denied/],
    [['-v', `${server.host}/x:outer`], /an index within an index/],
    [['UPPER'], /must be lowercase/],
  ];
  for (const [args, message] of cases) {
    const { status, stdout, stderr } = await inspect(box, ...args);
    assert.deepEqual([status, stdout], [1, ''], args.join(' '));
    assert.match(stderr, message);
  }
  const { status, stdout } = await inspect(box, `${server.host}/x:outer`);
  assert.deepEqual([status, JSON.parse(stdout)], [0, JSON.parse(outer.bytes.toString())]);
  assert.equal((await inspect(box, '-v', `${server.host}/x@${inner.digest}`)).status, 0);
});

test('manifest inspect: plain http elsewhere only with --insecure', async (context) => {
  if (!requires(context, 'root')) return;
  const box = sandbox(context);
  const image = manifest();
  // A proxy that is every server: nothing leaves the machine, and the name is not this machine's.
  const proxy = await serve(context, (_, response) => sendDocument(response, image));
  proxy.server.on('connect', (_, socket) => socket.end('HTTP/1.1 502 Bad Gateway\r\n\r\n'));
  const env = { HTTP_PROXY: `http://${proxy.host}`, HTTPS_PROXY: `http://${proxy.host}`, NO_PROXY: '' };
  const inspectWith = (...args: string[]) => box.start(['manifest', 'inspect', ...args], { env }).done;
  const refused = await inspectWith('registry.test:5000/x');
  assert.equal(refused.status, 1);
  assert.match(refused.stderr, /https:\/\/registry\.test:5000/);
  assert.equal(proxy.seen.filter(({ url }) => url.startsWith('http://')).length, 0);
  const taken = await inspectWith('--insecure', 'registry.test:5000/x');
  assert.deepEqual([taken.status, JSON.parse(taken.stdout)], [0, JSON.parse(image.bytes.toString())], taken.stderr);
});
