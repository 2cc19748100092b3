/**
 * What every storage driver must do, by the name of the driver: a container's files as they are seen, changed, kept and removed. A driver's
 * own file calls `conform` and adds what is its own.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import type { DriverName } from '../../src/store/drivers/driver.ts';
import { type Requirement, requires } from '../requires.ts';
import { account } from '../system/accounts.ts';
import { fixtureDifferences } from '../system/fixture-tree.ts';
import { runRootOf, type Sandbox, sandbox, until } from '../system/harness.ts';

/** A tsbox in which everything is done by one driver, whoever runs it. */
export interface Box extends Pick<Sandbox, 'directory' | 'dataRoot' | 'runRoot' | 'tsbox' | 'ok' | 'quick' | 'image'> {
  readonly isRoot: boolean;
  start(args: readonly string[]): { child: ChildProcess; done: Promise<unknown> };
  /** Lets whoever runs tsbox use a file or directory that the test has made. @returns it */
  give(path: string): string;
  /** The files of a container that runs, and how a command of the host is run with the rights of its root. */
  files(name: string): { path: string; command(...words: string[]): string[] };
}

/** Who runs tsbox. */
export interface Who {
  /** In front of the names of tests. */
  prefix: string;
  isRoot: boolean;
  needs(driver: DriverName): readonly Requirement[];
  box(t: TestContext, driver: DriverName): Box;
}

export const NEEDS: Readonly<Record<DriverName, readonly Requirement[]>> = {
  overlay2: ['root', 'overlay'],
  fuse: ['root', 'file:/dev/fuse'],
  vfs: ['root'],
};

/** A sandbox in which everything is done by this driver. */
export function driven(t: TestContext, driver: DriverName): Sandbox {
  process.env['TSBOX_STORAGE_DRIVER'] = driver;
  return sandbox(t);
}

const ROOT: Who = {
  prefix: '',
  isRoot: true,
  needs: (driver) => NEEDS[driver],
  box(t, driver) {
    const box = driven(t, driver);
    return {
      ...box,
      isRoot: true,
      give: (path) => path,
      files: (name) => ({
        path: box.ok(['inspect', '--format', '{{.GraphDriver.Data.MergedDir}}', name]),
        command: (...words) => words,
      }),
    };
  },
};

/** A command in a container of its own, which stays. */
export const sh = (box: Pick<Sandbox, 'ok' | 'image'>, name: string, script: string, ...flags: string[]) =>
  box.ok(['run', '--network', 'none', '--name', name, ...flags, box.image(), 'sh', '-euc', script]);

/** Lines of a container's export, as `tar --list --verbose` shows them. */
export function exported(box: Pick<Sandbox, 'directory' | 'ok'>, name: string): Map<string, string> {
  const archive = join(box.directory, `${name}.tar`);
  box.ok(['export', '--output', archive, name]);
  const { stdout } = spawnSync('tar', ['--list', '--verbose', '--numeric-owner', '--file', archive], {
    encoding: 'utf8',
    maxBuffer: 1 << 26,
  });
  const lines = stdout.split('\n').filter(Boolean);
  return new Map(lines.map((line) => [line.split(/\s+/)[5]!.replace(/\/$/, ''), line]));
}

/** Makes one change of every kind, each of which `CHECK` sees. Busybox's image has /etc/passwd, /bin, /var/spool and /var/www. */
export const CHANGE = `echo new > /new; echo more >> /etc/passwd; rm /etc/group; rm -r /var/spool
  rm -r /var/www; mkdir /var/www; echo only > /var/www/only; mkdir -p /deep/er; ln /new /deep/link; ln -s /new /deep/symlink
  mkfifo /deep/fifo; chown 12:34 /new; chmod 4711 /deep/link; mknod /deep/null c 1 3; touch -d 2001-02-03 /deep/er`;
export const CHECK = `cat /new; tail -n 1 /etc/passwd; ls /etc/group /var/spool 2>&1 | wc -l; ls /var/www; cat /deep/symlink
  stat -c '%a %u %g %h %F' /new /deep/link /deep/fifo /deep/null; stat -c %y /deep/er | cut -c 1-10; test /new -ef /deep/link`;
