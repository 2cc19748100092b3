/** Copies instead of a union, beside containers of the other drivers. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { requires } from '../requires.ts';
import { account } from '../system/accounts.ts';
import { type Sandbox, TSBOX, until } from '../system/harness.ts';
import { CHANGE, CHECK, conform, driven, NEEDS, SEEN, sh } from './driver.ts';

conform('vfs');

const begin = (t: TestContext) => (requires(t, ...NEEDS.vfs) ? driven(t, 'vfs') : undefined);
const overlay2 = { env: { TSBOX_STORAGE_DRIVER: 'overlay2' } };
const upperOf = (box: Sandbox, name: string) => box.ok(['inspect', '--format', '{{.GraphDriver.Data.UpperDir}}', name]);

test('vfs: a container stays what it was made, whatever the host would choose; one of a union is refused', async (t) => {
  if (!requires(t, ...NEEDS.overlay2)) return;
  const box = begin(t);
  if (box === undefined) return;
  box.ok(['create', '--name', 'copy', box.image(), 'sh', '-euc', `${CHANGE}; ${CHECK}`]);
  assert.equal(box.ok(['inspect', '--format', '{{.Driver}} {{.GraphDriver.Name}}', 'copy']), 'vfs vfs');
  assert.equal(box.ok(['start', '--attach', 'copy'], overlay2), SEEN);
  assert.match(box.ok(['diff', 'copy'], overlay2), /^D \/etc\/group$/m);
  sh(box, 'runs', 'echo x > /x; sleep 1000', '--detach');
  box.ok(['rm', '--force', 'runs'], overlay2);
  box.ok(['create', '--name', 'union', box.image(), 'true'], overlay2);
  const formOf = (name: string) => {
    const id = box.ok(['inspect', '--format', '{{.Id}}', name]);
    return JSON.parse(readFileSync(join(box.dataRoot, 'containers', id, 'config.v2.json'), 'utf8')).FormatVersion;
  };
  assert.deepEqual([formOf('copy'), formOf('union')], [2, undefined], 'a tsbox without copies refuses them');
  for (const words of [
    ['start', 'union'],
    ['cp', 'union:/etc/passwd', box.directory],
    ['export', '-o', '/dev/null', 'union'],
  ]) {
    const { status, stderr } = box.tsbox(words);
    assert.notEqual(status, 0);
    assert.match(
      stderr,
      /the container was made for a union of layers.*\n.*--storage-driver overlay2 or fuse/,
      words[0],
    );
  }
  assert.equal(box.ok(['diff', 'union']), '');
  box.ok(['commit', 'union', 'union:image']);
  assert.equal(box.ok(['run', '--rm', 'union:image', 'echo', 'runs']), 'runs');
  assert.equal(box.ok(['start', '--attach', 'union'], overlay2), '');
  box.ok(['rm', 'union']);
});

test('vfs: without changes a commit has no layer, and one of files that look as before has them', (t) => {
  const box = begin(t);
  if (box === undefined) return;
  const layers = (image: string) => JSON.parse(box.ok(['image', 'inspect', image]))[0].RootFS.Layers.length;
  sh(box, 'same', 'true', '--volume', 'vol:/var/volume/at', '--tmpfs', '/var/tmpfs');
  assert.doesNotMatch(box.ok(['diff', 'same']), /passwd/);
  box.ok(['commit', 'same', 'same:image']);
  assert.equal(layers('same:image'), layers(box.image()));
  const script = `time=$(stat -c %Y /etc/passwd); text=$(sed s/root/toor/ /etc/passwd); echo "$text" > /etc/passwd
    touch -d @$time /etc/passwd; ln /etc/group /etc/other`;
  sh(box, 'alike', script);
  assert.equal(box.ok(['diff', 'alike']), 'C /etc\nA /etc/other');
  box.ok(['commit', 'alike', 'alike:image']);
  const seen = box.ok([
    'run',
    '--rm',
    'alike:image',
    'sh',
    '-c',
    'head -c 4 /etc/passwd; test /etc/group -ef /etc/other && echo ,same',
  ]);
  assert.equal(seen, 'toor,same');
});

test('vfs: sizes are those of changes; what is removed is the whole copy', (t) => {
  const box = begin(t);
  if (box === undefined) return;
  sh(box, 'big', 'head -c 1000000 /dev/zero > /zeros; rm /etc/group');
  assert.match(box.ok(['ps', '--all', '--size', '--format', '{{.Size}}']), /^1MB \(virtual /);
  const upper = upperOf(box, 'big');
  assert.ok(existsSync(join(upper, 'bin')));
  assert.match(box.ok(['container', 'prune', '--force']), /^Total reclaimed space: [\d.]+MB$/m);
  assert.equal(existsSync(upper), false);
});

test('vfs: a copy that was cut short is made anew by the next start, and goes with rm', async (t) => {
  const box = begin(t);
  if (box === undefined) return;
  box.ok(['create', '--name', 'cut', box.image(), 'cat', '/etc/hostname', '/bin/sh']);
  const upper = upperOf(box, 'cut');
  const cut = () => {
    spawnSync('sh', [
      '-c',
      'rm -r "$0" "$1"; mkdir -p "$2/etc"; touch "$2/etc/half"',
      upper,
      join(upper, '../copied'),
      join(upper, '../.tmp-tree'),
    ]);
  };
  cut();
  for (const words of [
    ['diff', 'cut'],
    ['export', '-o', '/dev/null', 'cut'],
    ['commit', 'cut'],
  ]) {
    const { status, stderr } = box.tsbox(words);
    assert.notEqual(status, 0);
    assert.match(stderr, /not all copied yet\n.*"tsbox start" copies them/, words[0]);
  }
  assert.match(box.ok(['ps', '--all', '--size']), /0B \(virtual/);
  const file = join(box.directory, 'file');
  writeFileSync(file, 'x');
  box.ok(['cp', file, 'cut:/file']);
  assert.deepEqual(readdirSync(join(upper, '..')).sort(), ['copied', 'diff', 'driver', 'link', 'lower']);
  cut();
  box.ok(['start', '--attach', 'cut']);
  assert.equal(existsSync(join(upper, 'etc/half')), false);
  cut();
  box.ok(['rm', 'cut']);
});

test('vfs: create is killed at any moment of the copy: ps, start and rm go on', async (t) => {
  const box = begin(t);
  if (box === undefined) return;
  const image = box.image('layers');
  for (let delay = 60; delay <= 400; delay += 40) {
    const one = box.start(['create', image, 'true']);
    await new Promise((wake) => setTimeout(wake, delay));
    one.child.kill('SIGKILL');
    await one.done;
  }
  const ids = box.ok(['ps', '--all', '--quiet']).split('\n').filter(Boolean);
  for (const id of ids) {
    assert.equal(box.ok(['inspect', '--format', '{{.State.Status}}', id]), 'created');
    assert.ok([0, 125, 127].includes(box.tsbox(['start', '--attach', id]).status ?? -1));
    assert.ok(existsSync(join(upperOf(box, id), '../copied')));
  }
  if (ids.length > 0) box.ok(['rm', '--force', ...ids]);
  box.ok(['run', '--rm', box.image(), 'true']);
});

test('vfs: create and start are interrupted in the copy: no half of it is left, nor a container that was not made', async (t) => {
  const box = begin(t);
  if (box === undefined) return;
  sh(
    box,
    'maker',
    'for d in $(seq 60); do mkdir -p /many/$d; for f in $(seq 100); do echo $f > /many/$d/$f; done; done',
  );
  box.ok(['commit', 'maker', 'many:files']);
  box.ok(['rm', 'maker']);
  box.ok(['create', '--name', 'made', 'many:files', 'true']);
  const upper = upperOf(box, 'made');
  rmSync(upper, { recursive: true });
  const place = join(box.dataRoot, 'overlay2');
  const copying = () => readdirSync(place).some((name) => existsSync(join(place, name, '.tmp-tree/many')));
  const before = readdirSync(place).sort();
  const interrupted = async (words: string[]) => {
    const one = box.start(words);
    await until('the copy', () => copying() || one.child.exitCode !== null);
    one.child.kill('SIGTERM');
    return one.done;
  };
  for (const words of [
    ['create', 'many:files', 'true'],
    ['start', 'made'],
  ]) {
    let ended = await interrupted(words);
    for (let tries = 0; ended.status === 0 && tries < 5; tries++) {
      // It came to its end before the signal.
      if (words[0] === 'create') box.ok(['rm', ended.stdout.trim()]);
      else rmSync(upper, { recursive: true });
      ended = await interrupted(words);
    }
    assert.equal(ended.signal, 'SIGTERM', words[0]);
    assert.deepEqual(readdirSync(place).sort(), before, words[0]);
    assert.equal(existsSync(join(upper, '../.tmp-tree')), false, words[0]);
  }
  assert.equal(box.ok(['ps', '--all', '--format', '{{.Names}}']), 'made');
  box.ok(['start', '--attach', 'made']);
});

test('vfs: a tree that is deeper than files may be open: made, compared, committed, copied, removed', (t) => {
  const box = begin(t);
  if (box === undefined) return;
  sh(box, 'deep', 'for i in $(seq 1200); do mkdir d; cd d; done; echo x > bottom');
  const few = (...words: string[]) => {
    const script = ['-c', 'ulimit -n 500; exec "$@"', 'sh', TSBOX, ...words];
    const { status, stdout, stderr } = spawnSync('sh', script, { encoding: 'utf8', env: box.env, maxBuffer: 1 << 26 });
    assert.equal(status, 0, `${words.join(' ')}: ${stderr}`);
    return stdout.trimEnd();
  };
  assert.equal(few('diff', 'deep').split('\n').at(-1), `A ${'/d'.repeat(1200)}/bottom`);
  assert.match(few('ps', '--all', '--size'), / 2B \(virtual/);
  few('commit', 'deep', 'deep:image');
  few('create', '--name', 'copy', 'deep:image', 'sh', '-c', 'for i in $(seq 1200); do cd d; done; cat bottom');
  assert.equal(few('diff', 'copy'), '');
  assert.equal(few('start', '--attach', 'copy'), 'x');
  few('export', '--output', '/dev/null', 'copy');
  few('rm', 'deep', 'copy');
  few('rmi', 'deep:image');
  assert.deepEqual(
    readdirSync(join(box.dataRoot, 'overlay2')).filter((name) => name.includes('removing')),
    [],
  );
});

test('vfs: a full disk: create says so and leaves nothing', (t) => {
  const box = begin(t);
  if (box === undefined) return;
  box.ok(['create', '--name', 'first', box.image(), 'true']);
  const place = join(box.dataRoot, 'overlay2');
  const before = readdirSync(place).sort();
  // Room for the smallest part of a copy: the data root's file system is as good as full.
  const small = join(box.directory, 'small');
  mkdirSync(small);
  const script = `mount -t tmpfs -o size=24m small "$1" && cp -a "$2/." "$1/data" && i=0
    while "$3" --data-root "$1/data" --run-root "$1/run" create "$4" true > "$1/out" 2>&1; do i=$((i + 1)); test $i -lt 100 || exit 9; done
    cat "$1/out"; ls "$1/data/overlay2" | wc -l; ls "$1/data/containers" | wc -l; echo $i; ls -d "$1"/data/overlay2/*/.tmp-tree 2>&1 | wc -l`;
  const result = spawnSync('unshare', ['--mount', 'sh', '-c', script, 'sh', small, box.dataRoot, TSBOX, box.image()], {
    encoding: 'utf8',
    env: { ...process.env, TSBOX_STORAGE_DRIVER: 'vfs' },
  });
  assert.equal(result.status, 0, result.stdout + result.stderr);
  const [directories, containers, made] = result.stdout.trim().split('\n').slice(-4, -1).map(Number);
  assert.match(result.stdout, /copy .*: ENOSPC/);
  assert.equal(containers, made! + 1, 'no container of the one that failed');
  assert.equal(directories, before.length + 2 * made!, 'nor layers');
  assert.equal(statSync(place).isDirectory(), true);
  rmSync(small, { recursive: true });
});

test('vfs: --userns: the copy has the owners of outside, capabilities too; volumes and commits have the right ones', (t) => {
  if (!requires(t, 'userns', 'command:useradd')) return;
  const box = begin(t);
  if (box === undefined) return;
  const { name } = account(t, [65536]);
  const flags = ['--userns', name];
  box.ok(['create', '--name', 'layers', '--network', 'none', ...flags, box.image('layers'), 'true']);
  assert.equal(box.ok(['diff', 'layers']), '', 'nothing has changed by the copy');
  box.ok(['commit', 'layers', 'layers:image']);
  const ids = (image: string) => JSON.parse(box.ok(['image', 'inspect', image]))[0].RootFS.Layers;
  assert.deepEqual(ids('layers:image'), ids(box.image('layers')));
  sh(
    box,
    'mapped',
    'stat -c %u /etc/passwd /vol/passwd; echo x > /vol/new',
    ...flags,
    '--volume',
    'vol:/etc',
    '--volume',
    'vol:/vol',
  );
  assert.equal(box.ok(['logs', 'mapped']), '0\n0');
  assert.ok(statSync(join(upperOf(box, 'mapped'), 'etc/passwd')).uid >= 100_000);
  box.ok(['start', '--attach', 'mapped']);
  box.ok(['rm', '--volumes', 'mapped', 'layers']);
});

test('vfs: a data root on an overlay and no /dev/fuse: it is chosen, and commits are seen by what comes after', (t) => {
  if (!requires(t, ...NEEDS.overlay2)) return;
  const box = begin(t);
  if (box === undefined) return;
  box.ok(['image', 'inspect', box.image()]);
  const place = join(box.directory, 'place');
  mkdirSync(place);
  const script = `mount -t tmpfs -o mode=755,nosuid,nodev place "$1"; cd "$1"; mkdir l u w on dev
    mount -t overlay overlay on -o lowerdir=l,upperdir=u,workdir=w; mount -t tmpfs dev dev
    for name in null zero full random urandom tty; do cp -a /dev/$name dev/; done; mount --bind dev /dev
    cp -a "$2" on/data; tsbox="$3 --data-root $1/on/data --run-root $1/run"; image=$4
    $tsbox info --format '{{.Driver}}: {{index (index .DriverStatus 1) 1}}'
    $tsbox run --network none --name one $image sh -euc "$5"
    $tsbox commit one one:image > /dev/null; $tsbox rm one > /dev/null
    $tsbox run --network none --rm one:image sh -euc "$6"
    $tsbox run --network none --rm one:image sh -c 'echo x > /deep/null && echo device'`;
  const words = [place, box.dataRoot, TSBOX, box.image(), CHANGE, CHECK];
  const { TSBOX_STORAGE_DRIVER: _, ...env } = process.env;
  const result = spawnSync('unshare', ['--mount', 'sh', '-euc', script, 'sh', ...words], { encoding: 'utf8', env });
  assert.equal(result.status, 0, result.stdout + result.stderr);
  const [chosen, ...lines] = result.stdout.trim().split('\n');
  assert.match(
    chosen ?? '',
    /^vfs: the kernel refuses an overlay on overlay: E\w+; nor .* user space: \/dev\/fuse: ENOENT$/,
  );
  assert.deepEqual(lines, [...SEEN.split('\n'), 'device']);
});

test('vfs: programs with a set-user-ID bit and devices work on a data root that is mounted with nosuid and nodev', (t) => {
  const box = begin(t);
  if (box === undefined) return;
  box.ok(['image', 'inspect', box.image()]);
  const place = join(box.directory, 'place');
  mkdirSync(place);
  const script = `mount -t tmpfs -o mode=755,nosuid,nodev,noexec place "$1"; cp -a "$2" "$1/data"
    "$3" --data-root "$1/data" --run-root "$1/run" run --rm --network none "$4" sh -c \\
      'mknod /null c 1 3; echo x > /null && echo device; awk "\\$5 == \\"/\\" { print \\$6 }" /proc/self/mountinfo'`;
  const result = spawnSync(
    'unshare',
    ['--mount', 'sh', '-euc', script, 'sh', place, box.dataRoot, TSBOX, box.image()],
    {
      encoding: 'utf8',
      env: process.env,
    },
  );
  assert.match(result.stdout, /^device\nrw/, result.stderr);
  assert.doesNotMatch(result.stdout, /nosuid|nodev|noexec/);
});
