/** `cp`: beside docker over a matrix of sources and destinations, and what is tsbox's own. */
import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { requires } from '../requires.ts';
import { account } from './accounts.ts';
import { attack } from './attacks/attack.ts';
import { type Sandbox, sandbox, TSBOX } from './harness.ts';
import { startDocker } from './images-setup.ts';
import { terminal } from './tmux.ts';

const ARCHIVE = join(import.meta.dirname, '../../rootfs-fixtures/build/busybox.tar');

/** Files of every kind in `directory`/s. */
function fixture(directory: string): void {
  const script = `mkdir -p s/dir/sub s/empty o; echo file > s/file; echo in > s/dir/in; echo deep > s/dir/sub/deep; ln -s file s/link
    ln -s dir s/dlink; ln -s nowhere s/broken; ln s/dir/in s/dir/hard; mkfifo s/fifo; chown 1000:1001 s/file s/dir/in; chown -h 7:8 s/link
    chmod 750 s/dir; chmod 4755 s/file; mkdir -p conflict/x conflict2; echo a > conflict2/x; ln -s n1 o/link; ln -s nowhere o/broken
    find . -exec touch -h -d 2001-02-03T04:05:06 {} +`;
  const made = spawnSync('sh', ['-ec', script], { cwd: directory, encoding: 'utf8' });
  assert.equal(made.status, 0, made.stderr);
}

/** What is below a directory: path, type, mode, owner, target of a symlink. */
function tree(directory: string): string[] {
  const { stdout } = spawnSync('find', [directory, '-printf', '%P %y %m %U:%G %l\n'], { encoding: 'utf8' });
  return stdout.trim().split('\n').sort();
}

/** Entries of a tar with owners, modes and years. */
function listed(tar: Buffer): string[] {
  const { stdout } = spawnSync('tar', ['tvf', '-', '--numeric-owner'], { input: tar });
  return stdout
    .toString()
    .replaceAll(/ (\d{4})-[\d-]+ [\d:]+ /g, ' $1 ')
    .split('\n')
    .sort();
}

/** Arguments of `cp`, in order; W/ is a directory of the host. */
const MATRIX = `
  W/s/file cc:/tmp/ | W/s/file cc:/tmp/new | W/s/file cc:/tmp/new | W/s/file cc:/nope/x | W/s/file cc:/tmp/new/
  W/s/file cc: | W/s/dir cc:/tmp/d | W/s/dir cc:/tmp/d | W/s/dir/. cc:/tmp/d2 | W/s/dir cc:/tmp/new
  W/s/link cc:/tmp/l1 | W/s/dlink cc:/tmp/l3 | W/s/dlink/ cc:/tmp/l4 | -L W/s/dlink cc:/tmp/ | W/s/broken cc:/tmp/l7
  W/s/nosuch cc:/tmp/ | W/s/fifo cc:/tmp/fifo | W/s cc:relative | W/s/file cc:/tmp/l7 | W/s/empty cc:/tmp/l1
  W/conflict/. cc:/tmp/c1 | W/conflict2/. cc:/tmp/c1 | W/conflict2/. cc:/tmp/c2 | W/conflict/. cc:/tmp/c2 | -a W/s/dir cc:/tmp/a
  W/s/file W/o | cc:/tmp cc:/other
  cc:/tmp/new W/o/ | cc:/tmp/new W/o/n1 | cc:/tmp/new W/o/nodir/x | cc:/tmp/d W/o/ | cc:/tmp/d W/o/nd
  cc:/tmp/d/. W/o/nd2 | cc:/tmp/d/ W/o/n1 | cc:/tmp/new/ W/o/x | -L cc:/tmp/l1 W/o/l2 | -L cc:/tmp/l3 W/o/l3
  cc:/tmp/nosuch W/o/ | cc:/tmp/fifo W/o/fifo | cc:/etc/../tmp/new W/o/dots | cc:/tmp/c2/. W/o/nd | cc:/tmp/new /dev/null
  cc:/tmp/new W/o/link | cc:/tmp/new W/o/broken`;

