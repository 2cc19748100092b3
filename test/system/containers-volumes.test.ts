/** `-v`: directories and files of the host in a container. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import test from 'node:test';
import { requires } from '../requires.ts';
import { sandbox } from './harness.ts';

test('volumes', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const image = box.image();
  const host = join(box.directory, 'host');
  mkdirSync(join(host, 'deep'), { recursive: true });
  writeFileSync(join(host, 'file'), 'one\n');
  const run = (flags: string[], script: string) => box.tsbox(['run', '--rm', ...flags, image, 'sh', '-c', script]);
  const lines = (flags: string[], script: string) => {
    const { status, stdout, stderr } = run(flags, script);
    assert.equal(status, 0, stderr);
    return stdout.trimEnd().split('\n');
  };
  await t.test('a directory, both ways', () => {
    assert.deepEqual(lines(['-v', `${host}:/data`], 'cat /data/file; echo two > /data/new; chown 1000:8 /data/new'), [
      'one',
    ]);
    assert.equal(readFileSync(join(host, 'new'), 'utf8'), 'two\n');
    assert.deepEqual([statSync(join(host, 'new')).uid, statSync(join(host, 'new')).gid], [1000, 8]);
  });
  await t.test('ro: neither the directory nor what is mounted below it can be written', (context) => {
    const below = join(host, 'deep');
    assert.equal(spawnSync('mount', ['-t', 'tmpfs', 'below', below]).status, 0);
    context.after(() => spawnSync('umount', ['--lazy', below]));
    const script = 'touch /data/x /data/deep/x; stat -f -c %T /data/deep; grep -c " /data" /proc/self/mountinfo; true';
    const { stdout, stderr } = run(['-v', `${host}:/data:ro`], script);
    assert.equal(stdout, 'tmpfs\n2\n');
    assert.match(stderr, /\/data\/x: Read-only file system\n.*\/data\/deep\/x: Read-only file system/);
    assert.deepEqual(lines(['-v', `${host}:/data`], 'touch /data/deep/x && ls /data/deep'), ['x']);
  });
  await t.test('a file, over one that the image has and over nothing', () => {
    const file = join(host, 'file');
    const flags = ['-v', `${file}:/etc/passwd`, '-v', `${file}:/new/place/file:ro`, '-v', `${file}:/etc/hosts`];
    assert.deepEqual(lines(flags, 'cat /etc/passwd /new/place/file /etc/hosts'), ['one', 'one', 'one']);
    const { stderr } = run(flags, 'echo x > /new/place/file');
    assert.match(stderr, /Read-only file system/);
  });
  await t.test(
    'a file over what cannot be opened, or had better not be: nothing of the image is copied for it',
    async () => {
      box.ok([
        'run',
        '--name',
        'kinds',
        image,
        'sh',
        '-c',
        'mkfifo /fifo; ln -s /no/where /dangling; mknod /blk b 7 99',
      ]);
      await box.quick(['commit', 'kinds', 'kinds']);
      const file = join(host, 'file');
      const places = ['/fifo', '/dangling', '/blk', '/bin/busybox2', '/etc/os-release'];
      const flags = places.flatMap((place) => ['-v', `${file}:${place}`]);
      const read = box.ok(['run', '--name', 'over', ...flags, 'kinds', 'cat', ...places]);
      assert.equal(read, places.map(() => 'one').join('\n'));
      const upper = await box.quick(['inspect', '-f', '{{.GraphDriver.Data.UpperDir}}', 'over']);
      assert.equal(existsSync(join(upper, 'etc/os-release')), false);
      await box.quick(['rm', 'kinds', 'over']);
    },
  );
  await t.test('one inside another, whatever the order on the command line', () => {
    const [outer, inner] = [join(box.directory, 'outer'), join(box.directory, 'inner')];
    for (const [path, name] of [
      [outer, 'o'],
      [inner, 'i'],
    ] as const) {
      mkdirSync(path);
      writeFileSync(join(path, name), '');
    }
    const flags = ['-v', `${inner}:/m/a/b`, '-v', `${join(host, 'file')}:/m/a/b/c`, '-v', `${outer}:/m`];
    assert.deepEqual(lines(flags, 'ls /m /m/a/b; cat /m/a/b/c'), ['/m:', 'a', 'o', '', '/m/a/b:', 'c', 'i', 'one']);
    assert.ok(existsSync(join(outer, 'a/b')), 'the mount point is made where it is, as with Docker');
    assert.ok(existsSync(join(inner, 'c')));
  });
  await t.test('a source that is not there becomes a directory', () => {
    const source = join(box.directory, 'fresh/one');
    assert.deepEqual(lines(['-v', `${source}:/x`], 'touch /x/y; ls /x'), ['y']);
    assert.equal(statSync(source).mode & 0o7777, 0o755);
    assert.equal(statSync(source).uid, 0);
  });
  await t.test('a source that is a symlink, and names with spaces, commas and other letters', () => {
    const odd = join(box.directory, 'a b,c=d\\é\'"');
    mkdirSync(odd);
    writeFileSync(join(odd, 'f'), 'odd');
    symlinkSync(odd, join(box.directory, 'link'));
    assert.deepEqual(lines(['-v', `${odd}:/x y,z`], 'cat "/x y,z/f"'), ['odd']);
    assert.deepEqual(lines(['-v', `${join(box.directory, 'link')}:/x`], 'cat /x/f'), ['odd']);
  });
  await t.test('sockets and devices are files', async (context) => {
    const socket = join(host, 's');
    const server = createServer();
    await new Promise<void>((listening) => server.listen(socket, listening));
    context.after(() => server.close());
    const flags = ['-v', `${socket}:/run/s`, '-v', '/dev/zero:/dev/other'];
    assert.deepEqual(lines(flags, 'test -S /run/s && echo socket; head -c 2 /dev/other | od -An -tx1'), [
      'socket',
      ' 00 00',
    ]);
  });
  await t.test(
    "the host's /dev, with what is mounted in it, and nothing is made in a directory that is shown there",
    () => {
      const mounted = 'cut -d" " -f5 /proc/self/mountinfo | grep ^/dev | sort -u';
      const host = spawnSync('sh', ['-c', mounted], { encoding: 'utf8' }).stdout.trim().split('\n');
      assert.deepEqual(lines(['-v', '/dev:/dev'], mounted), host);
      const dev = join(box.directory, 'dev');
      mkdirSync(dev);
      run(['-v', `${dev}:/dev`], 'true');
      assert.deepEqual(readdirSync(dev), []);
    },
  );
  await t.test('destinations are normalised; the root and odd modes are refused', () => {
    assert.deepEqual(lines(['-v', `${host}/:/a/../b//c/`], 'cat /b/c/file'), ['one']);
    for (const [spec, message] of [
      [`${host}:/`, /destination can't be '\/'/],
      [`${host}:/x:nope`, /invalid mode: nope/],
      ['rel/ative:/x', /includes invalid characters for a local volume name/],
      [`${host}:/x:ro:rw`, /invalid volume specification/],
      [':/x', /invalid spec: :\/x: empty section between colons/],
    ] as const) {
      const { status, stderr } = run(['-v', spec], 'true');
      assert.equal(status, 125, spec);
      assert.match(stderr, message);
    }
  });
  await t.test('inspect shows them as Docker does', async () => {
    const id = await box.quick(['create', '-v', `${host}:/data:ro`, image]);
    const [object] = JSON.parse(await box.quick(['inspect', id]));
    assert.deepEqual(object.Mounts, [
      { Type: 'bind', Source: host, Destination: '/data', Mode: 'ro', RW: false, Propagation: 'rprivate' },
    ]);
    assert.deepEqual(object.HostConfig.Binds, [`${host}:/data:ro`]);
    assert.equal(existsSync(object.GraphDriver.Data.MergedDir), false);
    await box.quick(['rm', id]);
  });
  await t.test('a bind that holds the data root does not keep the mounts of other containers', () => {
    const propagation = (...flags: string[]) => {
      const id = box.ok(['create', ...flags, image]);
      const shown = box.ok(['inspect', '-f', '{{range .Mounts}}{{.Propagation}} {{end}}', id]);
      box.ok(['rm', id]);
      return shown.trim();
    };
    assert.equal(propagation('-v', '/:/host'), 'rslave');
    assert.equal(propagation('-v', `${box.directory}:/host`), 'rslave');
    assert.equal(propagation('-v', `${box.directory}:/host:rprivate`), 'rprivate');
    assert.equal(propagation('-v', `${host}:/host`), 'rprivate');
  });
  await t.test('propagation: rslave sees what the host mounts later, rprivate does not', async (context) => {
    const shared = join(box.directory, 'shared');
    mkdirSync(join(shared, 'later'), { recursive: true });
    for (const args of [
      ['--bind', shared, shared],
      ['--make-shared', shared],
    ])
      assert.equal(spawnSync('mount', args).status, 0);
    context.after(() => {
      spawnSync('umount', ['--lazy', join(shared, 'later')]);
      spawnSync('umount', ['--lazy', shared]);
    });
    box.ok(['run', '-d', '--name', 'slave', '-v', `${shared}:/s:rslave`, image, 'sleep', '100']);
    box.ok(['run', '-d', '--name', 'private', '-v', `${shared}:/s`, image, 'sleep', '100']);
    assert.equal(spawnSync('mount', ['-t', 'tmpfs', 'later', join(shared, 'later')]).status, 0);
    writeFileSync(join(shared, 'later/seen'), '');
    assert.equal(box.ok(['exec', 'slave', 'ls', '/s/later']), 'seen');
    assert.equal(box.ok(['exec', 'private', 'ls', '/s/later']), '');
    await box.quick(['rm', '-f', 'slave', 'private']);
    const kinds = 'grep -E " /s[ /]" /proc/self/mountinfo | cut -d" " -f5,7 | sed "s/:.*//" | sort';
    for (const [mode, kind] of [
      ['shared', 'shared'],
      ['slave', 'master'],
      ['private', '-'],
    ] as const) {
      const below = kind === '-' ? 'master' : kind;
      assert.deepEqual(lines(['-v', `${shared}:/s:${mode}`], kinds), [`/s ${kind}`, `/s/later ${below}`]);
    }
    assert.equal(spawnSync('mount', ['--make-rprivate', shared]).status, 0);
    for (const flag of [`-v=${shared}:/s:rslave`, `--mount=type=bind,src=${shared},dst=/s,bind-propagation=rslave`]) {
      const { status, stderr } = run([flag], 'true');
      assert.equal(status, 125, flag);
      assert.match(stderr, /is mounted on .*shared but it is not a shared or slave mount/);
    }
  });
  await t.test('what is written to a bind is not in the container’s layer', async () => {
    box.ok([
      'run',
      '--name',
      'writer',
      '-v',
      `${host}:/data`,
      image,
      'sh',
      '-c',
      'echo x > /data/outside; echo x > /inside',
    ]);
    const [object] = JSON.parse(await box.quick(['inspect', 'writer']));
    assert.ok(existsSync(join(object.GraphDriver.Data.UpperDir, 'inside')));
    assert.ok(!existsSync(join(object.GraphDriver.Data.UpperDir, 'data/outside')));
    await box.quick(['rm', 'writer']);
    assert.ok(existsSync(join(host, 'outside')), 'and stays when the container goes');
  });
});
