/** What happens when something is killed, missing or full. Every sandbox proves at its end that nothing was left behind. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { requires } from '../requires.ts';
import { PATIENCE, type Running, runRootOf, type Sandbox, sandbox, TSBOX, until } from './harness.ts';
import { leftovers } from './leftovers.ts';

const state = (box: Sandbox, name: string, field = 'Status') => box.ok(['inspect', '-f', `{{.State.${field}}}`, name]);
const printed = (running: Running, pattern: RegExp) =>
  until(`${pattern} on standard output`, () => pattern.test(running.stdout()));
const pause = (milliseconds: number) => new Promise((wake) => setTimeout(wake, milliseconds));

function monitorOf(box: Sandbox, name: string): number {
  const id = box.ok(['inspect', '-f', '{{.Id}}', name]);
  return JSON.parse(readFileSync(join(box.runRoot, id, 'state.json'), 'utf8')).Monitor;
}

const isAlive = (pid: number): boolean => {
  try {
    return !/^State:\s*Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
};

/** Mounts of this sandbox on the host. */
const mounted = (box: Sandbox) =>
  readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter((line) => line.includes(box.directory));

test('faults: the monitor is killed', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const image = box.image();
  await t.test('the process ends with it, and the container is reported as exited', async () => {
    box.ok(['run', '-d', '--name', 'one', image, 'sh', '-c', 'echo begin; sleep 1000']);
    const pid = Number(state(box, 'one', 'Pid'));
    process.kill(monitorOf(box, 'one'), 'SIGKILL');
    await until('the end of the process', () => !isAlive(pid));
    assert.deepEqual(
      [state(box, 'one'), state(box, 'one', 'ExitCode'), state(box, 'one', 'Running')],
      ['exited', '137', 'false'],
    );
    assert.match(await box.quick(['ps', '-a', '--format', '{{.Names}} {{.Status}}']), /^one Exited \(137\)/);
    assert.equal(await box.quick(['wait', 'one']), '137');
    assert.equal(box.tsbox(['exec', 'one', 'true']).status, 1);
  });
  await t.test('start brings it back', () => {
    box.ok(['start', 'one']);
    assert.equal(state(box, 'one'), 'running');
    assert.equal(box.ok(['exec', 'one', 'hostname']).length, 12);
    assert.equal(box.ok(['logs', 'one']), 'begin\nbegin');
  });
  await t.test('rm cleans up after it', async () => {
    const pid = Number(state(box, 'one', 'Pid'));
    process.kill(monitorOf(box, 'one'), 'SIGKILL');
    await until('the end of the process', () => !isAlive(pid));
    assert.equal(mounted(box).length, 1);
    await box.quick(['rm', 'one']);
    assert.equal(mounted(box).length, 0);
    assert.deepEqual(await leftovers(box.directory), []);
  });
  await t.test('cp copies as from one that has been stopped', async () => {
    box.ok(['run', '-d', '--name', 'copied', image, 'sh', '-c', 'echo made > /made; sleep 1000']);
    const pid = Number(state(box, 'copied', 'Pid'));
    await until('the file', () => box.tsbox(['exec', 'copied', 'cat', '/made']).stdout === 'made\n');
    process.kill(monitorOf(box, 'copied'), 'SIGKILL');
    await until('the end of the process', () => !isAlive(pid));
    box.ok(['cp', 'copied:/made', join(box.directory, 'made')]);
    box.ok(['cp', join(box.directory, 'made'), 'copied:/back']);
    assert.match(box.ok(['ps', '-a', '--filter', 'name=copied', '--format', '{{.Status}}']), /^Exited \(137\)/);
    await box.quick(['rm', 'copied']);
    assert.deepEqual(await leftovers(box.directory), []);
  });
  await t.test('an attached client ends with an error', async () => {
    const running = box.start(['run', '--name', 'attached', image, 'sh', '-c', 'echo up; sleep 1000']);
    await printed(running, /up/);
    process.kill(monitorOf(box, 'attached'), 'SIGKILL');
    const { status, stderr } = await running.done;
    assert.equal(status, 125);
    assert.match(stderr, /monitor/);
    await box.quick(['rm', '-f', 'attached']);
  });
  await t.test('a process that had gained rights does not survive either', async () => {
    // Executing a setuid file clears the signal that the kernel sends when a parent dies.
    box.ok([
      'run',
      '--name',
      'maker',
      image,
      'sh',
      '-c',
      'cp /bin/busybox /bin/busybox-root; chmod 4755 /bin/busybox-root',
    ]);
    await box.quick(['commit', 'maker', 'setuid']);
    await box.quick(['rm', 'maker']);
    for (const verb of ['start', 'rm']) {
      box.ok(['run', '-d', '--name', 'gained', '-u', 'tester', 'setuid', '/bin/busybox-root', 'sleep', '1000']);
      const pid = Number(state(box, 'gained', 'Pid'));
      process.kill(monitorOf(box, 'gained'), 'SIGKILL');
      await pause(100);
      assert.ok(isAlive(pid));
      box.ok([verb, 'gained']);
      assert.ok(!isAlive(pid), `after ${verb} nothing of the earlier run is alive`);
      if (verb === 'start') await box.quick(['rm', '-f', 'gained']);
    }
    assert.deepEqual(await leftovers(box.directory), []);
    await box.quick(['rmi', 'setuid']);
  });
});

