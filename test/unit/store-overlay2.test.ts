import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hole, text } from '../../src/plan/text.ts';
import { overlay2Driver } from '../../src/store/drivers/overlay2.ts';
import { newLink } from '../../src/store/links.ts';

const none = () => false;
const links = (count: number) => Array.from({ length: count }, () => `l/${newLink()}`).join(':');

test('overlay2: the steps of a mount', () => {
  const driver = overlay2Driver('/data/overlay2', 'a test asks', none);
  const steps = driver.mountSteps({ mountId: 'abc', lower: 'l/I:l/A:l/B' }).map(({ why, ...step }) => {
    assert.ok(why.length > 10);
    return step;
  });
  assert.deepEqual(steps, [
    { op: 'chdir', path: '/data/overlay2' },
    { op: 'mkdir', path: 'abc/merged', mode: 0o700, onError: { EEXIST: 'skip' } },
    {
      op: 'mount',
      source: 'overlay',
      target: 'abc/merged',
      type: 'overlay',
      flags: [],
      data: 'lowerdir=l/I:l/A:l/B,upperdir=abc/diff,workdir=abc/work',
      see: 'overlayfs.rst',
    },
  ]);
  assert.deepEqual(
    driver.umountSteps('abc').map((step) => step.op),
    ['umount', 'rmdir'],
  );
});

test('overlay2: what the kernel would leave in the upper directory by default is taken off', () => {
  const driver = overlay2Driver('/d', 'a test asks', (option) => option === 'redirect_dir' || option === 'index');
  const [, , mount] = driver.mountSteps({ mountId: 'abc', lower: 'l/I' });
  assert.ok(mount?.op === 'mount' && typeof mount.data === 'string');
  assert.match(mount.data, /^index=off,redirect_dir=off,lowerdir=/);
});

test('overlay2: what differs from run to run may be a hole', () => {
  const driver = overlay2Driver('/d', 'a test asks', none);
  const [, , mount] = driver.mountSteps({ mountId: text`${hole('layer')}`, lower: text`l/${hole('initLink')}:l/A` });
  assert.ok(mount?.op === 'mount');
  assert.deepEqual(
    mount.data,
    text`lowerdir=l/${hole('initLink')}:l/A,upperdir=${hole('layer')}/diff,workdir=${hole('layer')}/work`,
  );
});

test('overlay2: 127 layers and the init layer fit into the page of options, more are refused', () => {
  const driver = overlay2Driver('/d', 'a test asks', (option) => option !== 'metacopy');
  const mountId = 'f'.repeat(64);
  driver.mountSteps({ mountId, lower: links(128) });
  assert.throws(() => driver.mountSteps({ mountId, lower: links(140) }), {
    code: 'ERR_TSBOX_LIMIT',
    message: /mount\(2\) takes 4095$/,
  });
});
