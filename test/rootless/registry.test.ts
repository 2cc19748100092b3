/** Images of an ordinary user: from a registry and to it, from archives and to them. */
import assert from 'node:assert/strict';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { requires } from '../requires.ts';
import { startRegistry } from '../system/registry-daemon.ts';
import { user } from './user.ts';

test('rootless: push, pull, run --pull, and an archive through pipes', async (t) => {
  if (!requires(t, 'root', 'overlay', 'userns', 'command:useradd', 'command:newuidmap', 'command:docker-registry')) {
    return;
  }
  const he = user(t);
  const { host } = await startRegistry(t);
  const name = `${host}/lab/made:1`;
  const check = 'stat -c "%u:%g %a" /a /d/x; test -e /bin/ls; echo $?';
  const seen = '33:44 4755\n7:8 600\n1';
  const script =
    'touch /a; chown 33:44 /a; chmod 4755 /a; mkdir /d; touch /d/x; chmod 600 /d/x; chown 7:8 /d/x; rm /bin/ls';
  he.ok(['run', '--name', 'one', he.image(), 'sh', '-c', script]);
  he.ok(['commit', 'one', name]);
  he.ok(['rm', 'one']);
  const id = he.ok(['images', '-q', '--no-trunc', name]);
  await t.test('what he pushes is what he pulls, owners and all', () => {
    const digest = /^1: digest: (sha256:\w+) size: \d+$/m.exec(he.ok(['push', name]))?.[1];
    assert.ok(digest !== undefined);
    he.ok(['rmi', name]);
    assert.match(he.ok(['pull', name]), new RegExp(`Digest: ${digest}`));
    assert.equal(he.ok(['images', '-q', '--no-trunc', name]), id);
    assert.equal(he.ok(['run', '--rm', name, 'sh', '-c', check]), seen);
  });
  await t.test('another user has it from the same registry by his run', () => {
    const she = user(t);
    const { status, stdout, stderr } = she.tsbox(['run', '--rm', name, 'sh', '-c', check]);
    assert.deepEqual([status, stdout], [0, `${seen}\n`], stderr);
    assert.match(stderr, /^Unable to find image .* locally\n/m);
  });
  await t.test('an image that the registry does not have is no reason to leave anything', () => {
    const { status, stderr } = he.tsbox(['run', '--rm', `${host}/lab/none`, 'true']);
    assert.equal(status, 125);
    assert.match(stderr, /lab\/none/);
    assert.equal(he.ok(['ps', '-aq']), '');
  });
  await t.test('save to standard output, load from standard input', () => {
    const archive = he.tsbox(['save', name]).bytes;
    he.ok(['rmi', name]);
    assert.match(he.ok(['load'], { input: archive }), new RegExp(`Loaded image: ${name}`));
    assert.equal(he.ok(['run', '--rm', name, 'sh', '-c', check]), seen);
  });
  await t.test('login is kept in his home', () => {
    he.ok(['login', '-u', 'he', '--password-stdin', host], { input: 'secret' });
    const file = join(he.home, '.config/tsbox/config.json');
    assert.equal(statSync(file).uid, he.uid);
    assert.ok(readFileSync(file, 'utf8').includes(host));
  });
});
