/** `tsbox run` as a user of Docker knows it: exit codes, streams, and what each flag does. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { requires } from '../requires.ts';
import { type Running, type Sandbox, sandbox, until } from './harness.ts';

const sha256 = (data: Buffer) => createHash('sha256').update(data).digest('hex');

const waitFor = (running: Running, pattern: RegExp) =>
  until(`${pattern} on standard output`, () => pattern.test(running.stdout()));

/** Runs a shell script in a container of its own. @returns its lines */
const inside = (box: Sandbox, flags: string[], script: string): string[] =>
  box.ok(['run', '--rm', ...flags, box.image(), 'sh', '-c', script]).split('\n');

test('run: exit codes', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const image = box.image();
  const cases: [name: string, command: string[], status: number, message?: RegExp][] = [
    ['of the command', ['sh', '-c', 'exit 42'], 42],
    ['255', ['sh', '-c', 'exit 255'], 255],
    ['127 for a command that is not in PATH', ['nope'], 127, /exec "nope": executable file not found in \$PATH/],
    ['127 for a path that is not there', ['/bin/nope'], 127, /exec "\/bin\/nope": ENOENT/],
    ['127 for a path through a file', ['/etc/passwd/x'], 127, /ENOTDIR/],
    ['126 for a file that is not executable', ['/etc/passwd'], 126, /exec "\/etc\/passwd": EACCES/],
    ['126 for a directory', ['/etc'], 126, /EACCES/],
  ];
  for (const [name, command, status, message = /^$/] of cases) {
    await t.test(name, async () => {
      const result = box.tsbox(['run', '--rm', image, ...command]);
      assert.equal(result.status, status, result.stderr);
      assert.match(result.stderr, message);
      assert.equal(result.stdout, '');
      assert.equal(await box.quick(['ps', '--all', '--quiet']), '');
    });
  }
  await t.test('125 for what tsbox refuses, and nothing is made', async () => {
    const refused: [string[], RegExp][] = [
      [['--nope', image], /unknown flag: --nope/],
      [['--network', 'bridge', image], /network bridge not found/],
      [['--memory', '1m', image], /Minimum memory limit allowed is 6MB/],
      [['--cap-add', 'NOPE', image], /NOPE/],
      [['-w', 'relative', image], /the working directory 'relative' is invalid/],
      [['-u', 'nobody-here', image], /unable to find user nobody-here/],
      [['-u', '0:nogroup-here', image], /unable to find group nogroup-here/],
      [['-u', '99999999999', image], /uids and gids must be in range/],
      [['-v', 'n/a:/x', image], /includes invalid characters for a local volume name/],
      [['-v', '/a:relative', image], /must be absolute/],
      [['-v', '/a:/x', '-v', '/b:/x', image], /Duplicate mount point: \/x/],
      [['--name', '-x', image], /Invalid container name/],
      [['--stop-signal', 'NOPE', image], /signal/i],
      [['--pull', 'never', 'no-such-image'], /no-such-image/],
    ];
    for (const [args, message] of refused) {
      const result = box.tsbox(['run', '--rm', ...args, 'true']);
      assert.equal(result.status, 125, args.join(' '));
      assert.match(result.stderr, message);
      assert.equal(result.stdout, '');
    }
    assert.equal(await box.quick(['ps', '--all', '--quiet']), '');
  });
  await t.test('128+n when a signal ended the first process', async () => {
    const running = box.start(['run', '--rm', '--name', 'victim', image, 'sh', '-c', 'echo up; sleep 100']);
    await waitFor(running, /up/);
    await box.quick(['kill', 'victim']);
    assert.equal((await running.done).status, 137);
  });
  await t.test('a container that did not start stays, as with Docker, and says why', async () => {
    const { status } = box.tsbox(['run', '--name', 'unstarted', image, 'nope']);
    assert.equal(status, 127);
    const format = '{{.State.Status}} {{.State.ExitCode}} {{.State.Error}}';
    assert.match(await box.quick(['inspect', '-f', format, 'unstarted']), /^created 127 exec "nope"/);
    await box.quick(['rm', 'unstarted']);
    // The command is not to blame.
    assert.equal(box.tsbox(['run', '--name', 'unstarted', '--tmpfs', '/x:uid=nobody', image, 'true']).status, 125);
    assert.match(await box.quick(['inspect', '-f', format, 'unstarted']), /^created 128 start the container: mount/);
    await box.quick(['rm', 'unstarted']);
  });
});

