/** `logs`: what a container wrote, byte for byte, through splits, rotation and restarts; and the words beside docker. */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import test from 'node:test';
import { requires } from '../requires.ts';
import { besideDocker } from './beside-docker.ts';
import { sandbox, until } from './harness.ts';

const ARCHIVE = join(import.meta.dirname, '../../rootfs-fixtures/build/busybox.tar');
const hash = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');

test('logs: binary output and lines of any length come out as they went in, attached and from the log', (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const bytes = Buffer.concat([
    randomBytes(300_000),
    Buffer.alloc(100_000, 'a'),
    Buffer.from('\n\n"\\\u2028<ü€😀>\r\n'),
    Buffer.alloc(16_383, 'b'),
    Buffer.from('€\n'),
    randomBytes(5000),
  ]);
  writeFileSync(join(box.directory, 'bytes'), bytes);
  const { bytes: attached } = box.tsbox([
    ...['run', '--name', 'cc', '-v', `${join(box.directory, 'bytes')}:/bytes`, box.image(), 'cat', '/bytes'],
  ]);
  assert.equal(hash(attached), hash(bytes), 'attached');
  assert.equal(hash(box.tsbox(['logs', 'cc']).bytes), hash(bytes), 'from the log');
  for (const entry of readFileSync(box.ok(['inspect', '-f', '{{.LogPath}}', 'cc']), 'utf8')
    .trimEnd()
    .split('\n')) {
    const { log, raw } = JSON.parse(entry) as { log: string; raw?: string };
    assert.equal(
      raw === undefined,
      Buffer.from(log).length > 0 && !log.includes('\ufffd'),
      'raw only where it is needed',
    );
  }
});

test('logs: --follow loses and doubles nothing over rotations and a restart', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const script = 'i=0; while [ $i -lt 4000 ]; do echo $1 line $i; i=$((i+1)); done; sleep 0.3; echo end';
  const flags = ['--log-opt', 'max-size=100k', '--log-opt', 'max-file=50', '-v', `${box.directory}:/run`];
  box.ok(['create', '--name', 'cc', ...flags, box.image(), 'sh', '-c', `set -- $(cat /run/round); ${script}`]);
  const expected = (round: string) => [...Array.from({ length: 4000 }, (_, line) => `${round} line ${line}`), 'end'];
  writeFileSync(join(box.directory, 'round'), 'first');
  box.ok(['start', 'cc']);
  const following = box.start(['logs', '-f', 'cc']);
  assert.deepEqual(
    (await following.done).stdout.trimEnd().split('\n'),
    expected('first'),
    'it ends with the container',
  );
  writeFileSync(join(box.directory, 'round'), 'second');
  box.ok(['start', 'cc']);
  const more = box.start(['logs', '-f', '--tail', '10000', 'cc']);
  assert.deepEqual((await more.done).stdout.trimEnd().split('\n'), [...expected('first'), ...expected('second')]);
  const path = await box.quick(['inspect', '-f', '{{.LogPath}}', 'cc']);
  const files = readdirSync(dirname(path)).filter((name) => name.includes('-json.log'));
  assert.ok(files.length > 5, files.join(' '));
  for (const [count, from] of [
    [0, 0],
    [1, 0],
    [2500, 0],
  ] as const) {
    const { stdout } = box.tsbox(['logs', '-n', String(count), 'cc']);
    const all = [...expected('first'), ...expected('second')];
    assert.deepEqual(stdout.split('\n').slice(0, -1), count === 0 ? [] : all.slice(-count), `${count} ${from}`);
  }
});

test('logs: one file is started again, and whoever follows goes on', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  // What comes next is written when the last was seen: one file keeps nothing for who is late by more than its size.
  const seen = join(box.directory, 'seen');
  mkdirSync(seen);
  const block = 'head -c 3000 /dev/zero | tr "\\0" x; echo; until [ -e /seen/$i ]; do sleep 0.05; done';
  const script = `i=0; while [ $i -lt 30 ]; do echo $i; ${block}; i=$((i+1)); done`;
  const flags = ['--log-opt', 'max-size=10k', '-v', `${seen}:/seen`];
  box.ok(['run', '-d', '--name', 'cc', ...flags, box.image(), 'sh', '-c', script]);
  const following = box.start(['logs', '-f', 'cc'], { timeout: 120_000 });
  for (let number = 0; number < 30; number++) {
    await until(`line ${number}`, () => new RegExp(`^${number}$`, 'm').test(following.stdout()));
    writeFileSync(join(seen, String(number)), '');
  }
  const { stdout } = await following.done;
  const numbers = stdout
    .split('\n')
    .filter((line) => /^\d+$/.test(line))
    .map(Number);
  assert.deepEqual(
    numbers,
    Array.from({ length: 30 }, (_, number) => number),
  );
});

