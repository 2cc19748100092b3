/** `tsbox doctor` on this host, as root and as an ordinary user. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import type { Finding } from '../../src/spec/doctor.ts';
import { requires } from '../requires.ts';
import { sandbox, TSBOX } from './harness.ts';

const find = (findings: readonly Finding[], id: string) => {
  const found = findings.find((finding) => finding.id === id);
  assert.ok(found, id);
  return found;
};

test('doctor: as root, where containers run, it finds no error and leaves nothing behind', (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const findings: Finding[] = JSON.parse(box.ok(['doctor', '--format', 'json']));
  assert.deepEqual(
    findings.filter(({ level }) => level === 'error'),
    [],
  );
  for (const id of ['kernel.overlay', 'kernel.namespaces', 'cgroups.make', 'tsbox.executor', 'data.filesystem']) {
    assert.equal(find(findings, id).level, 'ok', id);
  }
  assert.ok(!existsSync(box.dataRoot) && !existsSync(box.runRoot), 'no store is opened');
  assert.deepEqual(
    readdirSync(box.directory).filter((name) => name.includes('doctor')),
    [],
  );
  assert.doesNotMatch(readFileSync('/proc/self/mountinfo', 'utf8'), new RegExp(box.directory));
  assert.equal(box.ok(['run', '--rm', box.image(), 'echo', 'it does']), 'it does');
});

test('doctor: what does not work is told, with exit code 1', (t) => {
  if (!requires(t, 'root')) return;
  const box = sandbox(t);
  const { status, stdout } = box.tsbox(['--data-root', '/proc/nowhere', 'doctor', '--quiet']);
  assert.equal(status, 1);
  assert.match(stdout, /^error +data root +\/proc is not writable for you\n +-> Run as root, or choose another/m);
  assert.match(stdout, /\ntsbox run does not work here: 1 error[^\n]*\.\n$/);
  assert.doesNotMatch(stdout, /^ok/m);
  assert.equal(box.tsbox(['doctor', '--format', 'yaml']).status, 125);
});

test('doctor: an ordinary user is told what user namespaces do, by trying', (t) => {
  if (!requires(t, 'root', 'userns', 'command:setpriv')) return;
  const box = sandbox(t);
  const own = join(box.directory, 'own');
  mkdirSync(own);
  spawnSync('chmod', ['755', box.directory]);
  spawnSync('chown', ['65534:65534', own]);
  const nobody = ['--reuid=65534', '--regid=65534', '--clear-groups'];
  if (spawnSync('setpriv', [...nobody, 'test', '-x', TSBOX]).status !== 0)
    return t.skip('the project is closed to others');
  const env = { ...box.env, HOME: own, TSBOX_ROOT: join(own, 'd'), TSBOX_RUN_ROOT: join(own, 'r') };
  const run = (...more: string[]) =>
    spawnSync('setpriv', [...nobody, ...more, TSBOX, 'doctor', '--format', 'json'], { env, encoding: 'utf8' });
  const findings: Finding[] = JSON.parse(run().stdout);
  const able =
    spawnSync('setpriv', [...nobody, 'unshare', '--user', '--map-root-user', '--mount', 'true']).status === 0;
  assert.equal(find(findings, 'users.namespaces').level, able ? 'ok' : 'error');
  if (able) assert.equal(find(findings, 'users.overlay').level, 'ok');
  assert.equal(find(findings, 'data.root').level, 'ok');
  assert.deepEqual(readdirSync(own), []);
  // A seccomp filter or a limit would have the same effect: no more namespaces.
  const limited = [
    'unshare',
    '--user',
    '--map-root-user',
    'sh',
    '-c',
    'echo 0 > /proc/sys/user/max_user_namespaces; exec "$@"',
    'sh',
  ];
  const { stdout, status } = run(...limited);
  const none: Finding[] = JSON.parse(stdout);
  assert.match(find(none, 'users.namespaces').says, /user\.max_user_namespaces is 0/);
  assert.match(find(none, 'users.namespaces').fix ?? '', /^sysctl -w user\.max_user_namespaces=/);
  assert.ok(status === 0 || status === 1);
});

test('doctor: owners of a mount are tried where a process takes its time to start', (t) => {
  if (!requires(t, 'root', 'userns')) return;
  const box = sandbox(t);
  const ask = () => find(JSON.parse(box.ok(['doctor', '--format', 'json'])), 'kernel.idmapped');
  const quick = ask();
  const directory = join(box.directory, 'bin');
  mkdirSync(directory);
  writeFileSync(join(directory, 'unshare'), '#!/bin/sh\nsleep 1\nexec /usr/bin/unshare "$@"\n', { mode: 0o755 });
  box.env['PATH'] = `${directory}:${process.env['PATH']}`;
  assert.deepEqual(ask(), quick);
  // Between the map of users and that of groups.
  const slow = '#!/bin/sh\nexec strace -D -f -o /dev/null -e inject=openat:delay_enter=20000 /usr/bin/unshare "$@"\n';
  writeFileSync(join(directory, 'unshare'), slow);
  if (spawnSync('strace', ['true']).status === 0) assert.deepEqual(ask(), quick);
  writeFileSync(join(directory, 'unshare'), '#!/bin/sh\nexit 1\n');
  const began = performance.now();
  assert.notDeepEqual(ask(), quick);
  assert.ok(performance.now() - began < 9_000, 'nothing is waited for that has ended');
});
