/** Volumes in real containers: what is in them, how long they last, and who may take them away. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { lgetxattr, lsetxattr } from '../../src/sys/xattr.ts';
import { requires } from '../requires.ts';
import { type Sandbox, sandbox, until } from './harness.ts';

/** 0x01000002: revision 2, effective; all 40 capabilities. */
const CAPABILITY = Buffer.from('0100000200000001000000000000000000000000', 'hex');

/** An image with /data, owned by 5:6, with a file of two names, a link and capabilities; `VOLUME /data`. */
async function volumeImage(box: Sandbox): Promise<string> {
  const image = box.image();
  const script =
    'mkdir -p /data/sub; echo hi >/data/f; chown 5:6 /data /data/f; chmod 2750 /data; chmod 4711 /data/f; ' +
    'ln -s /etc/passwd /data/l; ln /data/f /data/sub/h; mkfifo /data/p';
  box.ok(['run', '--name', 'maker', image, 'sh', '-c', script]);
  const [{ GraphDriver }] = JSON.parse(await box.quick(['inspect', 'maker']));
  lsetxattr(join(GraphDriver.Data.UpperDir, 'data/f'), 'security.capability', CAPABILITY);
  await box.quick(['commit', '--change', 'VOLUME /data', '--change', 'CMD ["true"]', 'maker', 'vol:img']);
  await box.quick(['rm', 'maker']);
  return 'vol:img';
}

const volumes = async (box: Sandbox) => (await box.quick(['volume', 'ls', '-q'])).split('\n').filter(Boolean);
const dataOf = (box: Sandbox, name: string) => join(box.dataRoot, 'volumes', name, '_data');