test('run: standard streams', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const image = box.image();
  await t.test('output and errors stay apart', () => {
    const result = box.tsbox(['run', '--rm', image, 'sh', '-c', 'echo out; echo err >&2; echo out2']);
    assert.deepEqual([result.stdout, result.stderr], ['out\nout2\n', 'err\n']);
  });
  await t.test('10 MB go through unchanged in both directions', () => {
    const data = randomBytes(10 << 20);
    const { status, bytes } = box.tsbox(['run', '--rm', '-i', image, 'cat'], { input: data });
    assert.equal(status, 0);
    assert.equal(bytes.length, data.length);
    assert.equal(sha256(bytes), sha256(data));
  });
  await t.test('10 MB of standard error, while standard output is small', () => {
    const script = 'echo begin; head -c 10485760 /dev/zero >&2; echo end';
    const { stdout, stderr } = box.tsbox(['run', '--rm', image, 'sh', '-c', script]);
    assert.equal(stdout, 'begin\nend\n');
    assert.equal(stderr.length, 10 << 20);
  });
  await t.test('a closed standard input is end of file', () => {
    assert.equal(box.tsbox(['run', '--rm', '-i', image, 'wc', '-c'], { input: '' }).stdout, '0\n');
    assert.equal(box.tsbox(['run', '--rm', '-i', image, 'wc', '-c'], { input: 'four' }).stdout, '4\n');
  });
  await t.test('without -i standard input is empty, whatever is sent', () => {
    assert.equal(box.tsbox(['run', '--rm', image, 'wc', '-c'], { input: 'not for you' }).stdout, '0\n');
  });
  await t.test('a command that does not read its input ends all the same', async () => {
    const { status, stderr } = await box.start(['run', '--rm', '-i', image, 'true'], { input: randomBytes(1 << 20) })
      .done;
    assert.deepEqual([status, stderr], [0, '']);
  });
  await t.test('input comes while the command runs', async () => {
    const running = box.start(['run', '--rm', '-i', image, 'cat']);
    running.child.stdin!.write('one\n');
    await waitFor(running, /one/);
    running.child.stdin!.end('two\n');
    assert.equal((await running.done).stdout, 'one\ntwo\n');
  });
  await t.test('/dev/stdout and /dev/stderr can be opened, also by another user', () => {
    for (const user of ['root', 'tester']) {
      const script = 'echo a > /dev/stdout; echo b > /dev/stderr';
      const { status, stdout, stderr } = box.tsbox(['run', '--rm', '-u', user, image, 'sh', '-c', script]);
      assert.deepEqual([status, stdout, stderr], [0, 'a\n', 'b\n']);
    }
  });
  await t.test('a reader that goes away ends tsbox, not with an internal error', async () => {
    const running = box.start(['run', '--rm', '--name', 'yes', image, 'yes']);
    await waitFor(running, /y/);
    running.child.stdout!.destroy();
    const { status, stderr } = await running.done;
    assert.equal(status, 141);
    assert.equal(stderr, '');
    await box.quick(['rm', '-f', 'yes']);
  });
});

