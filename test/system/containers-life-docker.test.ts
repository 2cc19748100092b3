/** The verbs of a container's life beside docker: the same words, the same exit codes. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { requires } from '../requires.ts';
import { besideDocker } from './beside-docker.ts';
import { REPOSITORY } from './harness.ts';

const ARCHIVE = `${REPOSITORY}/rootfs-fixtures/build/busybox.tar`;

test('beside docker: pause, rename, restart, update', async (t) => {
  if (!requires(t, 'root', 'overlay', 'command:dockerd')) return;
  const pair = await besideDocker(t);
  await pair.both('import', '--change', 'CMD ["sh"]', ARCHIVE, 'busybox:offline');
  const network = ['--network', 'none'];
  await pair.both('run', '-d', '--name', 'one', ...network, 'busybox:offline', 'sleep', '1000');
  await pair.both('create', '--name', 'two', ...network, 'busybox:offline', 'true');
  for (const words of [
    ['pause', 'two'],
    ['unpause', 'one'],
    ['pause', 'one'],
    ['pause', 'one'],
    ['exec', 'one', 'true'],
    ['start', 'one'],
    ['unpause', 'one', 'two'],
    ['rename', 'one', 'one'],
    ['rename', 'one', 'two'],
    ['rename', 'one', ''],
    ['rename', 'none', 'some'],
    ['rename', 'one', 'uno'],
    ['restart', '-t', '0', 'uno'],
    ['restart', 'none'],
    ['stop', '-t', '0', 'none', 'uno'],
    ['kill', 'uno', 'none'],
    ['update', '--restart', 'sometimes', 'uno'],
    ['update', '--restart', 'always:3', 'uno'],
    ['update', '--restart', 'on-failure:3', 'uno'],
    ['inspect', '-f', '{{json .HostConfig.RestartPolicy}} {{.RestartCount}} {{.State.Restarting}}', 'uno', 'two'],
    ['create', '--restart', 'x', ...network, 'busybox:offline'],
    ['create', '--restart', 'on-failure:x', ...network, 'busybox:offline'],
    ['create', '--health-interval', '-1s', ...network, 'busybox:offline'],
    ['create', '--health-cmd', 'x', '--no-healthcheck', ...network, 'busybox:offline'],
    ['create', '--env-file', '/nope', ...network, 'busybox:offline'],
    ['run', '--rm', '--restart', 'always', ...network, 'busybox:offline'],
    ['run', '-d', '-a', 'stdout', ...network, 'busybox:offline'],
    ['run', '--restart', 'on-failure:1', '--name', 'fails', ...network, 'busybox:offline', 'sh', '-c', 'exit 4'],
    [
      'create',
      '--name',
      'checked',
      '--health-cmd',
      'true',
      '--health-retries',
      '2',
      '--stop-timeout',
      '3',
      ...network,
      'busybox:offline',
    ],
    ['inspect', '-f', '{{json .Config.Healthcheck}} {{.Config.StopTimeout}}', 'checked'],
  ])
    await t.test(words.join(' '), async () => void (await pair.same(...words)));
});

test('beside docker: what create takes and what it refuses', async (t) => {
  if (!requires(t, 'root', 'overlay', 'command:dockerd')) return;
  const { both, same, compare } = await besideDocker(t);
  await both('import', '--change', 'CMD ["sh"]', ARCHIVE, 'bb:offline');
  const network = ['--network', 'none'];
  // With names, since what docker makes up is not what tsbox does.
  for (const [index, flags] of [
    ['--name', ''],
    ['--disable-content-trust'],
    ['--isolation', 'default'],
    ['--isolation', ''],
    ['--platform', 'linux/amd64'],
  ].entries())
    await both('create', '--name', `made${index}`, ...network, ...flags, 'bb:offline', 'true');
  for (const flags of [
    ['-l', ''],
    ['-l', '=x'],
    ['--mac-address', 'x'],
    ['-w', 'rel'],
    ['--cap-add', 'NOPE'],
    ['--cap-drop', 'NOPE'],
    ['--log-driver', 'nosuch'],
    ['--log-opt', 'nosuch=1'],
    ['--log-opt', 'mode=x'],
  ])
    await same('create', ...network, ...flags, 'bb:offline');
  for (const flags of [
    ['--security-opt', 'no-new-privileges=x'],
    ['--isolation', 'hyperv'],
    ['--network', 'host'],
    ['--platform', 'linux/s390x', '--pull', 'never'],
  ]) {
    const said = await compare('create', ...network, ...flags, 'bb:offline');
    assert.deepEqual(
      said.map(({ status }) => status),
      [1, 1],
      flags.join(' '),
    );
  }
});
