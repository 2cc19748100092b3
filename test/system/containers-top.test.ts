/** `top` and `port` beside docker. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import test from 'node:test';
import { requires } from '../requires.ts';
import { besideDocker, type Said } from './beside-docker.ts';
import { pause } from './truth.ts';

const ARCHIVE = join(import.meta.dirname, '../../rootfs-fixtures/build/busybox.tar');

/** Numbers and times are different ones, and so are the columns that they make wider. */
const plain = ({ status, stdout, stderr }: Said) => ({
  status,
  stdout: stdout
    .split('\n')
    .map((line) => line.trim().split(/ {3,}/))
    .map(([first = '', ...rest]) =>
      [first, ...rest].map((field) => field.replace(/^[\d.:]+$|^\w{3}\d\d$/, 'N')).join('|'),
    ),
  stderr,
});

test('top: the processes of the container alone, for options of ps as docker', async (t) => {
  if (!requires(t, 'root', 'overlay', 'command:dockerd', 'command:docker')) return;
  const { both, compare, same } = await besideDocker(t);
  await both('import', ARCHIVE, 'one');
  await both('run', '-d', '--network', 'none', '--name', 'cc', 'one', 'sh', '-c', 'sleep 1000 & exec sleep 2000');
  await both('create', '--network', 'none', '--name', 'made', 'one', 'true');
  // The shell that begins both takes its time.
  const areThere = async () =>
    (await compare('top', 'cc')).every(({ stdout }) => stdout.includes('sleep 1000') && !stdout.includes('sh -c'));
  for (let tries = 0; tries < 500 && !(await areThere()); tries++) await pause(20);
  const options = [
    '',
    '-o pid,comm',
    'aux',
    '-eo user,pid,args',
    '--forest',
    '-o comm',
    '-eo pid=',
    '-o pid,foo',
    '-o pid:3,args',
  ];
  for (const words of options) {
    const [docker, tsbox] = await compare('top', 'cc', ...words.split(' ').filter(Boolean));
    assert.deepEqual(plain(tsbox), plain(docker), words);
    if (tsbox.status === 0) assert.equal(tsbox.stdout.trimEnd().split('\n').length, 3, words);
  }
  await same('top', 'made');
  await same('top', 'nosuch');
  await same('port', 'cc');
  for (const port of ['80', '80/udp', 'x']) await same('port', 'cc', port);
  await same('port', 'nosuch');
});