test('run: flags', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const image = box.image();
  await t.test("the container's own flags are its own", () => {
    const result = box.ok(['run', '--rm', image, 'echo', '-t', '--rm', '--help', '-it', '--', '--name=x']);
    assert.equal(result, '-t --rm --help -it -- --name=x');
    assert.match(box.ok(['run', '--rm', image, 'ls', '-d', '-1', '/bin']), /^\/bin$/);
    assert.equal(box.tsbox(['run', '--rm', image, 'ls', '-t', '--rm']).status, 1, 'ls does not know --rm');
  });
  await t.test('environment: defaults', () => {
    const env = inside(box, [], 'env').filter((line) => !/^(SHLVL|PWD)=/.test(line));
    const names = env.map((line) => line.split('=')[0]).sort();
    assert.deepEqual(names, ['HOME', 'HOSTNAME', 'PATH']);
    assert.ok(env.includes('PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'));
    assert.ok(env.includes('HOME=/root'));
    assert.match(env.find((line) => line.startsWith('HOSTNAME='))!, /^HOSTNAME=[0-9a-f]{12}$/);
  });
  await t.test('environment: TERM with a terminal, HOME of the user', () => {
    assert.deepEqual(inside(box, ['-t'], 'echo $TERM'), ['xterm\r']);
    assert.deepEqual(inside(box, ['-u', 'tester'], 'echo $HOME'), ['/home']);
    assert.deepEqual(inside(box, ['-u', '4711'], 'echo $HOME'), ['/']);
  });
  await t.test('-e sets, takes from the caller, and leaves out what the caller has not', () => {
    const options = { env: { FROM_OUTSIDE: 'yes' } };
    const flags = ['-e', 'A=1', '-e', 'A=2', '-e', 'B=x=y z', '-e', 'EMPTY=', '-e', 'FROM_OUTSIDE', '-e', 'NOT_THERE'];
    const env = box.ok(['run', '--rm', ...flags, image, 'env'], options).split('\n');
    for (const line of ['A=2', 'B=x=y z', 'EMPTY=', 'FROM_OUTSIDE=yes']) assert.ok(env.includes(line), line);
    assert.ok(!env.includes('A=1') && !env.some((line) => line.startsWith('NOT_THERE')));
    assert.deepEqual(inside(box, ['-e', 'PATH=/bin', '-e', 'HOME=/tmp'], 'echo $PATH $HOME'), ['/bin /tmp']);
    assert.deepEqual(inside(box, ['-e', 'HOME='], 'echo $HOME'), ['/root'], 'an empty HOME is none');
  });
  await t.test('-w changes the directory and makes it', () => {
    assert.deepEqual(inside(box, ['-w', '/usr/bin'], 'pwd'), ['/usr/bin']);
    const made = inside(box, ['-w', '/a/b/c', '-u', 'tester'], 'pwd; stat -c "%a %u" /a /a/b/c');
    assert.deepEqual(made, ['/a/b/c', '755 0', '755 0']);
  });
  await t.test('-u takes names, numbers and groups, with the supplementary groups of the image', () => {
    const cases: [string, string][] = [
      ['tester', 'uid=1000(tester) gid=1000(tester) groups=1000(tester),8(mail),50(staff),100(users)'],
      ['1000', 'uid=1000(tester) gid=1000(tester) groups=1000(tester),8(mail),50(staff),100(users)'],
      ['tester:www-data', 'uid=1000(tester) gid=33(www-data) groups=33(www-data)'],
      ['4711:815', 'uid=4711 gid=815 groups=815'],
      ['4711', 'uid=4711 gid=0(root) groups=0(root)'],
      ['root', 'uid=0(root) gid=0(root) groups=0(root)'],
      [':100', 'uid=0(root) gid=100(users) groups=100(users)'],
    ];
    const groups = (line: string) =>
      line.replace(/groups=(.*)/, (_, list) => `groups=${list.split(',').sort().join()}`);
    for (const [user, expected] of cases) assert.equal(groups(inside(box, ['-u', user], 'id')[0]!), groups(expected));
  });
  await t.test('-h names the host, in the kernel and in /etc', () => {
    const lines = inside(box, ['-h', 'box.example'], 'hostname; cat /etc/hostname; echo $HOSTNAME');
    assert.deepEqual(lines, ['box.example', 'box.example', 'box.example']);
    assert.deepEqual(inside(box, ['--hostname=two'], 'hostname'), ['two']);
  });
  await t.test('--entrypoint replaces the entrypoint, and the command of the image with it', async () => {
    assert.equal(box.ok(['run', '--rm', '--entrypoint', 'echo', image, 'a', 'b']), 'a b');
    assert.equal(box.ok(['run', '--rm', '--entrypoint', '/bin/echo', image]), '');
    await box.quick(['create', '--name', 'entry', '--entrypoint', 'echo', image]);
    assert.equal(
      await box.quick(['inspect', '-f', '{{json .Config.Entrypoint}} {{json .Config.Cmd}}', 'entry']),
      '["echo"] null',
    );
    await box.quick(['rm', 'entry']);
  });
  await t.test('an image without a command needs one', async () => {
    await box.quick(['import', join(import.meta.dirname, '../../rootfs-fixtures/build/busybox.tar'), 'bare']);
    const result = box.tsbox(['run', '--rm', 'bare']);
    assert.equal(result.status, 125);
    assert.match(result.stderr, /no command specified/);
  });
  await t.test('--label, --name and -d', async () => {
    const id = box.ok(['run', '-d', '--label', 'a=1', '-l', 'b', '--name', 'labelled', image, 'sleep', '100']);
    assert.match(id, /^[0-9a-f]{64}$/);
    assert.equal(await box.quick(['inspect', '-f', '{{json .Config.Labels}}', 'labelled']), '{"a":"1","b":""}');
    assert.equal(await box.quick(['inspect', '-f', '{{.Name}} {{.State.Running}}', id.slice(0, 6)]), '/labelled true');
    await box.quick(['rm', '-f', 'labelled']);
  });
  await t.test('--cidfile has the id, is never overwritten, and is gone after a failure', async () => {
    const file = join(box.directory, 'cid');
    box.ok(['run', '--cidfile', file, image, 'true']);
    const id = readFileSync(file, 'utf8');
    assert.match(id, /^[0-9a-f]{64}$/);
    const again = box.tsbox(['run', '--cidfile', file, image, 'true']);
    assert.equal(again.status, 125);
    assert.match(again.stderr, /cid/);
    assert.equal(readFileSync(file, 'utf8'), id);
    await box.quick(['rm', id]);
    await box.quick(['rm', await box.quick(['create', '--cidfile', '', image])]);
    const other = join(box.directory, 'cid2');
    assert.equal(box.tsbox(['run', '--cidfile', other, '--name', '!', image, 'true']).status, 125);
    assert.ok(!existsSync(other));
    assert.equal(await box.quick(['ps', '-aq']), '');
  });
  await t.test('--read-only: the root file system, but not /dev and /dev/shm', () => {
    const script = 'touch /x; touch /etc/hosts; touch /dev/shm/x /dev/x && echo dev';
    const { stdout, stderr } = box.tsbox(['run', '--rm', '--read-only', image, 'sh', '-c', script]);
    assert.equal(stdout, 'dev\n');
    assert.match(stderr, /\/x: Read-only file system[\s\S]*\/etc\/hosts: Read-only file system/);
  });
  await t.test('--read-only works with a working directory and a mount point that are there', () => {
    const flags = ['--read-only', '-w', '/tmp', '-v', `${box.directory}:/home`];
    assert.deepEqual(inside(box, flags, 'pwd; test -d /home/d && echo bound'), ['/tmp', 'bound']);
  });
  await t.test('--security-opt no-new-privileges', () => {
    const read = (flags: string[]) => inside(box, flags, 'grep NoNewPrivs /proc/self/status');
    assert.deepEqual(read(['--security-opt', 'no-new-privileges']), ['NoNewPrivs:\t1']);
    assert.deepEqual(read([]), ['NoNewPrivs:\t0']);
  });
  await t.test('--network host: the interfaces, the name and the files of the host', async () => {
    const links = (text: string[]) => text.map((line) => line.trim().split(':')[0]).sort();
    const hosts = () => links(readFileSync('/proc/net/dev', 'utf8').trim().split('\n').slice(2));
    // Again when other tests beside this one have made or removed one.
    await until('the interfaces of the host', () => {
      const seen = links(inside(box, ['--network', 'host'], 'tail -n +3 /proc/net/dev'));
      return isDeepStrictEqual(seen, hosts());
    });
    assert.deepEqual(inside(box, ['--network', 'host'], 'hostname'), [hostname()]);
    assert.deepEqual(inside(box, ['--network', 'host', '-h', 'mine'], 'hostname'), ['mine']);
    const file = box.ok(['run', '--rm', '--network=host', image, 'cat', '/etc/hosts']);
    assert.equal(file, readFileSync('/etc/hosts', 'utf8').replace(/\n$/, ''));
  });
  await t.test('--rm removes at the end, and --name is free again', async () => {
    for (let round = 0; round < 2; round++) box.ok(['run', '--rm', '--name', 'again', image, 'true']);
    assert.equal(await box.quick(['ps', '-aq']), '');
  });
  await t.test('generated names are words, and different', async () => {
    const ids = [1, 2, 3].map(() => box.ok(['create', image]));
    const names = ids.map((id) => box.ok(['inspect', '-f', '{{.Name}}', id]));
    for (const name of names) assert.match(name, /^\/[a-z]+_[a-z]+$/);
    assert.equal(new Set(names).size, 3);
    await box.quick(['rm', ...ids]);
  });
  await t.test('the files in /etc can be read by everybody, whatever the umask of the caller', () => {
    const script = `umask 0077; exec tsbox run --rm -u tester -v ${box.directory}/u:/u ${image} stat -c %a /etc/hosts /etc/hostname /etc/resolv.conf /u /`;
    const { stdout } = spawnSync('sh', ['-c', script], { env: box.env });
    assert.equal(stdout.toString(), '644\n644\n644\n755\n755\n');
  });
  await t.test('from a directory that was removed, with closed standard streams', () => {
    const gone = join(box.directory, 'gone');
    const script = `mkdir ${gone}; cd ${gone}; rmdir ${gone}; exec tsbox run --rm ${image} sh -c 'echo "$(pwd)"; ls /proc/self/fd | wc -l' <&- 2>&-`;
    const { status, stdout } = spawnSync('sh', ['-c', script], { env: box.env });
    assert.deepEqual([status, stdout.toString()], [0, '/\n4\n']);
  });
  await t.test('a data root with odd letters in its path, and a relative one', () => {
    const env = { TSBOX_ROOT: 'o d,a:b=c', TSBOX_RUN_ROOT: 'o r,a:b' };
    const options = { env, cwd: box.directory };
    box.ok(['import', join(import.meta.dirname, '../../rootfs-fixtures/build/busybox.tar'), 'odd'], options);
    assert.equal(box.ok(['run', '--rm', 'odd', 'echo', 'works'], options), 'works');
  });
  await t.test('a long command line', () => {
    const word = 'x'.repeat(100_000);
    assert.equal(box.ok(['run', '--rm', image, 'echo', ...Array(10).fill(word)]).length, 1_000_009);
  });
  await t.test("the image's own configuration", async () => {
    const archive = join(import.meta.dirname, '../../rootfs-fixtures/build/busybox.tar');
    const changes = [
      'ENV A=1 B=2',
      'USER tester',
      'WORKDIR /srv/app',
      'ENTRYPOINT ["echo", "entry"]',
      'CMD ["cmd"]',
      'LABEL l=1',
    ];
    await box.quick(['import', ...changes.flatMap((change) => ['--change', change]), archive, 'configured']);
    assert.equal(box.ok(['run', '--rm', 'configured']), 'entry cmd');
    assert.equal(box.ok(['run', '--rm', 'configured', 'mine']), 'entry mine');
    const shown = box.ok([
      'run',
      '--rm',
      '--entrypoint',
      'sh',
      '-e',
      'B=3',
      'configured',
      '-c',
      'echo $A $B; pwd; id -un',
    ]);
    assert.equal(shown, '1 3\n/srv/app\ntester');
    await box.quick(['create', '--name', 'labels', '-l', 'm=2', 'configured']);
    assert.equal(await box.quick(['inspect', '-f', '{{json .Config.Labels}}', 'labels']), '{"l":"1","m":"2"}');
    await box.quick(['rm', 'labels']);
  });
  await t.test('a script without #! and a file of another format say so', () => {
    const directory = join(box.directory, 'programs');
    box.ok(['run', '--rm', '-v', `${directory}:/p`, image, 'true']);
    writeFileSync(join(directory, 'plain'), 'echo hello\n', { mode: 0o755 });
    writeFileSync(join(directory, 'lost'), '#!/no/such/interpreter\n', { mode: 0o755 });
    const plain = box.tsbox(['run', '--rm', '-v', `${directory}:/p`, image, '/p/plain']);
    assert.equal(plain.status, 126);
    assert.match(plain.stderr, /ENOEXEC[\s\S]*hint: /);
    const lost = box.tsbox(['run', '--rm', '-v', `${directory}:/p`, image, '/p/lost']);
    assert.equal(lost.status, 127);
    assert.match(lost.stderr, /ENOENT[\s\S]*interpreter/);
  });
});
