/** tsbox as an ordinary user: the same verbs, in user namespaces of his. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { requires } from '../requires.ts';
import { until } from '../system/harness.ts';
import { terminal } from '../system/tmux.ts';
import { user } from './user.ts';

const needs = (t: TestContext) => requires(t, 'root', 'overlay', 'userns', 'command:useradd', 'command:newuidmap');

test('rootless: the life of a container', async (t) => {
  if (!needs(t)) return;
  const he = user(t);
  const image = he.image();
  await t.test('run: output, exit code, input', () => {
    assert.equal(he.ok(['run', '--rm', image, 'echo', 'hello']), 'hello');
    assert.equal(he.tsbox(['run', '--rm', image, 'sh', '-c', 'exit 7']).status, 7);
    assert.equal(he.tsbox(['run', '--rm', image, 'nope']).status, 127);
    assert.equal(he.ok(['run', '--rm', '-i', image, 'cat'], { input: 'in and out' }), 'in and out');
  });
  await t.test('he is root in it, his subordinate ids are the others', () => {
    const map = he.ok(['run', '--rm', image, 'cat', '/proc/self/uid_map']).split('\n');
    const words = map.map((line) => line.trim().split(/\s+/).map(Number));
    assert.deepEqual(words, [
      [0, he.uid, 1],
      [1, he.starts[0], 65536],
    ]);
    assert.equal(
      he.ok(['run', '--rm', '--user', '33:44', image, 'sh', '-c', 'echo $(id -u) $(id -g); echo > /dev/stdout']),
      '33 44\n',
    );
  });
  await t.test('run -d, ps, logs, exec, inspect, stop, start, attach, kill, wait, rm', async () => {
    const script = 'echo one; trap "exit 3" TERM; while :; do sleep 0.1; done';
    const id = he.ok(['run', '-d', '--name', 'life', image, 'sh', '-c', script]);
    assert.match(
      he.ok(['ps', '--no-trunc', '--format', '{{.ID}} {{.Names}} {{.State}}']),
      new RegExp(`^${id} life running$`),
    );
    await until('the log', () => he.ok(['logs', 'life']) === 'one');
    const pid = Number(he.ok(['inspect', '--format', '{{.State.Pid}}', 'life']));
    assert.equal(statSync(`/proc/${pid}`).uid, he.uid, 'the process is his on the host');
    assert.equal(he.ok(['exec', 'life', 'id', '-u']), '0');
    assert.equal(
      he.ok(['exec', '-u', '33', '-e', 'A=b', '-w', '/tmp', 'life', 'sh', '-c', 'echo $(id -u) $A $PWD']),
      '33 b /tmp',
    );
    assert.equal(he.tsbox(['exec', 'life', 'sh', '-c', 'exit 9']).status, 9);
    const replay = join(import.meta.dirname, '../../native-bindings/build/tsbox-replay');
    assert.equal(he.shell(`${replay} /bin/false -- main exec life id -u`), '0', 'the next one needs no Node');
    he.ok(['stop', 'life']);
    assert.equal(he.ok(['wait', 'life']), '3');
    he.ok(['start', 'life']);
    he.ok(['kill', 'life']);
    assert.equal(he.ok(['wait', 'life']), '137');
    he.ok(['rm', 'life']);
    assert.equal(he.ok(['ps', '-aq']), '');
  });
  await t.test('cp: ids as the container sees them, running and not; on the host the files are his', () => {
    he.ok(['run', '-d', '--name', 'files', '-v', `${he.home}:/shared`, image, 'sleep', '1000']);
    const archive = he.shell('mkdir d; echo one > d/file; tar c --owner 33 --group 44 --numeric-owner d');
    const look = (path: string) => he.ok(['exec', 'files', 'stat', '-c', '%u:%g', path]);
    he.ok(['cp', `${he.home}/d`, 'files:/tmp']);
    assert.equal(look('/tmp/d/file'), '0:0');
    he.ok(['cp', '-', 'files:/'], { input: archive });
    assert.equal(look('/d/file'), '33:44');
    he.ok(['cp', `${he.home}/d/file`, 'files:/shared/copy']);
    he.ok(['cp', 'files:/d/file', `${he.home}/out`]);
    he.ok(['kill', 'files']);
    he.ok(['wait', 'files']);
    he.ok(['cp', '-', 'files:/home'], { input: archive });
    he.ok(['cp', 'files:/d/file', `${he.home}/out2`]);
    he.ok(['start', 'files']);
    assert.equal(look('/home/d/file'), '33:44');
    assert.equal(
      he.shell('stat -c %u copy out out2; cat copy out out2').replaceAll('\n', ' '),
      `${`${he.uid} `.repeat(3)}one one one`,
    );
    he.ok(['rm', '-f', 'files']);
  });
  await t.test('create, start --attach, rm --force of one that runs as another user', () => {
    he.ok(['create', '--name', 'cc', image, 'echo', 'made']);
    assert.equal(he.ok(['start', '--attach', 'cc']), 'made');
    he.ok(['rm', 'cc']);
    he.ok(['run', '-d', '--name', 'other', '--user', '33', image, 'sleep', '1000']);
    he.ok(['rm', '--force', 'other']);
  });
  await t.test('a terminal', async (context) => {
    const screen = terminal(context, { env: { ...process.env } });
    const words = Object.entries(he.env).map(([name, value]) => `${name}=${value}`);
    screen.type(
      `clear; exec setpriv --reuid ${he.uid} --regid ${he.gid} --clear-groups env -i TERM=xterm ${words.join(' ')} sh`,
    );
    screen.type('tsbox run --rm -it busybox:offline sh');
    await screen.see(/\/ #$/, 20_000);
    screen.type('tty; stat -c %u /dev/console');
    await screen.see(/^\/dev\/pts\/0\n0$/m);
    screen.type('exit');
    await screen.see(/\$$/);
  });
  await t.test('--explain shows who writes the maps, and that the overlay is mounted by the new process', () => {
    const { stdout, stderr } = he.tsbox(['run', '--rm', '--explain', image, 'true']);
    const shown = stdout + stderr;
    assert.match(shown, /run \["newuidmap", "\{pid\}", "0", /);
    assert.match(shown, /^ *\d+ +init +mount\("overlay".*userxattr/m);
    assert.doesNotMatch(shown, /^ *\d+ +setup +mount\(/m);
  });
});

test('rootless: files of other ids are written, committed, exported, saved, loaded and removed', async (t) => {
  if (!needs(t)) return;
  const he = user(t);
  const image = he.image();
  const script =
    'touch /a; chown 33:44 /a; chmod 4755 /a; mkdir /closed; touch /closed/x; chown -R 33:33 /closed; chmod 700 /closed; rm /bin/ls; ' +
    'rm -r /usr; mkdir /usr; touch /usr/new';
  const check = 'stat -c "%u:%g %a" /a /closed /closed/x; test -e /bin/ls; echo $?; echo /usr/*';
  const seen = '33:44 4755\n33:33 700\n33:33 644\n1\n/usr/new';
  he.ok(['run', '--name', 'one', image, 'sh', '-c', script]);
  he.ok(['commit', 'one', 'made']);
  assert.equal(he.ok(['run', '--rm', 'made', 'sh', '-c', check]), seen);
  const tar = he.tsbox(['export', 'one']).bytes;
  const listed = spawnSync('tar', ['--numeric-owner', '-tvf', '-', 'a', 'closed/x'], { input: tar, encoding: 'utf8' });
  assert.match(listed.stdout, /^-rwsr-xr-x 33\/44 .*\n.* 33\/33 /);
  const archive = join(he.home, 'made.tar');
  he.ok(['save', '--output', archive, 'made']);
  assert.equal(statSync(archive).uid, he.uid);
  he.ok(['rm', 'one']);
  he.ok(['tag', 'made', 'again']);
  he.ok(['rmi', 'made', 'again']);
  he.ok(['load', '--input', archive]);
  assert.equal(he.ok(['run', '--rm', 'made', 'sh', '-c', check]), seen);
  assert.equal(
    he.ok(['run', '--rm', 'made', 'sh', '-c', 'rm -rf /closed /a; mkdir -p /x/y; chown -R 5:5 /x; chmod 0 /x']),
    '',
  );
  he.ok(['rmi', 'made']);
  he.ok(['image', 'prune', '--force', '--all']);
  assert.equal(he.ok(['images', '-q']), '');
});

test('rootless: a running container can be committed without a pause, and exported', async (t) => {
  if (!needs(t)) return;
  const he = user(t);
  he.ok(['run', '-d', '--name', 'one', he.image(), 'sh', '-c', 'touch /f; chown 7:8 /f; exec sleep 100']);
  await until('the file', () => he.ok(['exec', 'one', 'ls', '/']).includes('f\n'));
  he.ok(['commit', '--pause=false', 'one', 'made']);
  assert.equal(he.ok(['run', '--rm', 'made', 'stat', '-c', '%u:%g', '/f']), '7:8');
  const tar = he.tsbox(['export', 'one']).bytes;
  assert.match(
    spawnSync('tar', ['--numeric-owner', '-tvf', '-', 'f'], { input: tar, encoding: 'utf8' }).stdout,
    / 7\/8 /,
  );
});

test('rootless: bind mounts, the host network, and what belongs to root', async (t) => {
  if (!needs(t)) return;
  const he = user(t);
  const image = he.image();
  const shared = join(he.home, 'shared');
  he.shell(`mkdir ${shared}`);
  he.ok([
    'run',
    '--rm',
    '-v',
    `${shared}:/s`,
    '-v',
    `${he.home}/made/here:/m`,
    image,
    'sh',
    '-c',
    'touch /s/mine /m/f; touch /s/his; chown 5:5 /s/his',
  ]);
  assert.equal(statSync(join(shared, 'mine')).uid, he.uid);
  assert.equal(statSync(join(shared, 'his')).uid, he.starts[0]! + 4);
  assert.equal(statSync(join(he.home, 'made/here/f')).uid, he.uid);
  const script = 'rm -f /h/passwd; echo $?; cat /h/shadow >/dev/null; echo $?; touch /s/no; echo $?';
  const flags = ['-v', '/etc:/h', '-v', `${shared}:/s:ro`];
  assert.equal(he.ok(['run', '--rm', ...flags, image, 'sh', '-c', `(${script}) 2>/dev/null`]), '1\n1\n1');
  assert.ok(existsSync('/etc/passwd'));
  const links = readFileSync('/proc/net/dev', 'utf8').split('\n').length;
  const inside = he.ok([
    'run',
    '--rm',
    '--network',
    'host',
    image,
    'sh',
    '-c',
    'cat /proc/net/dev; ls /sys/class/net >&2',
  ]);
  assert.equal(inside.split('\n').length, links - 1);
});

test('rootless: what only root can do is refused with a reason', (t) => {
  if (!needs(t)) return;
  const he = user(t);
  const image = he.image();
  const refused = (flags: string[], message: RegExp) => {
    const { status, stderr } = he.tsbox(['run', '--rm', ...flags, image, 'true']);
    assert.equal(status, 125, stderr);
    assert.match(stderr, message);
  };
  refused(['--privileged'], /only root has the rights of the host to give\nhint: /);
  refused(['--pid', 'host'], /--pid host: .*\nhint: /);
  refused(['--ipc', 'shareable'], /--ipc shareable: .*\nhint: /);
  refused(['--userns', 'default'], /only root may choose one\nhint: /);
  he.ok(['run', '-d', '--name', 'one', image, 'sleep', '100']);
  const paused = he.tsbox(['commit', 'one', 'x']);
  assert.match(paused.stderr, /no cgroup that can be frozen\nhint: .*--pause=false/);
});

test('rootless: without subordinate ids there is one user, and that is said once', (t) => {
  if (!needs(t)) return;
  const he = user(t, []);
  const first = he.tsbox(['run', '--rm', '--pull', 'never', 'none-such', 'true']);
  assert.match(first.stderr, /WARNING: .*\/etc\/subuid.*usermod --add-subuids/);
  const image = he.image();
  const said = he.tsbox([
    'run',
    '--rm',
    image,
    'sh',
    '-c',
    'id -u; cat /proc/self/uid_map; touch /f; rm /bin/ls; tty; ls -ln /etc/passwd',
  ]);
  assert.equal(said.status, 0, said.stderr);
  assert.equal(said.stderr.includes('WARNING'), false);
  assert.match(said.stdout, new RegExp(`^0\\n +0 +${he.uid} +1\\n`));
  const other = he.tsbox(['run', '--rm', '--user', '33', image, 'true']);
  assert.equal(other.status, 125);
  assert.match(other.stderr, /EINVAL.*\nhint: That id is not mapped/);
});

test("rootless: when another user's test ends, nobody's container ends with it", async (t) => {
  if (!needs(t)) return;
  const he = user(t);
  he.ok(['run', '-d', '--name', 'goes-on', he.image(), 'sleep', '300']);
  await t.test('another user', (t) => void user(t));
  assert.equal(he.ok(['inspect', '--format', '{{.State.Running}}', 'goes-on']), 'true');
});

test("rootless: a user's data and run roots are his own", (t) => {
  if (!needs(t)) return;
  const he = user(t);
  assert.match(he.ok(['info']), new RegExp(`Data Root: ${he.dataRoot}\n`));
  assert.match(he.ok(['info']), new RegExp(`Run Root: ${he.env['XDG_RUNTIME_DIR']}/tsbox\n`));
  assert.match(he.ok(['info']), /Security Options: .*name=rootless name=userns/);
  assert.match(
    he.ok(['info'], { env: { XDG_DATA_HOME: `${he.home}/data` } }),
    new RegExp(`Data Root: ${he.home}/data/tsbox\n`),
  );
  const open = join(he.home, 'open');
  mkdirSync(open);
  chmodSync(open, 0o777);
  assert.doesNotMatch(he.ok(['info'], { env: { XDG_RUNTIME_DIR: open } }), /Run Root: .*\/open/);
});

test('rootless: volumes with files of his subordinate ids, filled, used and removed', (t) => {
  if (!needs(t)) return;
  const he = user(t);
  const image = he.image();
  const script =
    'mkdir -p /data/closed; touch /data/f; chown 5:6 /data/f /data/closed; chmod 700 /data/closed; touch /data/closed/x';
  he.ok(['run', '--name', 'maker', image, 'sh', '-c', script]);
  he.ok(['commit', '--change', 'VOLUME /data', '--change', 'CMD ["true"]', 'maker', 'vol:img']);
  he.ok(['rm', 'maker']);
  const inside = 'stat -c "%u:%g" /data /data/f /data/closed; ls /data/closed; touch /data/new; chown 33 /data/new';
  assert.equal(he.ok(['run', '--rm', '-v', 'vv:/data', 'vol:img', 'sh', '-c', inside]), '0:0\n5:6\n5:6\nx');
  const data = join(he.dataRoot, 'volumes/vv/_data');
  assert.equal(statSync(data).uid, he.uid);
  assert.equal(statSync(join(data, 'f')).uid, he.starts[0]! + 4);
  assert.equal(he.ok(['run', '--rm', '-v', 'vv:/x:ro', image, 'ls', '/x/closed', '/x/new']), '/x/new\n\n/x/closed:\nx');
  he.ok(['run', '--rm', 'vol:img']);
  assert.equal(he.ok(['volume', 'ls', '-q']), 'vv', 'those without a name went with their container');
  he.ok(['volume', 'create', '-o', 'type=tmpfs', '-o', 'device=tmpfs', 'tm']);
  const refused = he.tsbox(['run', '--rm', '-v', 'tm:/x', image, 'true']);
  assert.deepEqual(
    [refused.status, /mount volume tm of type tmpfs: only root may do that/.test(refused.stderr)],
    [125, true],
  );
  assert.match(he.ok(['run', '--rm', '--tmpfs', '/x:size=1m', image, 'grep', ' /x ', '/proc/mounts']), /size=1024k/);
  assert.match(he.ok(['system', 'df']), /^Local Volumes +1 +0 /m);
  he.ok(['volume', 'rm', 'vv', 'tm']);
  assert.equal(existsSync(join(he.dataRoot, 'volumes/vv')), false);
});
