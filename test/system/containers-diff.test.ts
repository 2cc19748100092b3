/** `diff`: which files a container has added, changed and deleted. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { requires } from '../requires.ts';
import { account } from './accounts.ts';
import { sandbox, TSBOX } from './harness.ts';
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

/** A byte that begins no character of UTF-8, the character that texts have for it, a character that is cut. */
const NAMES = {
  byte: String.raw`$(printf '\377')`,
  text: String.raw`$(printf '\357\277\275')`,
  cut: String.raw`a$(printf '\342\202')b`,
};

test('names that are not UTF-8: diff, commit, export, cp and save keep them byte for byte', async (t) => {
  if (!requires(t, 'root', 'overlay', 'command:dockerd', 'command:docker')) return;
  const box = sandbox(t);
  const docker = await startDocker(t);
  await docker('import', ARCHIVE, 'busybox:offline');
  const { byte, text, cut } = NAMES;
  const image = `mkdir /n; cd /n; for n in a${byte} b${byte} c${text} d${byte}; do echo 1 > $n; done; mkdir e${byte} f${byte} g${text}
    for d in e${byte} f${byte} g${text}; do echo 1 > $d/x${byte}; echo 1 > $d/y${text}; done; ln -s e${byte} l${byte}
    find . -type f | xargs touch -d 2001-01-01; touch ${cut}`;
  const changes = `cd /n; rm a${byte} a*b; echo 2 >> b${byte}; echo 2 > a${text}; echo 2 > c${byte}; echo 2 > e${byte}/new${byte}
    rm -r f${byte}; mkdir f${byte}; echo 2 > f${byte}/x${byte}; echo 2 > g${text}/x${byte}; chmod 600 g${text}/y${text}; ln b${byte} h${byte}; true`;
  const run = ['run', '--network', 'none', '--name'];
  await docker(...run, 'one', 'busybox:offline', 'sh', '-c', image);
  await docker('commit', 'one', 'named');
  await docker(...run, 'two', 'named', 'sh', '-c', changes);
  box.ok([...run, 'one', box.image(), 'sh', '-c', image]);
  box.ok(['commit', 'one', 'named']);
  box.ok([...run, 'two', 'named', 'sh', '-c', changes]);
  const bytes = (command: string, args: string[], env = box.env) =>
    execFileSync(command, args, { env, encoding: 'latin1' }).split('\n').sort();
  const theirs = bytes('docker', ['diff', 'two'], { ...box.env, DOCKER_HOST: docker.host });
  assert.deepEqual(bytes(TSBOX, ['diff', 'two']), theirs);
  assert.ok(theirs.includes('D /n/a\xef\xbf\xbd'), theirs.join());

  box.ok(['commit', 'two', 'changed']);
  const look = 'cd /n; find . | sort; find . -type f | sort | xargs cat; readlink l*';
  const seen = (name: string) => bytes(TSBOX, ['run', '--rm', '--network', 'none', name, 'sh', '-c', look]);
  const before = seen('changed');
  assert.ok(
    before.includes('./e\xff/new\xff') && before.includes('e\xff') && !before.includes('./a\xff'),
    before.join(),
  );
  const saved = join(box.directory, 'saved.tar');
  box.ok(['save', '--output', saved, 'changed']);
  box.ok(['rm', 'one', 'two']);
  box.ok(['rmi', 'changed', 'named']);
  box.ok(['load', '--input', saved]);
  assert.deepEqual(seen('changed'), before);
  await docker('load', '--input', saved);
  const dockerRun = ['run', '--rm', '--network', 'none', 'changed', 'sh', '-c', look];
  assert.deepEqual(bytes('docker', dockerRun, { ...box.env, DOCKER_HOST: docker.host }), before);

  box.ok(['create', '--name', 'three', 'changed', 'true']);
  const archive = join(box.directory, 'three.tar');
  box.ok(['export', '--output', archive, 'three']);
  box.ok(['import', archive, 'flat']);
  assert.deepEqual(seen('flat'), before);
  box.ok(['cp', 'three:/n', box.directory]);
  assert.deepEqual(bytes('sh', ['-c', `cd '${box.directory}'; ${look.replace('/n', 'n')}`]), before);
  box.ok(['create', '--name', 'four', box.image(), 'true']);
  box.ok(['cp', join(box.directory, 'n'), 'four:/']);
  box.ok(['commit', 'four', 'copied']);
  assert.deepEqual(seen('copied'), before);
  await box.quick(['rm', 'three', 'four']);
});

test('diff: the data root has a name that is not ASCII', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const at = ['--data-root', join(box.directory, 'd\u00e9p\u00f4t')];
  box.ok([...at, 'import', ARCHIVE, 'image']);
  const script = 'rm -r /var/www; mkdir /var/www; echo > /var/www/f; rm /bin/ash; echo >> /etc/passwd';
  box.ok([...at, 'run', '--network', 'none', '--name', 'one', 'image', 'sh', '-c', script]);
  const changes = ['C /bin', 'C /etc', 'C /etc/passwd', 'C /var', 'C /var/www', 'A /var/www/f', 'D /bin/ash'];
  assert.deepEqual(
    box
      .ok([...at, 'diff', 'one'])
      .split('\n')
      .sort(),
    changes.sort(),
  );
  box.ok([...at, 'rm', 'one']);
});