test('faults: processes of the container are killed from outside', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const image = box.image();
  await t.test('the first process: 137, and everything is cleaned up', async () => {
    const running = box.start(['run', '--rm', '--name', 'one', image, 'sh', '-c', 'sleep 500 & echo up; sleep 1000']);
    await printed(running, /up/);
    process.kill(Number(state(box, 'one', 'Pid')), 'SIGKILL');
    assert.equal((await running.done).status, 137);
    assert.deepEqual(await leftovers(box.directory), []);
  });
  await t.test('a process that holds the output open does not hold up the end', async () => {
    const begin = performance.now();
    box.ok(['run', '--rm', image, 'sh', '-c', '(setsid sleep 1000) & exit 0']);
    assert.ok(performance.now() - begin < 20_000);
  });
});

/** Stops a container's processes, as a commit does that is killed half-way. @returns false when the host has no freezer */
function freeze(id: string): boolean {
  const controls: [string, string][] = [
    [`/sys/fs/cgroup/freezer/tsbox-${id}/freezer.state`, 'FROZEN'],
    [`/sys/fs/cgroup/tsbox-${id}/cgroup.freeze`, '1'],
    [`/sys/fs/cgroup/unified/tsbox-${id}/cgroup.freeze`, '1'],
  ];
  const [control, value] = controls.find(([path]) => existsSync(path)) ?? [];
  if (control === undefined || value === undefined) return false;
  writeFileSync(control, value);
  return true;
}

test('faults: verbs that meet', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const image = box.image();
  await t.test('a container that somebody has left frozen can be killed, stopped and removed', async (context) => {
    for (const args of [['kill'], ['stop', '-t', '0'], ['rm', '-f']]) {
      const id = box.ok(['run', '-d', image, 'sleep', '1000']);
      if (!freeze(id)) return context.skip('needs a cgroup that can be frozen');
      box.ok([...args, id]);
      if (args[0] !== 'rm') {
        assert.equal(await box.quick(['wait', id]), '137');
        await box.quick(['rm', id]);
      }
    }
  });
  await t.test('rm beside start: it is removed before, or refused', async () => {
    for (let n = 0; n < 8; n++) {
      const name = `both${n}`;
      await box.quick(['create', '--name', name, image, 'sleep', '1000']);
      const start = box.start(['start', name]);
      await pause(n * 12);
      const rm = await box.start(['rm', name]).done;
      const { status } = await start.done;
      if (rm.status === 0) assert.equal(status, 1);
      else {
        assert.match(rm.stderr, /cannot remove a running container/);
        assert.deepEqual([status, state(box, name)], [0, 'running']);
        await box.quick(['rm', '-f', name]);
      }
    }
    assert.deepEqual(await leftovers(box.directory), []);
  });
  await t.test('start and stop, again and again, by two at once', async () => {
    await box.quick(['create', '--name', 'ping', image, 'sleep', '1000']);
    for (let n = 0; n < 4; n++) {
      const starts = await Promise.all([box.start(['start', 'ping']).done, box.start(['start', 'ping']).done]);
      assert.deepEqual(
        starts.map(({ status, stderr }) => [status, stderr]),
        [
          [0, ''],
          [0, ''],
        ],
      );
      const stops = await Promise.all([box.start(['stop', '-t', '0', 'ping']).done, box.start(['kill', 'ping']).done]);
      assert.equal(stops[0]!.status, 0, stops[0]!.stderr);
      assert.equal(await box.quick(['wait', 'ping']), '137');
    }
    await box.quick(['rm', 'ping']);
  });
});