test('cp: names, messages, exit codes and files as docker', async (t) => {
  if (!requires(t, 'root', 'overlay', 'command:dockerd', 'command:docker')) return;
  const box = sandbox(t);
  const docker = await startDocker(t);
  const host = await docker('context', 'inspect', '--format', '{{.Endpoints.docker.Host}}');
  await docker('import', ARCHIVE, 'one');
  await docker('run', '--detach', '--name', 'cc', '--network', 'none', 'one', 'sleep', '1000');
  box.ok(['run', '--detach', '--name', 'cc', box.image(), 'sleep', '1000']);
  const theirs = (args: string[]) =>
    new Promise<[number, string, Buffer]>((fulfil) => {
      const env = { ...process.env, DOCKER_HOST: host };
      execFile('docker', args, { env, encoding: 'buffer' }, (error, stdout, stderr) =>
        fulfil([Number(error?.code ?? 0), stderr.toString(), stdout]),
      );
    });
  const ours = async (args: string[]): Promise<[number, string]> => {
    const { status, stderr } = await box.said(args);
    return [status ?? -1, stderr];
  };
  const [first, second] = [join(box.directory, 'docker'), join(box.directory, 'tsbox')];
  for (const place of [first, second]) {
    mkdirSync(place);
    fixture(place);
  }
  // Docker's paths on the host, and its tar's troubles, are not the user's business.
  const plain = ([status, text]: readonly [number, string, ...unknown[]], place: string) => {
    const words = text
      .replaceAll(place, 'W')
      .replace(/^time=.*\n|^hint: .*\n/gm, '')
      .replace(/^(tsbox|Error response from daemon): (Error processing tar file\(exit status 1\): )?/gm, '')
      .replace(/\/\S+\/merged\//, '/');
    return [status, words];
  };
  for (const words of MATRIX.trim().split(/\n\s*|\s+\|\s+/)) {
    const args = (place: string) => ['cp', ...words.split(' ').map((word) => word.replace(/^W/, place))];
    const [docker, tsbox] = await Promise.all([theirs(args(first)), ours(args(second))]);
    assert.deepEqual(plain(tsbox, second), plain(docker, first), words);
  }
  assert.deepEqual(tree(join(second, 'o')), tree(join(first, 'o')), 'on the host');
  for (const place of ['/tmp', '/relative/.', '/tmp/l1']) {
    const [, , tar] = await theirs(['cp', `cc:${place}`, '-']);
    assert.deepEqual(listed(box.tsbox(['cp', `cc:${place}`, '-']).bytes), listed(tar), place);
  }
});

/** The container of `name`: running, or made and never started. */
function made(box: Sandbox, name: string, running: boolean, flags: string[] = []): void {
  const words = [...flags, box.image(), 'sleep', '1000'];
  box.ok(running ? ['run', '-d', '--name', name, ...words] : ['create', '--name', name, ...words]);
}

test('cp: a tree goes in and comes out as it was, running and not', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  fixture(box.directory);
  const source = join(box.directory, 's');
  for (const running of [true, false]) {
    const name = running ? 'running' : 'stopped';
    made(box, name, running);
    box.ok(['cp', `${source}/.`, `${name}:/new`]);
    box.ok(['cp', '-a', `${name}:/new`, join(box.directory, name)]);
    assert.deepEqual(tree(join(box.directory, name)), tree(source), name);
    const [hard, other] = ['dir/in', 'dir/hard'].map((file) => statSync(join(box.directory, name, file)).ino);
    assert.equal(hard, other, 'one file with two names');
    const archive = box.tsbox(['cp', `${name}:/new`, '-']).bytes;
    box.ok(['cp', '-', `${name}:/root`], { input: spawnSync('gzip', { input: archive }).stdout });
    const back = box.tsbox(['cp', `${name}:/root/new`, '-']).bytes;
    assert.deepEqual(listed(back), listed(archive), 'an archive, compressed, from standard input');
    assert.equal(box.tsbox(['cp', '-', `${name}:/new/file`], { input: archive }).status, 1);
  }
  box.ok(['start', 'stopped']);
  assert.equal(box.ok(['exec', 'stopped', 'stat', '-c', '%a %u:%g', '/root/new/file']), '4755 1000:1001');
});

