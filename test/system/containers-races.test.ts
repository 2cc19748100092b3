/** Two who want different things of one container: what comes second meets what the first has left, never half of it. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, rmdirSync, rmSync, statSync } from 'node:fs';
import test from 'node:test';
import { openView } from '../../src/engine/container-view.ts';
import { explainExec } from '../../src/engine/exec.ts';
import { openEngine } from '../../src/engine/open.ts';
import { exitAfterLoss } from '../../src/engine/wait.ts';
import { requireContainer } from '../../src/store/containers.ts';
import { containerDirectory } from '../../src/store/store.ts';
import { lock } from '../../src/sys/lock.ts';
import { isEnding } from '../../src/sys/process-stat.ts';
import { requires } from '../requires.ts';
import { type Sandbox, sandbox, TSBOX, until } from './harness.ts';
import { pause } from './truth.ts';

/** How many wait for a lock on a file: lines of /proc/locks with an arrow. @see proc_locks(5) */
function waiting(path: string): number {
  const inode = new RegExp(`-> FLOCK .*:${statSync(path).ino} `);
  return readFileSync('/proc/locks', 'latin1')
    .split('\n')
    .filter((line) => inode.test(line)).length;
}

test('races: who starts a container while it is removed is told that there is none', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const image = box.image();
  for (const verb of ['start', 'restart']) {
    const id = await box.quick(['create', '--network', 'none', image, 'sleep', '1000']);
    const directory = containerDirectory(openEngine(box).store, id);
    const held = lock(directory);
    // They get the lock in the order in which they have asked for it.
    const removal = box.start(['rm', id]);
    while (waiting(directory) < 1) await pause(5);
    const other = box.start([verb, id]);
    while (waiting(directory) < 2) await pause(5);
    held.release();
    const [removed, refused] = await Promise.all([removal.done, other.done]);
    assert.equal(removed.status, 0, `rm: ${removed.stderr}`);
    assert.equal(refused.status, 1, verb);
    assert.match(refused.stderr, /No such container: /, verb);
    assert.equal(await box.quick(['ps', '-aq']), '');
  }
});

/** A container that has ended, but whose monitor has not come to clean up: it is stopped for as long as `during` takes, or until `ms` are over. */
async function whileItEnds<T>(box: Sandbox, id: string, ms: number, during: () => Promise<T>): Promise<T> {
  const { Pid, Monitor } = JSON.parse(readFileSync(`${box.runRoot}/${id}/state.json`, 'utf8'));
  process.kill(Monitor, 'SIGSTOP');
  const wake = () => process.kill(Monitor, 'SIGCONT');
  const timer = setTimeout(wake, ms);
  try {
    process.kill(Pid, 'SIGKILL');
    await until('its end', () => isEnding(Pid));
    return await during();
  } finally {
    clearTimeout(timer);
    if (existsSync(`/proc/${Monitor}`)) wake();
  }
}