const WAITING = 'echo one; until [ -e /go ]; do sleep 0.05; done; echo two';

test('faults: the client is killed', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const image = box.image();
  await t.test('without -i the container goes on, and its output is in the log', async () => {
    const running = box.start(['run', '--name', 'goes-on', image, 'sh', '-c', WAITING]);
    await printed(running, /one/);
    running.child.kill('SIGKILL');
    await running.done;
    assert.equal(state(box, 'goes-on'), 'running');
    box.ok(['exec', 'goes-on', 'touch', '/go']);
    assert.equal(await box.quick(['wait', 'goes-on']), '0');
    assert.equal(box.ok(['logs', 'goes-on']), 'one\ntwo');
    await box.quick(['rm', 'goes-on']);
  });
  await t.test('with -i its standard input is closed', async () => {
    const running = box.start(['run', '-i', '--name', 'closes', image, 'sh', '-c', 'echo up; cat; echo end of input']);
    await printed(running, /up/);
    running.child.kill('SIGKILL');
    await running.done;
    assert.equal(await box.quick(['wait', 'closes']), '0');
    assert.equal(box.ok(['logs', 'closes']), 'up\nend of input');
    await box.quick(['rm', 'closes']);
  });
  await t.test('with --rm the container is removed when it ends by itself', async () => {
    const running = box.start(['run', '--rm', image, 'sh', '-c', 'echo up; sleep 0.5']);
    await printed(running, /up/);
    running.child.kill('SIGKILL');
    await running.done;
    await until('the removal', () => box.ok(['ps', '-aq']) === '');
    assert.deepEqual(await leftovers(box.directory), []);
  });
  await t.test(
    'at any moment of a start: what there is can be started or removed, and nothing else stays',
    async () => {
      const moments = process.env['TSBOX_SOAK'] === '1' ? 200 : 24;
      for (let n = 0; n < moments; n++) {
        const flags = n % 2 === 0 ? ['--rm'] : [];
        const running = box.start(['run', ...flags, '--name', `k${n}`, image, 'sleep', '1000']);
        await pause((n * 120) / moments);
        running.child.kill('SIGKILL');
        await running.done;
      }
      const names = (await box.quick(['ps', '-a', '--format', '{{.Names}}'])).split('\n').filter(Boolean);
      for (const name of names.slice(0, 8)) {
        if (state(box, name) !== 'running') box.ok(['start', name]);
        assert.equal(box.ok(['exec', name, 'cat', '/proc/1/comm']), 'sleep');
      }
      await box.quick(['rm', '-f', await box.quick(['create', image]), ...names]); // removal collects what the killed ones have left half-made
      box.ok(['run', '--rm', '--name', 'k0', image, 'true']);
      assert.deepEqual(mounted(box), []);
      assert.deepEqual(await leftovers(box.directory), []);
    },
  );
});