export const SEEN = [
  ...['new', 'more', '2', 'only', 'new', '4711 12 34 2 regular file', '4711 12 34 2 regular file'],
  ...['644 0 0 1 fifo', '644 0 0 1 character special file', '2001-02-03'],
].join('\n');

/** The same without devices, which only root may make. */
export const WITHOUT_DEVICES = {
  CHANGE: CHANGE.replace(/mknod [^;]*;/, ''),
  CHECK: CHECK.replace(' /deep/null;', ';'),
  SEEN: SEEN.replace('644 0 0 1 character special file\n', ''),
};

/** The tests that are the same for all. */
export function conform(driver: DriverName, who: Who = ROOT): void {
  const begin = (t: TestContext, ...more: Requirement[]) =>
    requires(t, ...who.needs(driver), ...more) ? who.box(t, driver) : undefined;
  const { isRoot } = who;
  const changes = isRoot ? { CHANGE, CHECK, SEEN } : WITHOUT_DEVICES;
  /** An ordinary user may have no cgroup in which a container could be frozen. */
  const commit = isRoot ? ['commit'] : ['commit', '--pause=false'];

  test(`${who.prefix}${driver}: is what info names, and --explain says why at the step that mounts`, async (t) => {
    const box = begin(t);
    if (box === undefined) return;
    const info = JSON.parse(box.ok(['info', '--format', 'json']));
    assert.equal(info.Driver, driver);
    assert.deepEqual(info.DriverStatus[1], ['Reason', 'it was asked for']);
    const plan = box.ok(['--dry-run', 'run', box.image(), 'true']);
    assert.match(plan, new RegExp(`Storage driver ${driver}: it was asked for`));
    assert.equal(box.ok(['--storage-driver', driver, 'info', '--format', '{{.Driver}}']), driver);
  });

  test(`${who.prefix}${driver}: changes of every kind are there after a restart, in diff, in commit and in export`, async (t) => {
    const box = begin(t);
    if (box === undefined) return;
    sh(box, 'made', `${changes.CHANGE}; ${changes.CHECK}`);
    assert.equal(box.ok(['logs', 'made']), changes.SEEN);
    const diff = (await box.quick(['diff', 'made'])).split('\n');
    for (const line of [
      'A /new',
      'C /etc/passwd',
      'D /etc/group',
      'D /var/spool',
      'A /var/www/only',
      ...(isRoot ? ['A /deep/null'] : []),
    ]) {
      assert.ok(diff.includes(line), `${line} is not in\n${diff.join('\n')}`);
    }
    assert.ok(!diff.some((line) => /dockerenv|resolv.conf|\/dev/.test(line)), 'the -init layer is no change');
    await box.quick([...commit, 'made', 'made:image']);
    assert.equal(box.ok(['run', '--rm', '--network', 'none', 'made:image', 'sh', '-euc', changes.CHECK]), changes.SEEN);
    const files = exported(box, 'made');
    assert.match(files.get('deep/link') ?? '', /^-rws--x--x 12\/34 /);
    assert.equal(files.has('etc/group'), false);
    assert.equal(files.has('var/www/only'), true);
    if (isRoot) assert.match(files.get('deep/null') ?? '', /^crw/);
  });

  test(`${who.prefix}${driver}: attributes are seen, kept by commit, and those of overlayfs are nobody's to see`, async (t) => {
    const box = begin(t, 'command:setfattr', 'command:getfattr', 'command:setcap');
    if (box === undefined) return;
    const flags = ['--detach', '--network', 'none'];
    const host = (name: string) => {
      const { path, command } = box.files(name);
      const run = (...words: string[]) => {
        const [program = '', ...args] = command(...words);
        const { status, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8' });
        assert.equal(status, 0, `${words.join(' ')}: ${stderr}`);
        return stdout.replaceAll(path, '');
      };
      const dump = ['getfattr', '--absolute-names', '--dump'];
      return { path, run, attributes: () => run(...dump, '--match=-', `${path}/etc/passwd`, `${path}/new`) };
    };
    box.ok([
      'run',
      ...flags,
      '--name',
      'one',
      box.image(),
      'sh',
      '-c',
      'rm -r /var/www; mkdir /var/www /new; sleep 1000',
    ]);
    await until('the directory', () => box.tsbox(['exec', 'one', 'ls', '/new']).status === 0);
    const { path, run, attributes } = host('one');
    const mine = isRoot ? 'trusted.mine' : 'user.mine';
    run('setfattr', '--name', 'user.of-a-lower-file', '--value', 'value', `${path}/etc/passwd`);
    run('setcap', 'cap_net_raw+ep', `${path}/etc/passwd`);
    run('setfattr', '--name', mine, '--value', 'mine', `${path}/new`);
    run('setfattr', '--name', 'user.gone', '--value', 'x', `${path}/new`);
    run('setfattr', '--remove', 'user.gone', `${path}/new`);
    const seen = attributes();
    assert.match(seen, /\/etc\/passwd\nsecurity\.capability=.*\nuser\.of-a-lower-file="value"\n/);
    assert.match(seen, /\/new\n(trusted|user)\.mine="mine"\n\n/);
    assert.equal(run('getfattr', '--absolute-names', '--dump', '--match=overlay', `${path}/var/www`), '');
    await box.quick([...commit, 'one', 'one:image']);
    box.ok(['run', ...flags, '--name', 'two', 'one:image', 'sleep', '1000']);
    assert.equal(host('two').attributes(), seen);
    assert.equal(box.ok(['exec', 'two', 'ls', '/var/www']), '');
  });

  test(`${who.prefix}${driver}: a commit of a container that runs has what was written`, async (t) => {
    const box = begin(t);
    if (box === undefined) return;
    sh(
      box,
      'runs',
      'echo before > /file; dd if=/dev/zero of=/big bs=64k count=32 2> /dev/null; echo ready; sleep 1000',
      '--detach',
    );
    await until('the files', () => box.ok(['logs', 'runs']) === 'ready');
    await box.quick([...commit, 'runs', 'runs:image']);
    assert.equal(box.ok(['run', '--rm', 'runs:image', 'sh', '-c', 'cat /file; stat -c %s /big']), 'before\n2097152');
    assert.equal(box.ok(['exec', 'runs', 'sh', '-c', 'echo after > /file; cat /file']), 'after');
  });

  test(`${who.prefix}${driver}: a commit of a container that runs has what was written by a map of a file, which is still open`, async (t) => {
    const box = begin(t, 'command:python3');
    if (box === undefined) return;
    sh(box, 'runs', 'head -c 8192 /dev/zero > /file; echo ready; sleep 1000', '--detach');
    await until('the file', () => box.ok(['logs', 'runs']) === 'ready');
    const { path, command } = box.files('runs');
    const python = `import mmap, os, sys
file = os.open(sys.argv[1], os.O_RDWR)
pages = mmap.mmap(file, 8192)
pages[4096:4102] = b'mapped'
print('written', flush=True)
sys.stdin.read()`;
    const [program = '', ...args] = command('python3', '-c', python, `${path}/file`);
    const writer = spawn(program, args);
    const ended = once(writer, 'close');
    try {
      await once(writer.stdout, 'data');
      await box.quick([...commit, 'runs', 'runs:image']);
    } finally {
      writer.kill('SIGKILL');
      await ended; // it holds the mount
    }
    assert.equal(
      box.ok(['run', '--rm', 'runs:image', 'dd', 'if=/file', 'bs=1', 'skip=4096', 'count=6', 'status=none']),
      'mapped',
    );
  });

  test(`${who.prefix}${driver}: an image of many kinds of file is seen as it was made`, async (t) => {
    // It has owners and devices that only root can have.
    if (!isRoot) return;
    const box = begin(t, 'command:getfattr');
    if (box === undefined) return;
    const image = box.image('layers');
    box.ok(['create', '--name', 'seen', image, 'true']);
    const archive = join(box.directory, 'seen.tar');
    await box.quick(['export', '--output', archive, 'seen']);
    const tree = join(box.directory, 'tree');
    mkdirSync(tree);
    const { status, stderr } = spawnSync('tar', ['-xpf', archive, '--xattrs', '--xattrs-include=*', '-C', tree], {
      encoding: 'utf8',
    });
    assert.equal(status, 0, stderr);
    assert.deepEqual(fixtureDifferences(tree, { links: true, directoryTimes: true }), []);
  });

  test(`${who.prefix}${driver}: 127 layers`, (t) => {
    const box = begin(t);
    if (box === undefined) return;
    const image = box.image('many-layers');
    const layers = JSON.parse(box.ok(['image', 'inspect', image]))[0].RootFS.Layers.length;
    assert.ok(layers >= 100, `${layers} layers`);
    assert.equal(box.ok(['run', '--rm', '--network', 'none', image, 'sh', '-c', 'echo x > /x; cat /x']), 'x');
  });

  test(`${who.prefix}${driver}: two containers of one image at once do not see each other`, async (t) => {
    const box = begin(t);
    if (box === undefined) return;
    for (const name of ['one', 'two']) sh(box, name, `echo ${name} > /file; rm /etc/group; sleep 1000`, '--detach');
    for (const name of ['one', 'two']) {
      await until('the file', () => box.tsbox(['exec', name, 'cat', '/file']).stdout === `${name}\n`);
    }
    box.ok(['rm', '--force', 'one']);
    assert.equal(box.ok(['exec', 'two', 'cat', '/file']), 'two');
    assert.equal(box.ok(['run', '--rm', box.image(), 'ls', '/etc/group']), '/etc/group');
  });

  test(`${who.prefix}${driver}: start, stop, restart; what is there only while it runs goes`, async (t) => {
    const box = begin(t);
    if (box === undefined) return;
    sh(box, 'life', 'echo again >> /log; trap "exit 0" TERM; while :; do sleep 0.1; done', '--detach');
    const [mount] = readdirSync(join(box.dataRoot, 'overlay2')).filter((name) =>
      existsSync(join(box.dataRoot, 'overlay2', name, 'merged')),
    );
    assert.ok(mount !== undefined);
    // Without root the mount is the container's own.
    if (isRoot) assert.match(readFileSync('/proc/mounts', 'utf8'), new RegExp(`${mount}/merged`));
    box.ok(['stop', 'life']);
    await until('the mount to go', () => !existsSync(join(box.dataRoot, 'overlay2', mount, 'merged')));
    assert.doesNotMatch(readFileSync('/proc/mounts', 'utf8'), new RegExp(`${mount}/merged`));
    box.ok(['start', 'life']);
    box.ok(['restart', 'life']);
    assert.equal(
      await until('the third line', () => {
        const { stdout } = box.tsbox(['exec', 'life', 'cat', '/log']);
        return stdout === 'again\nagain\nagain\n' && stdout;
      }),
      'again\nagain\nagain\n',
    );
    box.ok(['rm', '--force', 'life']);
    assert.deepEqual(runRootOf(box), []);
  });

  test(`${who.prefix}${driver}: cp in both directions, running and ended`, async (t) => {
    const box = begin(t);
    if (box === undefined) return;
    const file = join(box.directory, 'file');
    writeFileSync(file, 'from the host', { mode: 0o640 });
    box.give(file);
    const back = (name: string) => {
      box.ok(['cp', `${name}:/dir/file`, join(box.directory, name)]);
      return readFileSync(join(box.directory, name), 'utf8');
    };
    sh(box, 'runs', 'mkdir /dir; sleep 1000', '--detach');
    box.ok(['create', '--name', 'made', box.image(), 'cat', '/dir/file']);
    await until('the directory', () => box.tsbox(['exec', 'runs', 'ls', '/dir']).status === 0);
    box.ok(['cp', file, 'runs:/dir/file']);
    assert.equal(box.ok(['exec', 'runs', 'cat', '/dir/file']), 'from the host');
    mkdirSync(join(box.directory, 'dir'));
    writeFileSync(join(box.directory, 'dir/file'), 'of a directory');
    box.ok(['cp', join(box.directory, 'dir'), 'made:/']);
    assert.equal(back('runs'), 'from the host');
    assert.equal(back('made'), 'of a directory');
    assert.equal(box.ok(['start', '--attach', 'made']), 'of a directory');
  });

  test(`${who.prefix}${driver}: --read-only, with volumes, binds and tmpfs on top`, async (t) => {
    const box = begin(t);
    if (box === undefined) return;
    const shared = join(box.directory, 'shared');
    mkdirSync(shared);
    box.give(shared);
    const flags = [
      '--rm',
      '--read-only',
      '--volume',
      'vol:/var/vol',
      '--volume',
      `${shared}:/mnt/shared`,
      '--tmpfs',
      '/tmp',
    ];
    const script = `echo v > /var/vol/f; echo s > /mnt/shared/f; echo t > /tmp/f; cat /var/vol/f /mnt/shared/f /tmp/f
      if echo no > /no 2> /dev/null; then echo written; fi`;
    assert.equal(box.ok(['run', ...flags, box.image(), 'sh', '-c', script]), 'v\ns\nt');
    assert.equal(readFileSync(join(shared, 'f'), 'utf8'), 's\n');
    // A new volume gets what the image has at its place.
    assert.match(box.ok(['run', '--rm', '--volume', 'copied:/etc', box.image(), 'cat', '/etc/passwd']), /^root:/);
  });

  test(`${who.prefix}${driver}: another user sees the permissions of files, and makes files of his own`, (t) => {
    const box = begin(t);
    if (box === undefined) return;
    const script = `cat /etc/shadow 2> /dev/null || echo refused; echo mine > /tmp/mine; stat -c '%u %g' /tmp/mine; rm /etc/passwd 2> /dev/null || echo kept`;
    const flags = ['--rm', '--user', '1234:5678', '--tmpfs', '/run'];
    const seen = box.ok(['run', ...flags, box.image(), 'sh', '-c', `test -w /tmp || exit 3; ${script}`]).split('\n');
    assert.deepEqual(seen.slice(-2), ['1234 5678', 'kept']);
  });

  // Without root every container has one.
  if (isRoot)
    test(`${who.prefix}${driver}: --userns: the container's root owns its files`, async (t) => {
      const box = begin(t, 'userns', 'command:useradd');
      if (box === undefined) return;
      const { name } = account(t, [65536]);
      const script =
        'id -u; echo x >> /etc/passwd; echo y > /new; stat -c "%u %a" /etc/passwd /new /bin; tail -n 1 /etc/passwd';
      const flags = ['--name', 'mapped', '--userns', name, '--network', 'none'];
      assert.equal(box.ok(['run', ...flags, box.image(), 'sh', '-euc', script]), '0\n0 644\n0 644\n0 755\nx');
      assert.equal(await box.quick(['diff', 'mapped']), 'C /etc\nC /etc/passwd\nA /new');
      box.ok(['cp', 'mapped:/new', join(box.directory, 'new')]);
      await box.quick([...commit, 'mapped', 'mapped:image']);
      assert.equal(box.ok(['run', '--rm', '--network', 'none', 'mapped:image', 'stat', '-c', '%u %g', '/new']), '0 0');
    });

  test(`${who.prefix}${driver}: the monitor is killed: rm, and a next start, find all that it had`, async (t) => {
    const box = begin(t);
    if (box === undefined) return;
    for (const name of ['removed', 'started']) {
      sh(box, name, 'echo line >> /log; sleep 1000', '--detach');
      await until('the line', () => box.tsbox(['exec', name, 'cat', '/log']).stdout !== '');
      const id = box.ok(['inspect', '--format', '{{.Id}}', name]);
      const { Monitor } = JSON.parse(readFileSync(join(box.runRoot, id, 'state.json'), 'utf8'));
      process.kill(Monitor, 'SIGKILL');
      await until('its end', () => box.ok(['inspect', '--format', '{{.State.Running}}', name]) === 'false');
    }
    box.ok(['rm', '--force', 'removed']);
    box.ok(['start', 'started']);
    await until('two lines', () => box.tsbox(['exec', 'started', 'cat', '/log']).stdout === 'line\nline\n');
  });

  test(`${who.prefix}${driver}: tsbox is killed at any moment of run and cp: what comes next works, and nothing is left`, async (t) => {
    const box = begin(t);
    if (box === undefined) return;
    box.ok(['create', '--name', 'target', box.image(), 'true']);
    const file = join(box.directory, 'file');
    writeFileSync(file, Buffer.alloc(1 << 20));
    for (let delay = 20; delay <= 320; delay += 60) {
      const each = [box.start(['run', '--rm', box.image(), 'true']), box.start(['cp', file, 'target:/file'])];
      await new Promise((wake) => setTimeout(wake, delay));
      for (const one of each) one.child.kill('SIGKILL');
      await Promise.all(each.map((one) => one.done));
    }
    box.ok(['cp', file, 'target:/file']);
    box.ok(['start', '--attach', 'target']);
    const ids = box.ok(['ps', '--all', '--quiet']).split('\n').filter(Boolean);
    box.ok(['rm', '--force', ...ids]);
  });
}