test('races: a container whose process has ended does not run, also before its monitor has cleaned up', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const image = box.image();
  const run = (...options: string[]) =>
    box.quick(['run', '-d', '--network', 'none', ...options, image, 'sh', '-c', 'echo here; exec sleep 1000']);
  await t.test('exec says so', async () => {
    const id = await run();
    await whileItEnds(box, id, 20_000, async () => {
      for (const words of [[], ['--privileged']]) {
        const { status, stderr } = await box.start(['exec', ...words, id, 'true']).done;
        assert.deepEqual([status, stderr], [1, `tsbox: container ${id} is not running\n`]);
      }
    });
    assert.equal(await box.quick(['wait', id]), '137');
  });
  await t.test('attach says so when the monitor listens no more', async () => {
    const id = await run();
    await whileItEnds(box, id, 20_000, async () => {
      rmSync(`${box.runRoot}/${id}/attach.sock`);
      const { status, stderr } = await box.start(['attach', id]).done;
      assert.deepEqual([status, stderr], [1, 'tsbox: You cannot attach to a stopped container, start it first\n']);
    });
  });
  await t.test('a client that was not heard any more is told the exit code, if there is one', async () => {
    const lost = new Error('the connection was lost');
    const told = (id: string) => exitAfterLoss(openEngine(box), id, lost).catch((error: unknown) => error);
    const [id, other] = [await run(), await run()];
    assert.equal(await told(id), lost, 'it runs');
    const answer = await whileItEnds(box, id, 300, () => told(id));
    assert.deepEqual(answer, { code: 137 }, 'it waits for the record');
    const { Monitor } = JSON.parse(readFileSync(`${box.runRoot}/${other}/state.json`, 'utf8'));
    process.kill(Monitor, 'SIGKILL');
    await until('its end', () => box.tsbox(['inspect', '-f', '{{.State.Status}}', other]).stdout === 'exited\n');
    assert.equal(await told(other), lost, 'nobody has seen its end');
    await box.quick(['rm', '-f', id, other]);
  });
  await t.test('update keeps the limits for its next start', async () => {
    const id = await run();
    await whileItEnds(box, id, 20_000, async () => {
      const { status, stderr } = await box.start(['update', '--cpu-shares', '512', id]).done;
      assert.deepEqual([status, stderr], [0, '']);
    });
    assert.equal(await box.quick(['inspect', '-f', '{{.HostConfig.CpuShares}}', id]), '512');
  });
  await t.test('start waits, and starts it', async () => {
    const id = await run();
    const { status, stderr } = await whileItEnds(box, id, 700, () => box.start(['start', id]).done);
    assert.deepEqual([status, stderr], [0, '']);
    assert.equal(await box.quick(['inspect', '-f', '{{.State.Status}}', id]), 'running');
    const attached = await whileItEnds(box, id, 700, async () => {
      const started = box.start(['start', '-a', id]);
      await until('the line', () => started.stdout() === 'here\n');
      return started;
    });
    await box.quick(['kill', id]);
    assert.equal((await attached.done).status, 137);
  });
  await t.test('exec that failed in one says so of the next one, too', async () => {
    const id = await run();
    const request = { container: id, command: ['true'], env: [], tty: false, openStdin: false, detach: false };
    const gone = { list: 0, index: 0, errno: 2 };
    // It was asked for when this process was started.
    const { message } = await explainExec(openEngine(box), request, gone).then(assert.fail, (error: Error) => error);
    assert.equal(message, `container ${id} is not running`);
  });
  await t.test('commit and export read its layers when they are unmounted', async () => {
    const id = await run();
    const merged = await box.quick(['inspect', '-f', '{{.GraphDriver.Data.MergedDir}}', id]);
    await box.quick(['exec', id, 'touch', '/written']);
    await whileItEnds(box, id, 20_000, async () => {
      assert.equal(spawnSync('umount', [merged]).status, 0);
      rmdirSync(merged);
      const layers = await box.quick(['inspect', '-f', '{{len .RootFS.Layers}}', image]);
      const committed = await box.quick(['commit', id]);
      assert.equal(await box.quick(['inspect', '-f', '{{len .RootFS.Layers}}', committed]), String(Number(layers) + 1));
      const { status, stdout } = await box.start(['export', id]).done;
      assert.deepEqual([status, /\0written\0/.test(stdout)], [0, true]);
    });
  });
  await t.test('rm refuses one that will be started again', async () => {
    const id = await run('--restart', 'always');
    const { status, stderr } = await whileItEnds(box, id, 20_000, () => box.start(['rm', id]).done);
    assert.equal(status, 1);
    assert.match(stderr, /^tsbox: You cannot remove a running container /);
    await box.quick(['rm', '-f', id]);
  });
  await t.test('rm waits, and removes it', async () => {
    for (const options of [[], ['--rm']]) {
      const id = await run(...options);
      const { status, stderr } = await whileItEnds(box, id, 700, () => box.start(['rm', id]).done);
      assert.deepEqual([status, stderr], [0, '']);
      assert.equal(await box.quick(['ps', '-aq', '--no-trunc', '--filter', `id=${id}`]), '');
      const now = ['--since', '0', '--until', String(Date.now() / 1000)];
      const words = [
        'events',
        ...now,
        '--filter',
        `container=${id}`,
        '--filter',
        'event=destroy',
        '--format',
        '{{.ID}}',
      ];
      assert.equal(await box.quick(words), id, 'it is removed once');
    }
  });
});

test('races: what is read of a container that is removed meanwhile is whole, or the container is not there', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const image = box.image();
  const fill = 'for d in $(seq 40); do mkdir -p /many/$d; for f in $(seq 50); do echo $d $f > /many/$d/$f; done; done';
  const make = async (running: boolean) => {
    const id = await box.quick(['run', '-d', '--network', 'none', image, 'sh', '-c', `${fill}; exec sleep 1000`]);
    await until('its files', () => box.tsbox(['exec', id, 'test', '-e', '/many/40/50']).status === 0);
    if (!running) await box.quick(['kill', id]);
    return id;
  };
  for (const running of [true, false]) {
    for (const args of ['export $ID', 'cp $ID:/many -']) {
      await t.test(`${args}, ${running ? 'running' : 'stopped'}`, async () => {
        const id = await make(running);
        // It reads what does not run under the container's lock: then removal waits.
        const waits = args.startsWith('cp') && !running;
        const rm = `"$TSBOX" rm -f $ID > /dev/null ${waits ? '& sleep 0.5' : ''}`;
        const script = `{ "$TSBOX" ${args}; echo "status $?" >&2; } | { head -c 1 > /dev/null; ${rm}\ncat > /dev/null; wait; }`;
        const env = { ...process.env, ...box.env, TSBOX, ID: id };
        const { stderr } = spawnSync('sh', ['-c', script], { env, encoding: 'utf8' });
        if (waits) assert.equal(stderr, 'status 0\n');
        else assert.match(stderr, /No such container: \w+\n(.*\n)*status 1\n/);
      });
    }
  }
  await t.test('commit', async () => {
    let whole = '';
    for (const wait of [0, 150, 250]) {
      const id = await make(false);
      const commit = box.start(['commit', id]);
      await (wait === 0 ? commit.done : pause(wait));
      await box.quick(['rm', '-f', id]);
      const { status, stdout, stderr } = await commit.done;
      if (status !== 0) assert.match(stderr, /^tsbox: No such container: /);
      else {
        const size = await box.quick(['inspect', '-f', '{{.Size}}', stdout.trim()]);
        whole ||= size;
        assert.equal(size, whole);
      }
    }
  });
});

test('races: cp of a container that is removed meanwhile', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const id = await box.quick(['create', '--network', 'none', box.image(), 'true']);
  const { store } = openEngine(box);
  const record = requireContainer(store, id);
  await box.quick(['rm', id]);
  await assert.rejects(openView(openEngine(box), record), {
    code: 'ERR_TSBOX_NOT_FOUND',
    message: /^No such container: /,
  });
});