test('faults: a start that cannot succeed leaves nothing', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const image = box.image();
  const clean = async () => {
    assert.deepEqual(mounted(box), []);
    assert.deepEqual(runRootOf(box), []);
    assert.deepEqual(await leftovers(box.directory), []);
  };
  const fails = async (args: string[], message: RegExp, status = 125) => {
    const result = box.tsbox(['run', '--rm', ...args]);
    assert.equal(result.status, status, result.stderr);
    assert.match(result.stderr, message);
    assert.equal(result.stdout, '');
    await clean();
  };
  await t.test('a source that cannot be made', () =>
    fails(['-v', '/proc/nope/x:/x', image, 'true'], /mkdir.*\/proc\/nope.*ENOENT/),
  );
  await t.test('a source below a file', () =>
    fails(['-v', '/etc/passwd/x:/x', image, 'true'], /\/etc\/passwd.*(ENOTDIR|EEXIST)/),
  );
  await t.test('a file on a directory', () => fails(['-v', '/etc/passwd:/tmp', image, 'true'], /\/tmp/));
  await t.test('a directory on a file', () =>
    fails(['-v', `${box.directory}:/etc/passwd`, image, 'true'], /\/etc\/passwd/),
  );
  await t.test('a mount point in a read-only root', () =>
    fails(['--read-only', '-v', `${box.directory}:/proc/nope/x`, image, 'true'], /\/proc\/nope/),
  );
  await t.test('a working directory that is a file', () =>
    fails(['-w', '/etc/passwd', image, 'true'], /chdir.*\/etc\/passwd.*ENOTDIR/),
  );
  await t.test('a layer that is gone', async () => {
    const { GraphDriver } = JSON.parse(await box.quick(['inspect', '--type', 'image', image]))[0];
    const layer: string = GraphDriver.Data.UpperDir;
    renameSync(layer, `${layer}.away`);
    try {
      await fails([image, 'true'], /./);
    } finally {
      renameSync(`${layer}.away`, layer);
    }
    box.ok(['run', '--rm', image, 'true']);
  });
  await t.test('without --rm the container stays and says why; it starts once the reason is gone', async () => {
    const source = join(box.directory, 'source');
    writeFileSync(source, '');
    await box.quick([
      'create',
      '--name',
      'later',
      '-v',
      `${source}:/etc/new`,
      '-v',
      `${source}/below:/x`,
      image,
      'true',
    ]);
    assert.equal(box.tsbox(['start', 'later']).status, 1);
    assert.deepEqual(mounted(box), []);
    assert.deepEqual(runRootOf(box), []);
    assert.match(state(box, 'later', 'Error'), /below/);
    rmSync(source);
    mkdirSync(source);
    assert.equal(box.ok(['start', '-a', 'later']), '');
    await box.quick(['rm', 'later']);
  });
  await t.test('an executor that is not there', async () => {
    const copy = join(box.directory, 'copy');
    for (const path of ['bin', 'dist']) spawnSync('mkdir', ['-p', join(copy, path)]);
    const repository = join(import.meta.dirname, '../..');
    spawnSync('sh', [
      '-c',
      `cp -r ${repository}/bin ${repository}/dist ${copy}/ && ln -s ${repository}/node_modules ${copy}/ && ` +
        `mkdir -p ${copy}/native-bindings/build && cp ${repository}/native-bindings/build/libtsbox.so ${copy}/native-bindings/build/`,
    ]);
    const { status, stderr } = spawnSync(join(copy, 'bin/tsbox'), ['run', '--rm', image, 'true'], { env: box.env });
    assert.equal(status, 125, stderr.toString());
    assert.match(stderr.toString(), /executor[\s\S]*hint: .*make/);
    await clean();
  });
});

test('faults: the disk of the data root is full', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const directory = mkdtempSync(join(tmpdir(), 'tsb-full-'));
  const mount = (size: string) => spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'full', directory]).status;
  t.after(() => {
    spawnSync('umount', ['--lazy', directory]);
    rmSync(directory, { recursive: true });
  });
  assert.equal(mount('24m'), 0);
  const env = { TSBOX_ROOT: join(directory, 'd') };
  const archive = join(import.meta.dirname, '../../rootfs-fixtures/build/busybox.tar');
  box.ok(['import', '--change', 'CMD ["sh"]', archive, 'small'], { env });
  const fill = () =>
    spawnSync('sh', [
      '-c',
      `cat /dev/zero > ${directory}/ballast 2>/dev/null; while echo x >> ${directory}/ballast2; do :; done 2>/dev/null`,
    ]);
  const tree = () => spawnSync('sh', ['-c', `cd ${directory}/d && find . ! -path './tmp*' | sort`]).stdout.toString();
  await t.test('import says ENOSPC and what to do, and leaves nothing', () => {
    const before = tree();
    spawnSync('sh', ['-c', `head -c 21M /dev/zero > ${directory}/ballast`]);
    const result = box.tsbox(['import', archive, 'second'], { env });
    assert.notEqual(result.status, 0);
    assert.match(result.stderr, /ENOSPC \(No space left on device\)[\s\S]*hint: .*full/);
    assert.equal(tree(), before);
  });
  await t.test('create and run say ENOSPC and what to do, and leave nothing', () => {
    fill();
    const before = tree();
    for (const args of [
      ['run', '--rm'],
      ['run', '--name', 'xx'],
      ['create', '--name', 'xx'],
    ]) {
      const result = box.tsbox([...args, 'small', 'true'], { env });
      assert.equal(result.status, args[0] === 'run' ? 125 : 1, result.stderr);
      assert.match(result.stderr, /ENOSPC \(No space left on device\)[\s\S]*hint: .*full/);
      assert.equal(tree(), before, args.join(' '));
    }
  });
  await t.test('start says it too, and works when there is room again', () => {
    rmSync(join(directory, 'ballast'));
    box.ok(['create', '--name', 'late', 'small', 'sh', '-c', 'echo ok'], { env });
    fill();
    const result = box.tsbox(['start', '-a', 'late'], { env });
    assert.notEqual(result.status, 0);
    assert.match(result.stderr, /ENOSPC/);
    assert.equal(readFileSync('/proc/self/mountinfo', 'utf8').includes(`${directory}/d`), false);
    rmSync(join(directory, 'ballast'));
    assert.equal(box.ok(['start', '-a', 'late'], { env }), 'ok');
    box.ok(['rm', 'late'], { env });
  });
  await t.test('a container that fills the disk gets ENOSPC itself, ends, and is removed', () => {
    const result = box.tsbox(['run', '--rm', 'small', 'sh', '-c', 'cat /dev/zero > /big; echo code $?'], { env });
    assert.equal(result.stdout, 'code 1\n');
    assert.match(result.stderr, /No space left on device/);
    assert.equal(box.ok(['ps', '-aq'], { env }), '');
  });
});