test('cp: in a terminal it says how much was copied, and where that is now', async (t) => {
  if (!requires(t, 'root', 'overlay', 'command:tmux')) return;
  const box = sandbox(t);
  made(box, 'told', false);
  const shown = terminal(t, { env: box.env, columns: 200 });
  for (const [words, where] of [
    ['told:/etc/os-release here', join(box.directory, 'here')],
    ['here told:/there', 'told:/there'],
  ] as const) {
    shown.type(`(cd ${box.directory} && ${TSBOX} cp ${words})`);
    const [, to] = await shown.see(/^Successfully copied [\d.]+kB to (.*)$/m);
    assert.equal(to, where);
    shown.clear();
  }
});

test('cp: volumes are seen, what is read-only stays as it is', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const [shared, kept] = ['shared', 'kept'].map((name) => join(box.directory, name)) as [string, string];
  for (const place of [shared, kept]) mkdirSync(place);
  writeFileSync(join(kept, 'file'), 'kept\n');
  writeFileSync(join(box.directory, 'new'), 'new\n');
  const source = join(box.directory, 'new');
  const binds = ['-v', `${shared}:/made/here`, '-v', `${kept}:/kept:ro`];
  for (const running of [true, false]) {
    const name = running ? 'running' : 'stopped';
    made(box, name, running, ['--read-only', ...binds]);
    box.ok(['cp', source, `${name}:/made/here/${name}`]);
    assert.equal(readFileSync(join(shared, name), 'utf8'), 'new\n');
    assert.equal(
      box
        .tsbox(['cp', `${name}:/kept/file`, '-'])
        .bytes.toString()
        .includes('kept\n'),
      true,
    );
    assert.match(box.tsbox(['cp', source, `${name}:/kept/`]).stderr, /: mounted volume is marked read-only$/m);
    assert.match(box.tsbox(['cp', source, `${name}:/tmp/`]).stderr, /: container rootfs is marked read-only$/m);
  }
  assert.deepEqual(readdirSync(kept), ['file']);
  made(box, 'all', true);
  const names = listed(box.tsbox(['cp', 'all:/', '-']).bytes).map((line) =>
    line.replace(/ (->|link to) .*/, '').replace(/.* /, ''),
  );
  assert.deepEqual(
    names.filter((name) => /^\/(proc|sys|dev)\/./.test(name)),
    [],
    'what the kernel makes up is no file',
  );
  assert.equal(names.includes('/bin/busybox'), true);
  assert.match(
    box.tsbox(['cp', 'all:/proc/cpuinfo', '-']).stderr,
    /Could not find the file \/proc\/cpuinfo in container all/,
  );
  box.ok(['cp', source, 'all:/etc/hostname']);
  assert.equal(box.ok(['exec', 'all', 'cat', '/etc/hostname']), 'new', 'a file that is mounted gets new content');
});

test('cp: a container that has never run has its working directory, and a bind the directory that its start would make', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const place = join(box.directory, 'not', 'there');
  const flags = ['--network', 'none', '-v', `${place}:/b`, '-w', '/work/in'];
  box.ok(['create', '--name', 'fresh', ...flags, box.image(), 'cat', '/work/in/file']);
  writeFileSync(join(box.directory, 'file'), 'new\n');
  box.ok(['cp', join(box.directory, 'file'), 'fresh:/work/in']);
  box.ok(['cp', join(box.directory, 'file'), 'fresh:/b']);
  assert.equal(readFileSync(join(place, 'file'), 'utf8'), 'new\n');
  assert.equal(box.ok(['start', '-a', 'fresh']), 'new');
  const gone = join(box.directory, 'gone');
  mkdirSync(gone);
  box.ok([
    'create',
    '--name',
    'asked',
    '--mount',
    `type=bind,src=${gone},dst=/b`,
    ...flags.slice(0, 2),
    box.image(),
    'true',
  ]);
  rmdirSync(gone);
  assert.match(box.tsbox(['cp', join(box.directory, 'file'), 'asked:/tmp']).stderr, /bind source path does not exist/);
});

