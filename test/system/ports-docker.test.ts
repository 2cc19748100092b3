/** Published and exposed ports beside docker: what is kept of them, and what is refused in which words. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { requires } from '../requires.ts';
import { besideDocker } from './beside-docker.ts';
import { REPOSITORY } from './harness.ts';

const ARCHIVE = `${REPOSITORY}/rootfs-fixtures/build/busybox.tar`;
const SHOWN =
  '{{json .Config.ExposedPorts}} {{json .HostConfig.PortBindings}} {{.HostConfig.PublishAllPorts}} {{json .NetworkSettings.Ports}}';

test('beside docker: ports of run and create', async (t) => {
  if (!requires(t, 'root', 'overlay', 'command:dockerd')) return;
  const pair = await besideDocker(t);
  await pair.both('import', '--change', 'CMD ["sh"]', '--change', 'EXPOSE 90 53/udp', ARCHIVE, 'busybox:ports');
  const image = ['--network', 'none', 'busybox:ports'];
  const kept = [
    '-p 80',
    '-p 8080:80/UDP -p 127.0.0.1:8081:80 -p 127.0.0.1::80 -p 0:90',
    '-p ::1:8080:80 -p [0::0:1]::80 -p 0000:0:0::1:81:90',
    '-p 8000-8002:80-82 -p 8000-8002:80 -p 83-84',
    '-p published=8080,target=80,protocol=udp -p target=81',
    '-P --expose 80-82/udp --expose 8080/TCP --expose 80',
  ];
  for (const [index, words] of kept.entries())
    await t.test(words, async () => {
      await pair.same('create', '--name', `made${index}`, ...words.split(' '), ...image);
      await pair.same('inspect', '-f', SHOWN, `made${index}`);
    });
  for (const words of [
    ['-p', ''],
    ['-p', '8080:'],
    ['-p', '70000:80'],
    ['-p', '127.0.0.1:80'],
    ['-p', '65536'],
    ['-p', '9-8:9-8'],
    ['-p', '80/foo'],
    ['-p', '8000-8003:80-82'],
    ['-p', 'localhost:80:80'],
    ['-p', '[::1:80:80'],
    ['-p', 'foo,target=80'],
    ['--expose', 'x'],
    ['--expose', '82-80'],
    ['--expose', '1:2'],
  ])
    await t.test(words.join(' '), async () => void (await pair.same('create', ...words, ...image)));
  await t.test('in the host network they are discarded, and it is said', async () => {
    const [, said] = await pair.compare(
      'create',
      '--name',
      'host',
      '-p',
      '80:80',
      '--network',
      'host',
      'busybox:ports',
    );
    assert.equal(said.stderr, 'WARNING: Published ports are discarded when using host network mode');
    await pair.same('inspect', '-f', SHOWN, 'host');
  });
});