test('logs: options, their errors, and what is shown of labels, as docker', async (t) => {
  if (!requires(t, 'root', 'overlay', 'command:dockerd', 'command:docker')) return;
  const { box, both, compare, same } = await besideDocker(t);
  await both('import', ARCHIVE, 'one');
  const script = 'echo out; sleep 1.1; echo later';
  const marks = ['--label', 'a=x y', '--label', 'b=2', '--env', 'C=d&e', '--env', 'D=f'];
  const options = ['labels=a,none', 'env=C', 'tag={{.Name}}/{{.ID}}', 'max-size=1m', 'max-file=3'];
  const run = ['run', '--network', 'none', '--name', 'cc', ...marks, ...options.flatMap((one) => ['--log-opt', one])];
  await both(...run, 'one', 'sh', '-c', script);
  for (const words of ['', '--details', '-n 1', '--tail x', '--since 1h', '--until 1h', '-n 0', '--since 2001-02-03']) {
    const flags = words.split(' ').filter(Boolean);
    await same('logs', ...flags, 'cc');
  }
  for (const words of ['--since never', '--until 1x']) await same('logs', ...words.split(' '), 'cc');
  const time = /^(\S+Z) out$/m.exec((await compare('logs', '-t', 'cc'))[1].stdout)![1]!;
  const own = async (...flags: string[]) => box.tsbox(['logs', ...flags, 'cc']).stdout;
  assert.equal(await own('--since', new Date(Date.parse(time) + 500).toISOString()), 'later\n');
  assert.equal(await own('--until', String(Date.parse(time) / 1000 + 0.5)), 'out\n');
  assert.equal(await own('--since', time), 'out\nlater\n', 'to the nanosecond');
  await same('logs', '-n', '+1', 'cc');
  await same('logs', '--until', '0', 'cc');
  // A nanosecond later is later; also with seconds since 1970.
  const [, seconds, digits = ''] = /(.*)\.(\d{9})Z$/.exec(time)!;
  const next = String(Number(digits) + 1).padStart(9, '0');
  const unix = Date.parse(`${seconds}Z`) / 1000;
  for (const since of [`${seconds}.${next}Z`, `${unix}.${next}`]) assert.equal(await own('--since', since), 'later\n');
  for (const until of [time, `${unix}.${digits}`]) assert.equal(await own('--until', until), 'out\n');
  await both('run', '--network', 'none', '--name', 'silent', '--log-driver', 'none', 'one', 'echo', 'shown');
  await same('logs', 'silent');
});

test('logs: a line that was split has one time and one set of labels, and counts once', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const script = 'echo one; head -c 40000 /dev/zero | tr "\\0" x; echo; echo three';
  box.ok(['run', '--name', 'cc', '--label', 'a=b', '--log-opt', 'labels=a', box.image(), 'sh', '-c', script]);
  const line = 'x'.repeat(40_000);
  assert.equal(box.ok(['logs', '-n', '2', 'cc']), `${line}\nthree`);
  const said = box.ok(['logs', '-t', '--details', 'cc']).split('\n');
  assert.deepEqual(
    said.map((text) => text.replace(/^\d{4}-\S+Z /, '')),
    ['a=b one', `a=b ${line}`, 'a=b three'],
  );
});

test('logs: --follow of a container that is removed when it ends shows all of it', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  box.ok(['run', '-d', '--rm', '--name', 'cc', box.image(), 'sh', '-c', 'echo a; sleep 1; seq 1 20000; printf z']);
  const following = box.start(['logs', '-f', 'cc']);
  await until('the first line', () => following.stdout().startsWith('a\n'));
  const { stdout, status } = await following.done;
  const numbers = Array.from({ length: 20_000 }, (_, number) => `${number + 1}\n`).join('');
  assert.deepEqual([status, stdout === `a\n${numbers}z`], [0, true]);
});

const countTo = (last: number) => Array.from({ length: last }, (_, number) => `${number + 1}\n`).join('');