test('faults: standard output leads to a full device', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const image = box.image();
  box.ok(['run', '--name', 'one', image, 'echo', 'hello']);
  const full = openSync('/dev/full', 'w');
  t.after(() => closeSync(full));
  for (const args of [
    ['logs', 'one'],
    ['cp', 'one:/etc/passwd', '-'],
    ['export', 'one'],
    ['ps', '-a'],
    ['start', '-a', 'one'],
  ]) {
    const { status, stderr } = spawnSync(TSBOX, args, { env: box.env, stdio: ['ignore', full, 'pipe'] });
    assert.equal(status, 1, args.join(' '));
    assert.match(stderr.toString(), /^tsbox: write standard output: ENOSPC .*\nhint: /, args.join(' '));
  }
  // Nobody can be told; what the command was asked for counts all the same.
  assert.equal(spawnSync(TSBOX, ['rm', 'nobody', 'one'], { env: box.env, stdio: ['ignore', 'pipe', full] }).status, 1);
  assert.equal(box.ok(['ps', '-aq']), '');
});

test('faults: the run root is removed while a container runs', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const image = box.image();
  for (let n = 0; n < 2; n++) {
    box.ok(['run', '-d', '--name', 'one', '--restart', 'always', image, 'sleep', '1000']);
    const pid = Number(state(box, 'one', 'Pid'));
    rmSync(box.runRoot, { recursive: true });
    // Its monitor lives, and cleans up behind the process that start ends.
    box.ok(['start', 'one']);
    assert.ok(!isAlive(pid));
    assert.equal(box.ok(['exec', 'one', 'cat', '/proc/1/comm']), 'sleep');
    rmSync(box.runRoot, { recursive: true });
    box.ok(['rm', '-f', 'one']);
    assert.deepEqual(await leftovers(box.directory), []);
  }
});

test('faults: SIGUSR1 ends tsbox, and opens no port of a debugger', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  box.ok(['run', '-d', '--name', 'one', box.image(), 'sleep', '1000']);
  const waiting = box.start(['wait', 'one']);
  await pause(PATIENCE * 500);
  waiting.child.kill('SIGUSR1');
  const { signal, stderr } = await waiting.done;
  assert.deepEqual([signal, stderr], ['SIGUSR1', '']);
});

test('faults: two run roots and one data root', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const image = box.image();
  const other = { env: { TSBOX_RUN_ROOT: join(box.directory, 'r2') } };
  box.ok(['run', '-d', '--name', 'one', image, 'sleep', '1000']);
  box.ok(['run', '-d', '--rm', '--name', 'two', image, 'sleep', '1000']);
  const pid = Number(state(box, 'one', 'Pid'));
  await t.test('a container that runs under the one runs for the other, and is not started twice', () => {
    const up = ['ps', '--format', '{{.Names}} {{.State}}'];
    assert.equal(box.ok(up, other), 'two running\none running');
    box.ok(['start', 'one', 'two'], other);
    assert.ok(isAlive(pid));
    assert.equal(box.ok(['exec', 'one', 'hostname'], other).length, 12);
    assert.equal(box.tsbox(['rm', 'one'], other).status, 1);
  });
  await t.test('its monitor is killed: the other starts it and removes it', async () => {
    process.kill(monitorOf(box, 'one'), 'SIGKILL');
    await until('the end of the process', () => !isAlive(pid));
    box.ok(['start', 'one'], other);
    assert.equal(state(box, 'one'), 'running');
    box.ok(['rm', '-f', 'one', 'two'], other);
    assert.deepEqual(runRootOf(box), []);
    assert.deepEqual(await leftovers(box.directory), []);
  });
});
