import assert from 'node:assert/strict';
import test from 'node:test';
import { layerLine, liveProgress, plainProgress } from '../../src/cli/progress.ts';
import type { Progress } from '../../src/engine/api.ts';

const layer = (name: string, status: string, current?: number, total?: number): Progress =>
  ({ kind: 'layer', layer: name, status, current, total }) as Progress;

/** What a terminal shows after these bytes: cursor up, erase to the end of the line and of the screen, line ends. */
function screen(bytes: string): string[] {
  const lines: string[] = [''];
  let row = 0;
  for (const [token] of bytes.matchAll(/\x1b\[\d*[AKJ]|\r|\n|[^\x1b\r\n]+/g)) {
    if (token === '\n') {
      row++;
      lines[row] ??= '';
    } else if (token === '\r' || token === '\x1b[K') continue;
    else if (token === '\x1b[J') lines.length = row + 1;
    else if (token.endsWith('A')) row -= Number(token.slice(2, -1));
    else lines[row] = token;
  }
  if (lines.at(-1) === '') lines.pop();
  return lines;
}

test('progress: without a terminal a line for each change, none for what moves', () => {
  const out: string[] = [];
  const view = plainProgress((text) => void out.push(text));
  view.update({ kind: 'text', text: 'latest: Pulling from library/x' });
  view.update(layer('a1', 'Pulling fs layer'));
  view.update(layer('b2', 'Already exists'));
  view.update(layer('a1', 'Downloading', 1, 10));
  view.update(layer('a1', 'Downloading', 5, 10));
  view.update(layer('a1', 'Download complete'));
  view.update(layer('a1', 'Download complete'));
  view.update(layer('a1', 'Extracting', 5, 10));
  view.update(layer('a1', 'Pull complete'));
  view.finish();
  assert.equal(
    out.join(''),
    'latest: Pulling from library/x\na1: Pulling fs layer\nb2: Already exists\na1: Download complete\na1: Pull complete\n',
  );
});

test('progress: a push is told as docker tells it', () => {
  const out: string[] = [];
  const view = plainProgress((text) => void out.push(text));
  for (const name of ['a1', 'b2', 'c3']) view.update(layer(name, 'Preparing'));
  view.update(layer('c3', 'Waiting'));
  for (const current of [0, 5, 10]) view.update(layer('a1', 'Pushing', current, 10));
  view.update(layer('a1', 'Retrying in 2 seconds'));
  view.update(layer('a1', 'Pushing', 10, 10));
  view.update(layer('a1', 'Pushed'));
  view.update(layer('b2', 'Layer already exists'));
  view.update(layer('c3', 'Mounted from library/x'));
  const told = ['a1: Preparing', 'b2: Preparing', 'c3: Preparing', 'c3: Waiting', 'a1: Retrying in 2 seconds'];
  const done = ['a1: Pushed', 'b2: Layer already exists', 'c3: Mounted from library/x'];
  assert.deepEqual(
    out,
    [...told, ...done].map((line) => `${line}\n`),
  );
});

function live(rows: number, columns: number) {
  const writes: string[] = [];
  const view = liveProgress(
    (text) => void writes.push(text),
    () => ({ rows, columns }),
    () => 0,
  );
  return { view, writes, screen: () => screen(writes.join('')) };
}

test('progress: on a terminal each layer keeps its line, and each frame is one write', (context) => {
  context.mock.timers.enable({ apis: ['setTimeout'] });
  const { view, writes, screen: shown } = live(24, 80);
  view.update({ kind: 'text', text: 'latest: Pulling from library/x' });
  view.update(layer('a1', 'Pulling fs layer'));
  view.update(layer('b2', 'Waiting'));
  assert.equal(writes.length, 1);
  context.mock.timers.tick(100);
  assert.equal(writes.length, 2);
  for (let current = 0; current <= 1000; current++) view.update(layer('a1', 'Downloading', current, 1000));
  context.mock.timers.tick(100);
  assert.equal(writes.length, 3);
  view.update(layer('b2', 'Pull complete'));
  view.update(layer('a1', 'Pull complete'));
  view.finish();
  assert.equal(writes.length, 4);
  view.update({ kind: 'text', text: 'Digest: sha256:x' });
  assert.deepEqual(shown(), [
    'latest: Pulling from library/x',
    'a1: Pull complete',
    'b2: Pull complete',
    'Digest: sha256:x',
  ]);
});

test('progress: a text in between stands below the layers, which start anew', (context) => {
  context.mock.timers.enable({ apis: ['setTimeout'] });
  const { view, screen: shown } = live(24, 80);
  view.update(layer('a1', 'Pull complete'));
  context.mock.timers.tick(100);
  view.update({ kind: 'text', text: 'next image' });
  view.update(layer('b2', 'Pull complete'));
  view.finish();
  assert.deepEqual(shown(), ['a1: Pull complete', 'next image', 'b2: Pull complete']);
});

test('progress: more layers than lines: those at work are shown, in the end all of them', (context) => {
  context.mock.timers.enable({ apis: ['setTimeout'] });
  const { view, screen: shown } = live(6, 80);
  for (let number = 0; number < 20; number++)
    view.update(layer(`layer${number}`, number < 10 ? 'Pull complete' : 'Waiting'));
  context.mock.timers.tick(100);
  assert.equal(shown().length, 5);
  assert.equal(shown()[0], 'layer10: Waiting');
  assert.equal(shown()[4], '... 16 more layers, 10 not done');
  for (let number = 0; number < 20; number++) view.update(layer(`layer${number}`, 'Pull complete'));
  view.finish();
  assert.equal(shown().length, 20);
  assert.equal(shown()[19], 'layer19: Pull complete');
});

test('progress: pushed, mounted and known layers make room for those at work', (context) => {
  context.mock.timers.enable({ apis: ['setTimeout'] });
  const { view, screen: shown } = live(4, 80);
  const statuses = ['Pushed', 'Layer already exists', 'Mounted from library/x', 'Pushing', 'Waiting'];
  statuses.forEach((status, number) => {
    view.update(layer(`layer${number}`, status));
  });
  context.mock.timers.tick(100);
  assert.deepEqual(shown(), ['layer3: Pushing', 'layer4: Waiting', '... 3 more layers, 2 not done']);
});

test('progress: a line has bar, size and rate, as many of them as fit', () => {
  const moving = {
    name: '0123456789ab',
    status: 'Downloading' as const,
    current: 12_300_000,
    total: 45_000_000,
    samples: [
      [0, 4_300_000],
      [1000, 12_300_000],
    ] as [number, number][],
  };
  assert.equal(
    layerLine(moving, 120, 1000),
    `0123456789ab: Downloading [${'='.repeat(13)}>${' '.repeat(36)}]   12.3MB/45MB  8MB/s`,
  );
  for (let columns = 10; columns < 130; columns++) {
    const line = layerLine(moving, columns, 1000);
    assert.ok(line.length < columns, `${columns}: ${line}`);
    assert.ok(line.startsWith('0123456789ab: Downloading'.slice(0, columns - 1)));
  }
});