for (const driver of ['json-file', 'local']) {
  test(`logs: --follow over files that ${driver} compresses, and what is left of them afterwards`, async (t) => {
    if (!requires(t, 'root', 'overlay', 'command:gzip')) return;
    const box = sandbox(t);
    const options = ['max-size=30k', 'max-file=99', 'compress=true'].flatMap((option) => ['--log-opt', option]);
    const script = 'sleep 0.4; for i in 1 2 3 4; do seq $((i*5000-4999)) $((i*5000)); sleep 0.1; done; printf end';
    box.ok(['run', '-d', '--name', 'cc', '--log-driver', driver, ...options, box.image(), 'sh', '-c', script]);
    const { stdout } = await box.start(['logs', '-f', 'cc']).done;
    assert.ok(stdout === `${countTo(20_000)}end`, 'followed');
    const [directory] = box.ok(['inspect', '-f', '{{.HostsPath}}', 'cc']).split('/hosts');
    const names = readdirSync(join(directory!, driver === 'local' ? 'local-logs' : ''));
    const rotated = names.filter((name) => /log\.\d+/.test(name));
    assert.ok(rotated.length > 5, names.join(' '));
    assert.deepEqual(
      rotated.filter((name) => !name.endsWith('.gz')),
      [],
    );
    assert.ok(box.tsbox(['logs', 'cc']).stdout === stdout, 'read again');
    for (const lines of [1, 1000, 19_000]) {
      const end = stdout.split('\n').slice(-lines).join('\n');
      assert.ok(box.tsbox(['logs', '-n', String(lines), 'cc']).stdout === end, `the last ${lines}`);
    }
  });
}

test('logs: files of the driver local are those of docker, and each reads what the other has written', async (t) => {
  if (!requires(t, 'root', 'overlay', 'command:dockerd', 'command:docker', 'command:gzip')) return;
  const { both, compare, same } = await besideDocker(t);
  await both('import', ARCHIVE, 'one');
  const options = ['max-size=5k', 'max-file=4'].flatMap((option) => ['--log-opt', option]);
  const long = 'echo; head -c 40000 /dev/zero | tr "\\0" x; echo; printf end';
  const script = `for i in 1 2 3 4 5; do seq 100; sleep 0.2; done; ${long}; sleep 0.3`;
  await both(
    'run',
    '--network',
    'none',
    '--name',
    'cc',
    '--log-driver',
    'local',
    ...options,
    'one',
    'sh',
    '-c',
    script,
  );
  await same('inspect', '-f', '{{.LogPath}} {{json .HostConfig.LogConfig}}', 'cc');
  const roots = await compare('info', '-f', '{{.DockerRootDir}}');
  const directories = roots.map(({ stdout: root }) => {
    const containers = join(root.trim(), 'containers');
    const [directory] = readdirSync(containers).map((id) => join(containers, id, 'local-logs'));
    return directory!;
  });
  const read = async () => (await compare('logs', 'cc')).map(({ stdout }) => stdout.replace(/\n$/, ''));
  const [docker, tsbox] = (await read()) as [string, string];
  // Docker 20.10 does not know any more that a line which it has split had an end; later ones do.
  const asDocker = (text: string) => text.replace(/(x{40000})\n/, '$1');
  const end = `\n\n${'x'.repeat(40_000)}\nend`;
  assert.ok(tsbox.endsWith(end) && /^\d+\n/.test(tsbox), tsbox.slice(0, 100));
  const files = directories.map((directory) => readdirSync(directory).sort());
  assert.deepEqual(
    files[1]!.filter((name) => !name.endsWith('.gz')),
    ['container.log'],
  );
  const kept = directories.map((directory, side) =>
    files[side]!.map((name) => [name, readFileSync(join(directory, name))] as const),
  );
  for (const [side, directory] of directories.entries()) {
    for (const name of files[side]!) rmSync(join(directory, name));
    for (const [name, bytes] of kept[1 - side]!) writeFileSync(join(directory, name), bytes, { mode: 0o640 });
  }
  const crossed = await read();
  assert.ok(asDocker(crossed[0]!) === asDocker(tsbox), 'docker reads ours');
  assert.ok(asDocker(crossed[1]!) === asDocker(docker) && crossed[1]!.endsWith(end), "tsbox reads docker's");
});

test('logs: mode=non-blocking keeps what fits, and all of it when there is time', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const flags = ['mode=non-blocking', 'max-size=20k', 'max-file=90'].flatMap((option) => ['--log-opt', option]);
  box.ok(['run', '-d', '--name', 'cc', ...flags, box.image(), 'sh', '-c', 'seq 10000; sleep 0.3; printf end']);
  const { stdout } = await box.start(['logs', '-f', 'cc']).done;
  assert.ok(stdout === `${countTo(10_000)}end`);
  const small = ['mode=non-blocking', 'max-buffer-size=1'].flatMap((option) => ['--log-opt', option]);
  box.ok(['run', '--name', 'dd', ...small, box.image(), 'seq', '300000']);
  const kept = box.tsbox(['logs', 'dd']).stdout.trimEnd().split('\n').map(Number);
  assert.ok(kept.length > 0 && kept.every((number, index) => index === 0 || number > kept[index - 1]!));
});