test('cp: ids are those that the container sees', async (t) => {
  if (!requires(t, 'root', 'overlay', 'userns', 'command:useradd')) return;
  const box = sandbox(t);
  const { name: owner } = account(t, [65536]);
  fixture(box.directory);
  for (const running of [true, false]) {
    const name = running ? 'running' : 'stopped';
    made(box, name, running, ['--userns', owner]);
    box.ok(['cp', join(box.directory, 's'), `${name}:/new`]);
    assert.match(listed(box.tsbox(['cp', `${name}:/new/file`, '-']).bytes).join('\n'), / 1000\/1001 /);
    if (!running) box.ok(['start', name]);
    const seen = box.ok(['exec', name, 'stat', '-c', '%u:%g', '/new', '/new/file', '/new/link']);
    assert.equal(seen, '0:0\n1000:1001\n7:8', name);
  }
});

test('cp: a symlink that is swapped meanwhile does not lead out of the container', async (t) => {
  if (!requires(t, 'root', 'overlay', 'command:gcc')) return;
  const box = sandbox(t);
  const { flags } = attack(box);
  const secret = join(box.directory, 'secret');
  mkdirSync(secret);
  writeFileSync(join(secret, 'file'), 'of the host');
  mkdirSync(join(box.directory, 'place'));
  writeFileSync(join(box.directory, 'place/file'), 'of the caller');
  symlinkSync('file', join(box.directory, 'place/link'));
  for (const [index, target] of [secret, `/proc/1/root${secret}`, `../../../../../..${secret}`].entries()) {
    const name = `swapping${index}`;
    made(box, name, true, [...flags]);
    // The attacker's container has a directory of that name too: an answer from there is right.
    const script = `mkdir -p ${secret} /tmp/place; echo of the container > ${secret}/file; cp ${secret}/file /tmp/place/; ln -s ${target} /tmp/other`;
    box.ok(['exec', name, 'sh', '-c', script]);
    box.ok(['exec', '-d', name, '/attack', 'swap', '/tmp/place', '/tmp/other']);
    for (let tries = 0; tries < 6; tries++) {
      await box.said(['cp', join(box.directory, 'place'), `${name}:/tmp`]);
      await box.said(['cp', join(box.directory, 'place/file'), `${name}:/tmp/place/`]);
      const out = join(box.directory, `out-${index}-${tries}`);
      await box.said(['cp', `${name}:/tmp/place/file`, out]);
      if (tries < 1)
        box.tsbox(['cp', '-', `${name}:/tmp/place`], { input: box.tsbox(['cp', `${name}:/tmp/place`, '-']).bytes });
      const read = spawnSync('cat', [out], { encoding: 'utf8' }).stdout;
      assert.match(read, /^(|of the (container|caller)\n?)$/, target);
      assert.deepEqual(readdirSync(secret), ['file'], target);
      assert.equal(readFileSync(join(secret, 'file'), 'utf8'), 'of the host', target);
    }
    box.ok(['rm', '-f', name]);
  }
});

test('cp: the working directory has been removed', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  box.ok(['create', '--name', 'one', box.image(), 'true']);
  const script = 'mkdir gone && cd gone && rmdir ../gone && exec "$@"';
  const copy = (to: string) =>
    spawnSync('sh', ['-c', script, 'sh', TSBOX, 'cp', 'one:/etc/passwd', to], { cwd: box.directory, env: box.env });
  assert.equal(copy(join(box.directory, 'passwd')).status, 0);
  assert.match(readFileSync(join(box.directory, 'passwd'), 'utf8'), /^root:/);
  const relative = copy('passwd');
  assert.equal(relative.status, 1);
  assert.match(relative.stderr.toString(), /^tsbox: find the working directory: ENOENT/m);
});
