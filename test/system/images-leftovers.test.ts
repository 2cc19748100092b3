/** What stays when nothing goes wrong: of images that come and go, and in the process that fetches many layers. */
import { readdirSync } from 'node:fs';
import { test } from 'node:test';
import { removeImage } from '../../src/engine/images.ts';
import { pullImage } from '../../src/engine/pull.ts';
import { requires } from '../requires.ts';
import { tarOf } from '../unit/engine-archives.ts';
import { serve } from '../unit/registry-fixture.ts';
import { TSBOX, until } from './harness.ts';
import { image, registry } from './image-server.ts';
import { contents, engineIn, run } from './images-setup.ts';
import { assertComplete, assertSame, assertTidy } from './store-whole.ts';

test('leftovers: an image that is pulled and removed again and again leaves the same files', async (context) => {
  if (!requires(context, 'root')) return;
  const layers = ['one', 'two', 'three'].map((name) => tarOf({ [`${name}/file`]: name.repeat(1000) }));
  const { host, server } = await serve(context, registry(image(layers)));
  server.keepAliveTimeout = 0; // it closes nothing that the client has forgotten
  const engine = engineIn(context);
  const descriptors = () => readdirSync('/proc/self/fd').length;
  let [after, open]: [string[] | undefined, number] = [undefined, 0];
  for (let round = 0; round < 20; round++) {
    await pullImage(engine, `${host}/x:1`, {}, () => {});
    removeImage(engine, `${host}/x:1`, { force: false, noPrune: false });
    assertTidy(engine.store);
    const now = contents(engine);
    // The first round makes what is kept: which blob is which layer.
    after ??= now;
    assertSame(now, after, `round ${round}`);
    if (round === 3) open = descriptors();
  }
  // The server, which is in this process too, hears a moment later that the client has closed its connections.
  await until(`${open + 2} descriptors`, () => descriptors() <= open + 2);
});

test('leftovers: a pull of 120 layers needs few descriptors', async (context) => {
  if (!requires(context, 'root', 'command:unshare')) return;
  const layers = Array.from({ length: 120 }, (_, at) => tarOf({ [`dir${at % 5}/file${at}`]: `${at}` }));
  const { host } = await serve(context, registry(image(layers)));
  const engine = engineIn(context);
  const roots = ['--data-root', engine.options.dataRoot, '--run-root', engine.options.runRoot];
  for (let round = 0; round < 2; round++) {
    await run('prlimit', ['--nofile=256:256', TSBOX, ...roots, 'pull', '-q', `${host}/x:1`]);
  }
  await run('prlimit', ['--nofile=256:256', TSBOX, ...roots, 'save', '-o', '/dev/null', `${host}/x:1`]);
  await assertComplete(engine.store);
});