test('volumes: content, lifetimes, owners', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const image = await volumeImage(box);
  const busybox = box.image();

  await t.test('a named one outlives its container, and is refused while a container has it', async () => {
    box.ok(['run', '--rm', '-v', 'named:/x', busybox, 'sh', '-c', 'echo one >/x/f']);
    const id = await box.quick(['create', '-v', 'named:/x:ro', busybox, 'sh', '-c', 'cat /x/f; echo two >/x/f']);
    const refused = await box.said(['volume', 'rm', '-f', 'named']);
    assert.deepEqual([refused.status, refused.stderr.includes(`remove named: volume is in use - [${id}]`)], [1, true]);
    const { status, stdout } = box.tsbox(['start', '-a', id]);
    assert.deepEqual([status, stdout], [1, 'one\n'], 'and read-only is read-only');
    assert.equal(await box.quick(['ps', '-aq', '--no-trunc', '--filter', 'volume=named']), id);
    assert.equal(await box.quick(['ps', '-aq', '--no-trunc', '--filter', 'volume=/x']), id);
    assert.equal(await box.quick(['ps', '-aq', '--filter', 'volume=other']), '');
    await box.quick(['rm', '-v', id]);
    assert.deepEqual(await volumes(box), ['named']);
    await box.quick(['volume', 'rm', 'named']);
  });

  await t.test("the image's files are copied with owners, modes, links and attributes", async () => {
    await box.quick(['create', '--name', 'first', image]);
    const [point] = JSON.parse(await box.quick(['inspect', '-f', '{{json .Mounts}}', 'first']));
    const { Name: name, ...rest } = point;
    assert.match(name, /^[0-9a-f]{64}$/);
    const fields = { Type: 'volume', Destination: '/data', Driver: 'local', Mode: '', RW: true, Propagation: '' };
    assert.deepEqual(rest, { ...fields, Source: dataOf(box, name) });
    const [data, file, other] = ['', 'f', 'sub/h'].map((path) => lstatSync(join(dataOf(box, name), path)));
    assert.deepEqual([data!.uid, data!.gid, data!.mode & 0o7777], [5, 6, 0o2750]);
    assert.deepEqual([file!.uid, file!.gid, file!.mode & 0o7777, file!.ino], [5, 6, 0o4711, other!.ino]);
    assert.ok(lstatSync(join(dataOf(box, name), 'p')).isFIFO());
    assert.deepEqual(lgetxattr(join(dataOf(box, name), 'f'), 'security.capability'), CAPABILITY);
    const upper = await box.quick(['inspect', '-f', '{{.GraphDriver.Data.UpperDir}}', 'first']);
    box.ok(['start', '-a', 'first']);
    assert.deepEqual(readdirSync(upper), [], 'and nothing of it is in the container’s layer');
    await box.quick(['rm', 'first']);
    assert.deepEqual(await volumes(box), [name], 'without -v it stays');
    await box.quick(['volume', 'prune', '-f']);
    assert.deepEqual(await volumes(box), []);
  });

  await t.test('one that has something in it, and one with nocopy, are left as they are', async () => {
    await box.quick(['volume', 'create', 'used']);
    writeFileSync(join(dataOf(box, 'used'), 'own'), '');
    const ids = [
      await box.quick(['create', '-v', 'used:/data', image]),
      await box.quick(['create', '-v', 'bare:/data:nocopy', image]),
      await box.quick(['create', '--mount', 'src=bare,dst=/data,volume-nocopy', image]),
    ];
    assert.deepEqual(
      ['used', 'bare'].map((name) => readdirSync(dataOf(box, name))),
      [['own'], []],
    );
    await box.quick(['rm', '-v', ...ids]);
    await box.quick(['volume', 'rm', 'used', 'bare']);
  });

  await t.test('a symlink of the image does not lead the copy out of the container', async () => {
    const secret = join(box.directory, 'secret');
    mkdirSync(secret);
    writeFileSync(join(secret, 'key'), 'secret');
    const far = '../'.repeat(20);
    box.ok([
      'run',
      '--name',
      'liar',
      busybox,
      'sh',
      '-c',
      `ln -s ${secret} /one; ln -s ${far}${secret} /two; mkdir /in; ln -s /in /three; touch /in/ok`,
    ]);
    await box.quick(['commit', 'liar', 'liar:img']);
    const places = ['one', 'two', 'three'].flatMap((name) => ['-v', `${name}0:/${name}`]);
    await box.quick(['create', '--name', 'lies', ...places, 'liar:img']);
    assert.deepEqual(
      ['one0', 'two0', 'three0'].map((name) => readdirSync(dataOf(box, name))),
      [[], [], ['ok']],
    );
    await box.quick(['rm', 'lies', 'liar']);
    await box.quick(['volume', 'prune', '-f']);
  });

  await t.test('--rm takes those without a name along, unless another container has them', async () => {
    box.ok(['run', '-d', '--rm', '--name', 'owner', '-v', '/anon', '-v', 'kept:/k', image, 'sleep', '100']);
    box.ok(['exec', 'owner', 'sh', '-c', 'echo mine >/anon/f']);
    assert.equal((await volumes(box)).length, 3);
    const flags = ['--name', 'heir', '--volumes-from', 'owner:ro'];
    await box.quick(['create', ...flags, busybox, 'sh', '-c', 'cat /anon/f; ls /data | wc -l; touch /k/x']);
    await box.quick(['rm', '-f', 'owner']);
    assert.equal((await volumes(box)).length, 3);
    const { status, stdout } = box.tsbox(['start', '-a', 'heir']);
    assert.deepEqual([status, stdout], [1, 'mine\n4\n']);
    await box.quick(['rm', '-v', 'heir']);
    assert.deepEqual(await volumes(box), ['kept']);
    box.ok(['run', '--rm', image, 'true']);
    assert.deepEqual(await volumes(box), ['kept'], 'by its monitor');
    await box.quick(['volume', 'rm', 'kept']);
  });

  await t.test('one that a running container has got empty is filled where it is', async () => {
    box.ok(['run', '-d', '--name', 'runs', '-v', 'late:/late', busybox, 'sleep', '100']);
    box.ok(['exec', 'runs', 'ls', '/late']);
    await box.quick(['create', '--name', 'fills', '-v', 'late:/data', image]);
    assert.equal(box.ok(['exec', 'runs', 'cat', '/late/f']), 'hi');
    assert.deepEqual(readdirSync(join(box.dataRoot, 'volumes/late')).sort(), ['_data', 'tsbox.json']);
    await box.quick(['rm', '-f', 'runs', 'fills']);
    await box.quick(['volume', 'rm', 'late']);
  });

  await t.test('one that is a tmpfs is the same for all that run, and gone after the last', async () => {
    await box.quick(['volume', 'create', '-o', 'type=tmpfs', '-o', 'device=tmpfs', '-o', 'o=size=1m,mode=700', 'tm']);
    box.ok(['run', '-d', '--name', 'one', '-v', 'tm:/x', busybox, 'sh', '-c', 'touch /x/a; exec sleep 100']);
    await until('its file', () => existsSync(join(dataOf(box, 'tm'), 'a')));
    assert.equal(box.ok(['run', '--rm', '-v', 'tm:/y', busybox, 'sh', '-c', 'ls /y; stat -c %a /y']), 'a\n700');
    assert.match(readFileSync('/proc/mounts', 'utf8'), /volumes\/tm\/_data tmpfs/);
    await box.quick(['rm', '-f', 'one']);
    assert.doesNotMatch(readFileSync('/proc/mounts', 'utf8'), /volumes\/tm\/_data/);
    mkdirSync(join(box.directory, 'dir'));
    const opts = ['-o', 'type=none', '-o', 'o=bind,ro', '-o', `device=${join(box.directory, 'dir')}`];
    await box.quick(['volume', 'create', ...opts, 'bound']);
    assert.notEqual(box.tsbox(['run', '--rm', '-v', 'bound:/x', busybox, 'touch', '/x/a']).status, 0);
    const copied = join(box.directory, 'copied');
    writeFileSync(join(box.directory, 'dir/there'), 'there');
    await box.quick(['create', '--name', 'stopped', '-v', 'bound:/x', busybox]);
    box.ok(['cp', 'stopped:/x/there', copied]);
    assert.equal(readFileSync(copied, 'utf8'), 'there', 'cp sees it in a container that does not run');
    await box.quick(['rm', 'stopped']);
    for (const [device, why] of [
      ['no', 'failed to mount local volume: mount no: no such file or directory'],
      [join(box.directory, 'dir/there'), `mount ${join(box.directory, 'dir/there')}: not a directory`],
      ['', 'missing device in volume options'],
      // Whatever is below the caller's directory.
      ['src', 'failed to mount local volume: mount src: no such file or directory'],
    ] as const) {
      await box.quick(['volume', 'create', '-o', 'type=none', '-o', 'o=bind', '-o', `device=${device}`, 'wrong']);
      const { status, stderr } = await box.said(['run', '--rm', '-v', 'wrong:/x', busybox, 'true']);
      assert.equal(status, 125, device);
      assert.ok(stderr.includes(why), stderr);
      await box.quick(['volume', 'rm', 'wrong']);
    }
    await box.quick(['volume', 'prune', '-f']);
    assert.deepEqual(await volumes(box), ['bound', 'tm'], 'as Docker: prune takes none with options');
    await box.quick(['volume', 'rm', 'bound', 'tm']);
  });

  await t.test('--mount and --tmpfs: types, options, and nothing is made when one is wrong', async () => {
    const mounts = (flags: string[]) => box.ok(['run', '--rm', ...flags, busybox, 'grep', ' /x ', '/proc/mounts']);
    assert.match(
      mounts(['--tmpfs', '/x:size=1m,mode=700,uid=5,exec']),
      /rw,nosuid,nodev,relatime,size=1024k,mode=700,uid=5 /,
    );
    assert.match(
      mounts(['--mount', 'type=tmpfs,dst=/x,tmpfs-size=1m,tmpfs-mode=1770,ro']),
      /ro,nosuid,nodev,noexec,relatime,size=1024k,mode=1770 /,
    );
    const [{ HostConfig, Config }] = JSON.parse(
      await box.quick([
        'inspect',
        await box.quick([
          'create',
          '--mount',
          '"type=volume","src=labelled",dst=/m,volume-label=a=b',
          '--tmpfs',
          '/t:ro',
          '-v',
          '/n',
          busybox,
        ]),
      ]),
    );
    assert.deepEqual(HostConfig.Mounts, [
      { Type: 'volume', Source: 'labelled', Target: '/m', VolumeOptions: { Labels: { a: 'b' }, DriverConfig: {} } },
    ]);
    assert.deepEqual([HostConfig.Tmpfs, HostConfig.Binds, Config.Volumes], [{ '/t': 'ro' }, null, { '/n': {} }]);
    assert.equal(await box.quick(['volume', 'inspect', '-f', '{{json .Labels}}', 'labelled']), '{"a":"b"}');
    const before = [await volumes(box), await box.quick(['ps', '-aq'])];
    for (const [flags, message] of [
      [['-v', 'aa:/x', '--mount', 'type=bind,src=/no/such,dst=/y'], /bind source path does not exist: \/no\/such$/m],
      [['-v', 'aa:/x', '--volumes-from', 'nobody'], /No such container: nobody$/m],
      [['-v', 'aa:/x', '--mount', 'src=bb,dst=/y,volume-opt=foo=bar'], /create bb: invalid option: "foo"$/m],
      [['-v', 'aa:/x', '-v', 'bb:/etc/passwd'], /cannot mount volume over existing file, file exists \/etc\/passwd$/m],
      [['-v', 'aa:/x', '--tmpfs', '/y:foo'], /invalid tmpfs option \["foo"\]$/m],
      [['-v', 'aa:/x', '--tmpfs', '/x'], /Duplicate mount point: \/x$/m],
      [['-v', 'aa:/x', '--volume-driver', 'nope'], /error looking up volume plugin nope: plugin "nope" not found$/m],
    ] as const) {
      const { status, stderr } = await box.said(['create', ...flags, busybox]);
      assert.equal(status === 0, false, flags.join(' '));
      assert.match(stderr, message);
    }
    assert.equal((await box.said(['create', '--dry-run', '-v', 'aa:/x', busybox])).status, 0);
    assert.deepEqual([await volumes(box), await box.quick(['ps', '-aq'])], before);
    await box.quick(['rm', '-v', ...before[1]!.toString().split('\n')]);
    await box.quick(['volume', 'rm', 'labelled']);
    assert.deepEqual(await volumes(box), []);
  });

  await t.test('system df and system prune --volumes know them; commit and export leave them out', async () => {
    box.ok([
      'run',
      '--name',
      'writer',
      '-v',
      'big:/big',
      image,
      'sh',
      '-c',
      'head -c 1000 /dev/zero >/big/z; rm /data/f',
    ]);
    await box.quick(['volume', 'create', 'idle']);
    writeFileSync(join(dataOf(box, 'idle'), 'z'), Buffer.alloc(500));
    const [, , , row] = (await box.quick(['system', 'df'])).split('\n');
    assert.match(row!, /^Local Volumes +3 +2 +1\.\d+kB +500B \(\d+%\)$/);
    assert.match(await box.quick(['system', 'df', '-v']), /^big +1 +1kB$/m);
    await box.quick(['commit', 'writer', 'out:img']);
    assert.equal(await box.quick(['history', '-q', 'out:img']).then((text) => text.split('\n').length), 3);
    assert.equal(box.ok(['run', '--rm', '--entrypoint', 'ls', '-v', '/o', 'out:img', '/data']), 'f\nl\np\nsub');
    const pruned = await box.quick(['system', 'prune', '-f', '--volumes']);
    assert.match(pruned, /^Deleted Volumes:\n(.+\n){3}\n/m);
    assert.deepEqual(await volumes(box), []);
  });

  await t.test('one on whose directory somebody has mounted a disk is filled, and is not removed with it', async () => {
    await box.quick(['volume', 'create', 'disk']);
    assert.equal(spawnSync('mount', ['-t', 'tmpfs', 'disk', dataOf(box, 'disk')]).status, 0);
    try {
      await box.quick(['create', '--name', 'filler', '-v', 'disk:/data', image]);
      assert.deepEqual(readdirSync(dataOf(box, 'disk')).sort(), ['f', 'l', 'p', 'sub']);
      await box.quick(['rm', 'filler']);
      const { status, stderr } = await box.said(['volume', 'rm', 'disk']);
      assert.deepEqual([status, /something is mounted on /.test(stderr)], [1, true]);
      assert.match((await box.said(['volume', 'prune', '-f'])).stdout, /^Total reclaimed space: 0B/);
      assert.equal(readdirSync(dataOf(box, 'disk')).length, 4);
    } finally {
      spawnSync('umount', [dataOf(box, 'disk')]);
    }
    await box.quick(['volume', 'rm', 'disk']);
  });

  await t.test('a mount that a killed monitor has left goes with its volume, not what is in it', async () => {
    const outside = join(box.directory, 'outside');
    mkdirSync(outside);
    writeFileSync(join(outside, 'kept'), '');
    await box.quick(['volume', 'create', '-o', 'type=tmpfs', '-o', 'device=tmpfs', 'left']);
    assert.equal(spawnSync('mount', ['--bind', outside, dataOf(box, 'left')]).status, 0);
    await box.quick(['volume', 'rm', 'left']);
    assert.deepEqual(readdirSync(outside), ['kept']);
  });

  await t.test('one whose directory is gone is named when its container starts', async () => {
    await box.quick(['create', '--name', 'lost', '-v', 'going:/x', busybox]);
    rmSync(join(box.dataRoot, 'volumes/going'), { recursive: true });
    const { status, stderr } = box.tsbox(['start', 'lost']);
    assert.deepEqual([status === 0, /get going: no such volume/.test(stderr)], [false, true]);
    await box.quick(['rm', '-v', 'lost']);
  });
  assert.ok(existsSync(box.dataRoot) && statSync(join(box.dataRoot, 'volumes')).mode % 0o1000 === 0o701);
});
