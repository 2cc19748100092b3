/** `diff`: which files a container has added, changed and deleted. */
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { requires } from '../requires.ts';
import { account } from './accounts.ts';
import { sandbox } from './harness.ts';
import { startDocker } from './images-setup.ts';

const ARCHIVE = join(import.meta.dirname, '../../rootfs-fixtures/build/busybox.tar');

/** Every kind of change that there is, and some that are none in the end. */
const CHANGES = `echo a > /tmp/new; mkdir -p /opt/x/y; echo b >> /etc/passwd; rm /bin/ash; rm -r /var/spool; rm -r /var/www; mkdir /var/www
  echo n > /var/www/f; chmod 700 /home; ln -s x /root/link; mkdir /var/deep; rm -r /var/deep; touch /usr/bin/zz; rm /usr/bin/zz; mkfifo /tmp/p
  echo x > '/tmp/a b'; mv /usr/bin/head /usr/bin/hhh; mknod /tmp/c c 1 3; touch -d 2001-01-01 /usr/sbin; chown 3:4 /etc/group; rm /usr/bin/awk
  mkdir /usr/bin/awk; echo > /usr/bin/awk/z; rm -r /bin/vi; ln -s busybox /bin/vi; mkdir /tmp/d; echo > /tmp/d.e; echo > /tmp/d/z; echo > /tmp/d-
  chown 5 /usr/sbin; chown 0 /usr/sbin; chmod 600 /etc/hosts; true`;

test('diff: as docker, running and ended, a directory before what is in it', async (t) => {
  if (!requires(t, 'root', 'overlay', 'command:dockerd', 'command:docker')) return;
  const box = sandbox(t);
  const docker = await startDocker(t);
  const shared = join(box.directory, 'shared');
  mkdirSync(shared);
  await docker('import', ARCHIVE, 'busybox:offline');
  const words = ['--name', 'cc', '--network', 'none', '-v', `${shared}:/data/here`, box.image(), 'sh', '-c'];
  await docker('run', ...words, CHANGES);
  box.ok(['run', '--detach', ...words, `${CHANGES}; touch /data/here/done; sleep 1000`]);
  box.ok(['exec', 'cc', 'sh', '-c', 'until [ -e /data/here/done ]; do sleep 0.05; done']);
  const running = (await box.quick(['diff', 'cc'])).split('\n');
  const theirs = (await docker('diff', 'cc')).split('\n');
  assert.deepEqual([...running].sort(), theirs.sort());
  const at = (line: string) => running.indexOf(line);
  assert.deepEqual([at('A /tmp/d') + 1, at('A /tmp/d/z') + 1], [at('A /tmp/d/z'), at('A /tmp/d-')], 'in order');
  box.ok(['kill', 'cc']);
  assert.deepEqual((await box.quick(['diff', 'cc'])).split('\n'), running);
  const { status, stderr } = await box.said(['diff', 'nosuch']);
  assert.deepEqual([status, stderr.split('\n')[0]], [1, 'tsbox: No such container: nosuch']);
});

test('diff: nothing has changed in a container that was only made, nor by its user namespace', async (t) => {
  if (!requires(t, 'root', 'overlay', 'userns', 'command:useradd')) return;
  const box = sandbox(t);
  const { name } = account(t, [65536]);
  box.ok(['create', '--name', 'one', box.image()]);
  assert.equal(await box.quick(['diff', 'one']), '');
  box.ok([
    'run',
    '--name',
    'mapped',
    '--userns',
    name,
    box.image(),
    'sh',
    '-c',
    'touch /root/new; chown 33 /etc/group',
  ]);
  assert.equal(await box.quick(['diff', 'mapped']), 'C /etc\nC /etc/group\nC /root\nA /root/new');
});
