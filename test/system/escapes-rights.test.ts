/** What a process in a container has no right to, or cannot reach: other processes, keys, terminals, disks, sockets of the monitor. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, chownSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { requires } from '../requires.ts';
import { attack, outcomes } from './attacks/attack.ts';
import { sandbox } from './harness.ts';
import { terminal } from './tmux.ts';

const needs = ['root', 'overlay', 'command:gcc'] as const;

test('escapes: processes of the host, of other containers, and the monitor', async (t) => {
  if (!requires(t, ...needs)) return;
  const box = sandbox(t);
  const image = box.image();
  box.ok(['run', '-d', '--name', 'victim', '-e', 'SECRET=hunter2', image, 'sleep', '300']);
  const monitor = JSON.parse(
    readFileSync(`${box.runRoot}/${await box.quick(['inspect', '-f', '{{.Id}}', 'victim'])}/state.json`, 'utf8'),
  ).Monitor;
  const first = Number(await box.quick(['inspect', '-f', '{{.State.Pid}}', 'victim']));
  assert.match(readFileSync(`/proc/${first}/environ`, 'utf8'), /hunter2/, 'the host sees it');
  await t.test("another container's environment is not seen", () => {
    const look = 'cat /proc/*/environ | tr "\\0" "\\n" | grep -c hunter2; ls -d /proc/[0-9]* | wc -l';
    for (const flags of [[], ['--cap-add', 'ALL']]) {
      const [found, processes] = box.ok(['run', '--rm', ...flags, image, 'sh', '-c', look]).split('\n');
      assert.equal(found, '0');
      assert.ok(Number(processes) <= 4, processes);
    }
  });
  await t.test('the monitor has no number inside, and takes no signal', async () => {
    const script = `for pid in ${monitor} ${first}; do ls -d /proc/$pid; kill -0 $pid; kill -KILL $pid; done; exit 0`;
    const { stderr } = box.tsbox(['run', '--rm', '--cap-add', 'ALL', image, 'sh', '-c', script]);
    assert.equal((stderr.match(/No such (process|file)/g) ?? []).length, 6, stderr);
    assert.equal(await box.quick(['inspect', '-f', '{{.State.Running}}', 'victim']), 'true');
    assert.match(readFileSync(`/proc/${monitor}/comm`, 'utf8'), /^tsbox-executor/);
  });
  await t.test('nor from the container that it watches', async () => {
    box.tsbox(['exec', 'victim', 'sh', '-c', `kill -KILL -1; kill -KILL ${monitor} $PPID 1`]);
    assert.equal(await box.quick(['inspect', '-f', '{{.State.Running}}', 'victim']), 'true');
  });
  await t.test('its log, its lock and its socket are nowhere inside, by path or by name', () => {
    const look = `find / -xdev \\( -name attach.sock -o -name '*-json.log' -o -name state.json \\); grep -c ${box.runRoot} /proc/net/unix; ls ${box.directory}`;
    const { stdout } = box.tsbox(['run', '--rm', image, 'sh', '-c', look]);
    assert.equal(stdout, '0\n');
    const host = box.tsbox(['run', '--rm', '--network', 'host', image, 'sh', '-c', 'grep -o "@.*" /proc/net/unix']);
    assert.doesNotMatch(host.stdout, /tsb/, 'no abstract socket of ours, which a network namespace would share');
  });
});

test('escapes: exec into a container that ends, while another takes its name', async (t) => {
  if (!requires(t, ...needs)) return;
  const box = sandbox(t);
  const image = box.image();
  const answers = new Set<string>();
  for (let round = 0; round < 6; round++) {
    box.ok(['run', '-d', '--name', 'same', '-h', `round${round}`, image, 'sleep', '300']);
    const execs = [1, 2, 3].map(() =>
      box.start(['exec', 'same', 'sh', '-c', 'hostname; ls -d /.dockerenv'], { input: '' }),
    );
    await box.quick(['rm', '-f', 'same']);
    for (const { done } of execs) answers.add((await done).stdout);
  }
  for (const answer of answers) assert.match(answer, /^$|^round\d\n(\/\.dockerenv\n)?$/, 'nobody was anywhere else');
});

test('escapes: a set-user-ID program in a shared directory with no-new-privileges', async (t) => {
  if (!requires(t, ...needs)) return;
  const box = sandbox(t);
  const image = box.image();
  const id = join(box.directory, 'id');
  const made = spawnSync('gcc', ['-static', '-x', 'c', '-o', id, '-'], {
    input: '#include <stdio.h>\n#include <unistd.h>\nint main(void) { printf("%d\\n", (int)geteuid()); }',
  });
  assert.equal(made.status, 0, made.stderr.toString());
  chownSync(id, 0, 0);
  chmodSync(id, 0o4755);
  const run = (...flags: string[]) => box.ok(['run', '--rm', '-u', '1000', '-v', `${id}:/id`, ...flags, image, '/id']);
  assert.equal(run(), '0', 'it works without');
  assert.equal(run('--security-opt', 'no-new-privileges'), '1000');
  box.ok([
    'run',
    '-d',
    '--name',
    'bound',
    '--security-opt',
    'no-new-privileges',
    '-v',
    `${id}:/id`,
    image,
    'sleep',
    '60',
  ]);
  assert.equal(box.ok(['exec', '-u', '1000', 'bound', '/id']), '1000', 'exec, too');
});

