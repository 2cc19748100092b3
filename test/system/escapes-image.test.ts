/** What a hostile image puts where tsbox or the container's start looks. */
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { requires } from '../requires.ts';
import { malicious } from './attacks/attack.ts';
import { sandbox } from './harness.ts';

test("escapes: an image's /etc/passwd and /etc/group", async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const host = readFileSync('/etc/shadow', 'utf8').split('\n')[0]!.split(':')[0]!;
  const both = (script: string) => `mkdir -p etc; for file in etc/passwd etc/group; do rm -rf $file; ${script}; done`;
  const files: [name: string, script: string][] = [
    ['links to the shadow file of the host', both('ln -s /etc/shadow $file')],
    ['links out of the root', both('ln -s ../../../../../../etc/$(basename $file) $file')],
    ['links to descriptors of tsbox', both('ln -s /proc/self/fd/0 $file')],
    ['links to each other', 'rm -rf etc; mkdir etc; ln -s group etc/passwd; ln -s passwd etc/group'],
    ['fifos, which would hold a reader for ever', both('mkfifo $file')],
    ['devices', both('mknod $file c 1 5')],
    ['directories', both('mkdir $file')],
    ['in a linked /etc', 'rm -rf etc; ln -s /proc/1/root/etc etc'],
  ];
  for (const [index, [name, script]] of files.entries()) {
    await t.test(`${name}: no name of theirs is known, a number works`, () => {
      const image = malicious(box, `passwd${index}`, script);
      const named = box.tsbox(['run', '--rm', '-u', host === 'root' ? 'daemon' : host, image, 'true']);
      assert.equal(named.status, 125, named.stdout);
      assert.match(named.stderr, /unable to find user|ELOOP/);
      const numbered = box.tsbox(['run', '--rm', '-u', '7:8', image, 'grep', '-E', '^[UG]id', '/proc/self/status']);
      if (numbered.status !== 0) assert.match(numbered.stderr, /ELOOP/);
      else assert.equal(numbered.stdout, 'Uid:\t7\t7\t7\t7\nGid:\t8\t8\t8\t8\n');
    });
  }
  await t.test('a huge one is refused, and read no further than that', () => {
    const image = malicious(box, 'huge', 'mkdir -p etc; truncate -s 17M etc/passwd');
    const { status, stderr } = box.tsbox(['run', '--rm', '-u', 'x', image, 'true'], { timeout: 20_000 });
    assert.equal(status, 125);
    assert.match(stderr, /more than 16777216 bytes/);
  });
  await t.test('ids out of range and lines that are none give no rights', () => {
    const lines =
      'printf "a:x:-1:-1::/:\\nb:x:4294967296:0::/:\\nc:x:99999999999:0::/:\\nd:x::::\\ne:x:0x0:0::/:\\n" > etc/passwd';
    const image = malicious(box, 'ranges', `mkdir -p etc; ${lines}`);
    for (const user of ['a', 'b', 'c', 'd', 'e']) {
      const { status, stdout } = box.tsbox(['run', '--rm', '-u', user, image, 'id', '-u']);
      assert.equal(stdout, '', user);
      assert.equal(status, 125, user);
    }
  });
});

test('escapes: /etc/resolv.conf, /etc/hosts and /etc/hostname of an image', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const target = join(box.directory, 'target');
  mkdirSync(target);
  for (const name of ['hosts', 'hostname', 'resolv.conf']) writeFileSync(join(target, name), 'of the host\n');
  const own = 'echo x >> /etc/hosts; echo y > /etc/hostname; echo z >> /etc/resolv.conf; cat /etc/hostname';
  const scripts: [name: string, script: string][] = [
    [
      'links to the host',
      `mkdir -p etc; for one in hosts hostname resolv.conf; do ln -sf ${target}/$one etc/$one; done`,
    ],
    [
      'links upwards',
      'mkdir -p etc; for one in hosts hostname resolv.conf; do ln -sf ../../../../../etc/$one etc/$one; done',
    ],
    ['links into /proc', 'mkdir -p etc; ln -sf /proc/sys/kernel/hostname etc/hostname; ln -sf /proc/1/root etc/hosts'],
    ['an /etc that is a link to the host', `rm -rf etc; ln -s ${target} etc`],
    ['an /etc that is a link upwards', 'rm -rf etc; ln -s ../../../../../etc etc'],
    ['a fifo and a device', 'mkdir -p etc; mkfifo etc/hosts; mknod etc/resolv.conf b 8 0'],
  ];
  for (const [index, [name, script]] of scripts.entries()) {
    await t.test(`${name}: the container writes its own`, () => {
      const before = ['hosts', 'hostname', 'resolv.conf'].map((file) => readFileSync(`/etc/${file}`, 'utf8'));
      const image = malicious(box, `etc${index}`, script);
      assert.equal(box.ok(['run', '--rm', image, 'sh', '-c', own]), 'y');
      for (const file of ['hosts', 'hostname', 'resolv.conf']) {
        assert.equal(readFileSync(join(target, file), 'utf8'), 'of the host\n', file);
      }
      assert.deepEqual(
        ['hosts', 'hostname', 'resolv.conf'].map((file) => readFileSync(`/etc/${file}`, 'utf8')),
        before,
      );
    });
  }
});

test('escapes: a command that is a link to a file of the host, and a PATH that leads there', (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const mark = join(box.directory, 'mark');
  const program = join(box.directory, 'program');
  writeFileSync(program, `#!/bin/sh\ntouch ${mark}\n`, { mode: 0o755 });
  const image = malicious(
    box,
    'command',
    `ln -s ${program} run; ln -s /proc/1/root${program} up; ln -s ../../../../../../${program} far`,
  );
  for (const command of ['/run', '/up', '/far', program]) {
    const { status } = box.tsbox(['run', '--rm', image, command]);
    assert.ok(status === 126 || status === 127, command);
  }
  const { status } = box.tsbox([
    'run',
    '--rm',
    '-e',
    `PATH=${box.directory}:/proc/1/root${box.directory}`,
    image,
    'program',
  ]);
  assert.equal(status, 127);
});
