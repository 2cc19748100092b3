/** `exec` and `logs`. */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { requires } from '../requires.ts';
import { sandbox, until } from './harness.ts';

const sha256 = (data: Buffer) => createHash('sha256').update(data).digest('hex');

test('exec', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const flags = ['-e', 'A=1', '-e', 'B=2', '-u', 'tester', '-w', '/home', '--cap-add', 'SYS_TIME', '--name', 'host'];
  box.ok(['run', '-d', ...flags, box.image(), 'sleep', '1000']);
  const exec = (...args: string[]) => box.ok(['exec', ...args]);
  await t.test('exit codes', () => {
    const cases: [string[], number, RegExp][] = [
      [['sh', '-c', 'exit 33'], 33, /^$/],
      [['nope'], 127, /exec "nope": executable file not found in \$PATH/],
      [['/etc/passwd'], 126, /EACCES/],
      [['sh', '-c', 'kill -KILL $$'], 137, /^$/],
    ];
    for (const [command, status, message] of cases) {
      const result = box.tsbox(['exec', 'host', ...command]);
      assert.equal(result.status, status, command.join(' '));
      assert.match(result.stderr, message);
    }
    assert.equal(box.tsbox(['exec', 'nowhere', 'true']).status, 1);
    assert.equal(box.tsbox(['exec', '-u', 'no-such-user', 'host', 'true']).status !== 0, true);
  });
  await t.test('what the container was run with is what it has', () => {
    assert.equal(exec('host', 'sh', '-c', 'echo $A $B $HOME; pwd; id -un'), '1 2 /home\n/home\ntester');
  });
  await t.test('-e, -w and -u', () => {
    const shown = exec(
      '-e',
      'B=3',
      '-e',
      'C',
      '-w',
      '/tmp',
      '-u',
      'root',
      'host',
      'sh',
      '-c',
      'echo $A$B$C $HOME; pwd; id',
    );
    assert.equal(shown, '13 /root\n/tmp\nuid=0(root) gid=0(root) groups=0(root)');
    assert.equal(exec('-u', '77:50', 'host', 'id'), 'uid=77 gid=50(staff) groups=50(staff)');
    assert.equal(exec('-w', '', 'host', 'pwd'), '/home');
    assert.equal(exec('-e', 'A', '-e', 'HOME=', 'host', 'sh', '-c', 'echo $HOME$A'), '/home');
    assert.equal(exec('-e', 'HOME=', 'host', 'sh', '-c', 'echo $HOME'), '/home');
    assert.equal(box.tsbox(['exec', '-w', 'etc', 'host', 'true']).status, 126);
    const missing = box.tsbox(['exec', '-w', '/nope', 'host', 'true']);
    assert.equal(missing.status, 126);
    assert.match(missing.stderr, /chdir.*\/nope.*ENOENT/);
    assert.equal(box.tsbox(['exec', '-u', 'nosuch', 'host', 'true']).status, 126);
    for (const words of [
      ['-w', '/nope', 'host', 'true'],
      ['-u', 'nosuch', 'host', 'true'],
      ['host', 'nosuch'],
    ])
      assert.equal(box.tsbox(['exec', '-d', ...words]).status, 1, words.join(' '));
  });
  await t.test('--env-file: lines, names of the caller’s variables, and what is given by itself outdoes them', () => {
    const file = join(box.directory, 'environment');
    // Node has a flag of this name, and would heed the last line.
    writeFileSync(file, '# comment\nA=file\nB=two words\nCALLER\nNODE_OPTIONS=--bogus\n');
    const said = box.ok(['exec', '--env-file', file, '-e', 'A=flag', 'host', 'sh', '-c', 'echo $A,$B,$CALLER'], {
      env: { CALLER: 'of the caller' },
    });
    assert.equal(said, 'flag,two words,of the caller');
    const { status, stderr } = box.tsbox(['exec', '--env-file', '/nosuch', 'host', 'true']);
    assert.equal(status, 1);
    assert.match(stderr, /\/nosuch: no such file or directory/);
  });
  await t.test("the container's namespaces, cgroups and capabilities", async () => {
    const first = Number(await box.quick(['inspect', '-f', '{{.State.Pid}}', 'host']));
    const kinds = ['cgroup', 'ipc', 'mnt', 'net', 'pid', 'uts'];
    const links = exec('host', 'sh', '-c', `for kind in ${kinds.join(' ')}; do readlink /proc/self/ns/$kind; done`);
    assert.deepEqual(
      links.split('\n'),
      kinds.map((kind) => readlinkSync(`/proc/${first}/ns/${kind}`)),
    );
    for (const line of exec('host', 'cat', '/proc/self/cgroup').split('\n')) assert.match(line, /:\/$/);
    const own = exec('-u', 'root', 'host', 'grep', '-E', '^(Cap|Sig(Blk|Ign|Cgt))', '/proc/self/status');
    assert.match(own, /CapPrm:\t00000000aa0425fb\nCapEff:\t00000000aa0425fb\nCapBnd:\t00000000aa0425fb/);
    assert.match(own, /SigBlk:\t0{16}\nSigIgn:\t0{16}\nSigCgt:\t0{16}/);
  });
  await t.test('no descriptor of the host', () => {
    assert.equal(exec('host', 'ls', '/proc/self/fd'), '0\n1\n2\n3');
  });
  await t.test('standard streams: apart, whole, and to their end', () => {
    const apart = box.tsbox(['exec', 'host', 'sh', '-c', 'echo o; echo e >&2']);
    assert.deepEqual([apart.stdout, apart.stderr], ['o\n', 'e\n']);
    const data = randomBytes(4 << 20);
    assert.equal(sha256(box.tsbox(['exec', '-i', 'host', 'cat'], { input: data }).bytes), sha256(data));
    assert.equal(box.tsbox(['exec', 'host', 'wc', '-c'], { input: 'ignored' }).stdout, '0\n');
    assert.equal(box.tsbox(['exec', '-i', 'host', 'wc', '-c'], { input: '' }).stdout, '0\n');
  });
  await t.test('-d leaves at once; -t gives a terminal', async () => {
    assert.equal(exec('-d', 'host', 'sh', '-c', 'sleep 0.2; echo done > /tmp/mark'), '');
    await until('the detached command', () => box.tsbox(['exec', 'host', 'cat', '/tmp/mark']).stdout === 'done\n');
    assert.equal(exec('-t', 'host', 'sh', '-c', 'tty; echo $TERM'), '/dev/pts/0\r\nxterm\r');
  });
  await t.test("the command's own flags are its own", () => {
    assert.equal(exec('host', 'echo', '-it', '--help', '-u', 'x'), '-it --help -u x');
  });
  await t.test('many at once', async () => {
    const all = [...Array(8).keys()].map((n) =>
      box.start(['exec', 'host', 'sh', '-c', `sleep 0.1; echo ${n}; exit ${n}`]),
    );
    const results = await Promise.all(all.map((one) => one.done));
    assert.deepEqual(
      results.map(({ status, stdout }) => [status, stdout]),
      all.map((_, n) => [n, `${n}\n`]),
    );
  });
  await t.test('it ends with the container', async () => {
    const running = box.start(['exec', 'host', 'sh', '-c', 'echo up; sleep 1000']);
    await until('the command', () => running.stdout() !== '');
    await box.quick(['kill', 'host']);
    assert.equal((await running.done).status, 137);
    await box.quick(['wait', 'host']);
    const late = box.tsbox(['exec', 'host', 'true']);
    assert.equal(late.status, 1);
    assert.match(late.stderr, /is not running/);
  });
  await t.test('nothing of it stays in the run root', async () => {
    await box.quick(['rm', 'host']);
  });
});