test('escapes: a file of the host by its handle', (t) => {
  if (!requires(t, ...needs)) return;
  const box = sandbox(t);
  const { path, flags } = attack(box);
  const secret = join(box.directory, 'secret');
  writeFileSync(secret, 'of the host');
  const handle = spawnSync(path, ['name', secret], { encoding: 'utf8' }).stdout.trim();
  assert.match(handle, /^[0-9a-f]{16,}$/);
  const open = (...more: string[]) =>
    box.ok(['run', '--rm', ...flags, ...more, box.image(), '/attack', 'handle', '/attack', handle]);
  assert.equal(open(), 'open_by_handle_at EPERM');
  assert.equal(open('--security-opt', 'seccomp=unconfined'), 'open_by_handle_at EPERM');
  const control = open('--cap-add', 'DAC_READ_SEARCH', '--security-opt', 'seccomp=unconfined');
  assert.equal(control, 'open_by_handle_at ok\nof the host', 'who has the capability can');
});

test('escapes: keys that the caller holds', (t) => {
  if (!requires(t, ...needs)) return;
  const box = sandbox(t);
  const { path, flags } = attack(box);
  const keys = (...command: string[]) => {
    const { stdout, stderr } = spawnSync(path, ['keep', 'tsbox-test', 'hunter2', ...command], {
      env: box.env,
      encoding: 'utf8',
    });
    return stdout + stderr;
  };
  const node = process.execPath;
  assert.match(keys(path, 'keys', 'tsbox-test'), /session ok\nhunter2/, 'a program of the caller has them');
  const tsbox = join(import.meta.dirname, '../../dist/main.js');
  box.image();
  for (const more of [[], ['--security-opt', 'seccomp=unconfined'], ['--cap-add', 'SYS_ADMIN'], ['--privileged']]) {
    const run = [node, tsbox, 'run', '--rm', ...flags, ...more, 'busybox:offline', '/attack', 'keys', 'tsbox-test'];
    const said = keys(...run);
    assert.match(said, /^session E(PERM|NOKEY|NOSYS|ACCES)$/m, `${more}: ${said}`);
    assert.doesNotMatch(said, /hunter2/);
  }
  const shown = box.ok(['run', '--rm', ...flags, 'busybox:offline', 'cat', '/proc/keys']);
  assert.equal(shown, '', 'nor are they listed');
  // What `exec` starts has a session of its own too, also beside a privileged container.
  box.ok(['run', '-d', '--name', 'entered', '--privileged', ...flags, 'busybox:offline', 'sleep', '100']);
  for (const more of [[], ['--privileged']]) {
    const said = keys(node, tsbox, 'exec', ...more, 'entered', '/attack', 'keys', 'tsbox-test');
    assert.match(said, /^session ENOKEY$/m, said);
    assert.doesNotMatch(said, /hunter2/);
  }
});

test('escapes: typing into the terminal of the host', async (t) => {
  if (!requires(t, ...needs, 'command:tmux')) return;
  const box = sandbox(t);
  const { flags } = attack(box);
  const mark = join(box.directory, 'typed');
  const script = join(box.directory, 'type.sh');
  writeFileSync(script, `/attack type '\ntouch ${mark}\n'; echo all was $((1 + 1))ried\n`);
  const image = box.image();
  const outside = terminal(t, { env: box.env, columns: 120 });
  let count = 0;
  for (const how of ['-i', '', '-t', '-it']) {
    for (const more of ['', '--cap-add SYS_ADMIN', '--privileged']) {
      outside.clear();
      outside.type(
        `tsbox run --rm ${how} ${more} ${flags.join(' ')} -v ${script}:/type.sh ${image} sh /type.sh; echo over $((20 + ${++count}))`,
      );
      // By its number: what the screen showed of the one before may still be there.
      await outside.see(new RegExp(`all was 2ried[\\s\\S]*over ${20 + count}$`, 'm'));
    }
  }
  outside.type('echo after $((30 + 3))');
  await outside.see(/after 33/);
  assert.throws(() => statSync(mark), /ENOENT/, 'the shell of the host has read nothing');
});

test('escapes: the node of a disk, made in the container', (t) => {
  if (!requires(t, ...needs, 'file:/dev/loop0')) return;
  const box = sandbox(t);
  const { flags } = attack(box);
  const disk = (...more: string[]) =>
    outcomes(box.ok(['run', '--rm', ...flags, ...more, box.image(), '/attack', 'disk', '7', '0']));
  assert.deepEqual(disk(), { mknod: 'ok', open: 'EPERM' });
  assert.equal(disk('--privileged')['open'], 'ok', 'the same node works where devices are allowed');
});