test('logs', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const image = box.image();
  const script = 'for i in 1 2 3 4 5; do echo out $i; echo err $i >&2; usleep 20000; done; printf "no end"';
  box.ok(['run', '-d', '--name', 'writer', image, 'sh', '-c', script]);
  await t.test('-f follows to the end of the container', async () => {
    const { status, stdout, stderr } = await box.start(['logs', '-f', 'writer']).done;
    assert.equal(status, 0);
    assert.equal(stdout, `${[1, 2, 3, 4, 5].map((n) => `out ${n}\n`).join('')}no end`);
    assert.equal(stderr, [1, 2, 3, 4, 5].map((n) => `err ${n}\n`).join(''));
    assert.equal(await box.quick(['ps', '-q']), '');
  });
  await t.test('--tail and -t', () => {
    const tail = (count: string) => box.tsbox(['logs', '--tail', count, 'writer']);
    assert.equal(tail('1').stdout, 'no end');
    assert.deepEqual([tail('3').stdout, tail('3').stderr], ['out 5\nno end', 'err 5\n']);
    assert.equal(tail('0').stdout, '');
    assert.equal(tail('all').stdout.split('\n').length, 6);
    assert.equal(tail('1000').stdout, tail('all').stdout);
    for (const line of box.tsbox(['logs', '-t', 'writer']).stderr.trim().split('\n')) {
      assert.match(line, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z err \d$/);
    }
  });
  await t.test('-f --tail 1 gives the last line and what comes', async () => {
    box.ok(['run', '-d', '-i', '--name', 'asked', image, 'sh', '-c', 'echo 1; echo 2; read x; echo 3']);
    await until('two lines', () => box.tsbox(['logs', 'asked']).stdout === '1\n2\n');
    const following = box.start(['logs', '--follow', '--tail', '1', 'asked']);
    await until('the last line', () => following.stdout() === '2\n');
    box.start(['attach', 'asked'], { input: 'x\n' });
    assert.equal((await following.done).stdout, '2\n3\n');
  });
  await t.test('a fast writer: every line, in order, while it writes', async () => {
    const count = 200_000;
    box.ok(['run', '-d', '--name', 'fast', image, 'seq', '1', String(count)]);
    const { stdout } = await box.start(['logs', '-f', 'fast']).done;
    const lines = stdout.trimEnd().split('\n');
    assert.equal(lines.length, count);
    assert.ok(lines.every((line, index) => line === String(index + 1)));
  });
  await t.test('long lines, bytes that are no UTF-8, and no line at all', async () => {
    box.ok([
      'run',
      '--name',
      'long',
      image,
      'sh',
      '-c',
      'head -c 100000 /dev/zero | tr "\\0" x; echo; printf "\\303\\251\\n"',
    ]);
    assert.equal(box.ok(['logs', 'long']), `${'x'.repeat(100_000)}\né`);
    await box.quick(['create', '--name', 'silent', image, 'true']);
    assert.equal(box.ok(['logs', 'silent']), '');
    assert.equal(box.ok(['logs', '-f', 'silent']), '');
  });
  await t.test('the file is Docker’s json-file', async () => {
    const path = await box.quick(['inspect', '-f', '{{.LogPath}}', 'writer']);
    assert.ok(path.startsWith(join(box.dataRoot, 'containers')) && path.endsWith('-json.log'));
    for (const line of readFileSync(path, 'utf8').trim().split('\n')) {
      assert.deepEqual(Object.keys(JSON.parse(line)), ['log', 'stream', 'time']);
    }
  });
  await t.test('a container that is removed ends a follower', async () => {
    box.ok(['run', '-d', '--rm', '--name', 'gone', image, 'sh', '-c', 'echo here; sleep 1000']);
    const following = box.start(['logs', '-f', 'gone']);
    await until('the line', () => following.stdout() === 'here\n');
    await box.quick(['rm', '-f', 'gone']);
    assert.equal((await following.done).status, 0);
  });
  await t.test('what is not there', () => {
    const result = box.tsbox(['logs', 'nope']);
    assert.deepEqual([result.status, result.stdout], [1, '']);
    assert.match(result.stderr, /No such container: nope/);
  });
});

test('exec: in a container that is killed at that moment: it ran, or was killed, or the container does not run', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const image = box.image();
  for (let round = 0; round < 14; round++) {
    box.ok(['run', '-d', '--name', 'one', image, 'sleep', '1000']);
    box.ok(['exec', 'one', 'true']); // from now on its steps are kept, and may be run without Node
    const kinds = [['one'], ['one'], ['--privileged', 'one'], ['--privileged', 'one']];
    const execs = kinds.map((words) => box.start(['exec', ...words, 'true']));
    await new Promise((wake) => setTimeout(wake, (round % 7) * 15));
    box.ok(['kill', 'one']);
    for (const { done } of execs) {
      const { status, stderr } = await done;
      if (status !== 0 && status !== 137) assert.match(stderr, /^tsbox: container \w+ is not running\n/);
    }
    box.ok(['rm', '-f', 'one']);
  }
});
