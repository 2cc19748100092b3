/** `restart`, restart policies, `pause`, `rename`, `--init`: a container's life goes on. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { openEngine } from '../../src/engine/open.ts';
import { runDirectory } from '../../src/store/store.ts';
import { askSuccession } from '../../src/store/successor.ts';
import { requires } from '../requires.ts';
import { PATIENCE, type Sandbox, sandbox, until } from './harness.ts';
import { isAlive } from './truth.ts';

const inspected = async (box: Sandbox, name: string, field: string) =>
  box.quick(['inspect', '-f', `{{${field}}}`, name]);
const status = (box: Sandbox, name: string) => inspected(box, name, '.State.Status');
const logged = (box: Sandbox, name: string) => box.tsbox(['logs', name]).stdout;

/** Tries until the words of `tsbox ARGS...` fit. */
async function becomes(box: Sandbox, args: string[], pattern: RegExp): Promise<string> {
  for (const end = performance.now() + PATIENCE * 30_000; ; await new Promise((wake) => setTimeout(wake, 30))) {
    const { stdout } = await box.said(args);
    if (pattern.test(stdout)) return stdout;
    if (performance.now() > end) throw new Error(`${args.join(' ')} stays at ${stdout}, not ${pattern}`);
  }
}

/** Each pause is twice as long as the one before it: from the fifth on (3.2 s) there is time for a look at what waits. */
const PAUSED_LONG = /^restarting ([5-9]|\d\d)$/m;

const runs = ({ runRoot }: Sandbox) => readdirSync(runRoot).filter((name) => /^[0-9a-f]{64}$/.test(name));

/** The process that waits to start a container again. */
function waiting(box: Sandbox, id: string): number {
  return JSON.parse(readFileSync(join(box.runRoot, id, 'followed.json'), 'utf8')).Pid;
}

test('restart policies', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const image = box.image();
  await t.test('on-failure:2 runs it three times, and run gives the first exit code', async () => {
    const result = box.tsbox([
      'run',
      '--name',
      'thrice',
      '--restart',
      'on-failure:2',
      image,
      'sh',
      '-c',
      'echo x; exit 3',
    ]);
    assert.deepEqual([result.status, result.stdout], [3, 'x\n']);
    await becomes(box, ['inspect', '-f', '{{.State.Status}} {{.RestartCount}}', 'thrice'], /^exited 2$/m);
    assert.equal(logged(box, 'thrice'), 'x\nx\nx\n');
    await until('nothing of its runs', () => runs(box).length === 0);
  });
  await t.test('on-failure leaves one that ends with 0 alone', async () => {
    box.ok(['run', '--name', 'well', '--restart', 'on-failure', image, 'true']);
    await becomes(box, ['inspect', '-f', '{{.State.Status}} {{.RestartCount}}', 'well'], /^exited 0$/m);
  });
  await t.test('always: again and again, ps says so, stop ends it at any time', async () => {
    const id = box.ok(['run', '-d', '--name', 'ever', '--restart', 'always', image, 'sh', '-c', 'echo x; exit 7']);
    await becomes(box, ['inspect', '-f', '{{.State.Status}} {{.RestartCount}}', 'ever'], PAUSED_LONG);
    const line = await becomes(box, ['ps', '--format', '{{.Status}} {{.State}}'], /Restarting/);
    assert.match(line, /^Restarting \(7\) .* ago restarting$/m);
    assert.match(
      (await box.said(['exec', 'ever', 'true'])).stderr,
      /is restarting, wait until the container is running/,
    );
    assert.match((await box.said(['rm', 'ever'])).stderr, /cannot remove a restarting container/);
    const pid = await until('the successor', () => waiting(box, id));
    await box.quick(['stop', 'ever']);
    assert.deepEqual([await status(box, 'ever'), await inspected(box, 'ever', '.State.ExitCode')], ['exited', '7']);
    await until('its end', () => !isAlive(pid));
    await until('nothing of its runs', () => runs(box).length === 0);
  });
  await t.test('a long pause is no Node, and what waits is small; rm -f ends it, and else it goes on', async () => {
    const program = (pid: number) => readlinkSync(`/proc/${pid}/exe`).split('/').at(-1);
    const id = box.ok(['run', '-d', '--name', 'rare', '--restart', 'always', image, 'sh', '-c', 'echo x; exit 7']);
    await becomes(box, ['inspect', '-f', '{{.State.Status}} {{.RestartCount}}', 'rare'], PAUSED_LONG);
    const kilobytes = (pid: number) => {
      const privates = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8').matchAll(/^Private_\w+:\s+(\d+)/gm);
      return [...privates].reduce((sum, [, number]) => sum + Number(number), 0);
    };
    await until('what waits, of less than 500 KB, the pages of the program with them', () => {
      try {
        const pid = waiting(box, id);
        return program(pid) === 'tsbox-executor' && kilobytes(pid) < 500;
      } catch {
        return false; // between two runs
      }
    });
    const count = Number(await inspected(box, 'rare', '.RestartCount'));
    await becomes(box, ['inspect', '-f', '{{.RestartCount}}', 'rare'], new RegExp(`^${count + 1}$`, 'm'));
    await box.quick(['rm', '-f', 'rare']);
    assert.deepEqual(runs(box), []);
  });
  await t.test('a killed successor: ps tells the truth, start brings it back and counts anew', async () => {
    const id = await inspected(box, 'ever', '.Id');
    box.ok(['start', 'ever']);
    await becomes(box, ['inspect', '-f', '{{.State.Status}} {{.RestartCount}}', 'ever'], PAUSED_LONG);
    process.kill(await until('the successor', () => waiting(box, id)), 'SIGKILL');
    assert.match(
      await becomes(box, ['ps', '-a', '--format', '{{.Names}} {{.Status}}'], /^ever Exited/m),
      /^ever Exited \(7\)/m,
    );
    box.ok(['start', 'ever']);
    await becomes(box, ['inspect', '-f', '{{.RestartCount}}', 'ever'], /^[1-4]$/m);
    await box.quick(['rm', '-f', 'ever']);
    assert.deepEqual(runs(box), []);
  });
  await t.test('who was killed or stopped by hand stays so, until the policy is asked anew', async () => {
    for (const policy of ['always', 'unless-stopped', 'on-failure']) {
      box.ok(['run', '-d', '--name', policy, '--restart', policy, image, 'sleep', '1000']);
      await box.quick(policy === 'always' ? ['stop', '-t', '0', policy] : ['kill', policy]);
      assert.equal(await box.quick(['wait', policy]), '137');
    }
    await new Promise((wake) => setTimeout(wake, 300));
    for (const policy of ['always', 'unless-stopped', 'on-failure']) assert.equal(await status(box, policy), 'exited');
    // The process, not the container: nobody has asked for that end.
    box.ok(['start', 'always']);
    process.kill(Number(await inspected(box, 'always', '.State.Pid')), 'SIGKILL');
    await becomes(box, ['inspect', '-f', '{{.State.Status}} {{.RestartCount}}', 'always'], /^running 1$/m);
    await box.quick(['rm', '-f', 'always']);
  });
  await t.test('update --restart counts at once', async () => {
    box.ok(['start', 'on-failure']);
    await box.quick(['update', '--restart', 'no', 'on-failure']);
    process.kill(Number(await inspected(box, 'on-failure', '.State.Pid')), 'SIGKILL');
    assert.equal(await box.quick(['wait', 'on-failure']), '137');
    box.ok(['start', 'on-failure']);
    await box.quick(['update', '--restart', 'always', 'on-failure']);
    process.kill(Number(await inspected(box, 'on-failure', '.State.Pid')), 'SIGKILL');
    await becomes(box, ['inspect', '-f', '{{.State.Status}} {{.RestartCount}}', 'on-failure'], /^running 1$/m);
    await box.quick(['rm', '-f', 'on-failure', 'unless-stopped']);
  });
  await t.test('--rm and a policy contradict each other', async () => {
    const { status: code, stderr } = await box.said(['create', '--rm', '--restart', 'always', image]);
    assert.deepEqual(
      [code, stderr.split('\n')[0]],
      [125, 'tsbox: conflicting options: cannot specify both --restart and --rm'],
    );
    box.ok(['run', '-d', '--rm', '--name', 'brief', image, 'sleep', '1000']);
    assert.match((await box.said(['update', '--restart', 'always', 'brief'])).stderr, /because AutoRemove is enabled/);
  });
});

test('restart, rename, pause', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const image = box.image();
  await t.test('restart: stopped and started, one that does not run is only started', async () => {
    box.ok(['run', '-d', '--name', 'one', '--stop-timeout', '0', image, 'sleep', '1000']);
    const pid = await inspected(box, 'one', '.State.Pid');
    const began = performance.now();
    assert.equal(box.ok(['restart', 'one']), 'one');
    assert.ok(performance.now() - began < 10_000, '--stop-timeout counts');
    assert.notEqual(await inspected(box, 'one', '.State.Pid'), pid);
    await box.quick(['kill', 'one']);
    assert.equal(await box.quick(['wait', 'one']), '137');
    const { status: code, stdout, stderr } = box.tsbox(['restart', 'missing', 'one']);
    assert.deepEqual([code, stdout, stderr.split('\n')[0]], [1, 'one\n', 'tsbox: No such container: missing']);
    assert.equal(await status(box, 'one'), 'running');
  });
  await t.test('--rm: restart keeps it, its end after that removes it, by the name that it has by then', async () => {
    const id = box.ok(['run', '-d', '--rm', '--name', 'first', image, 'sleep', '1000']);
    box.ok(['restart', '-t', '0', 'first']);
    assert.equal(await inspected(box, 'first', '.Id'), id);
    await box.quick(['rename', 'first', 'second']);
    const other = await box.quick(['create', '--name', 'first', image]);
    await box.quick(['kill', 'second']);
    await until('its removal', () => !existsSync(join(box.dataRoot, 'containers', id)));
    assert.equal(await inspected(box, 'first', '.Id'), other, 'its old name is another one’s');
    await until('its name', () => readdirSync(join(box.dataRoot, 'names')).sort().join() === 'first,one');
  });
  await t.test('--rm: kept by a restart that comes late, it is ready to be started', async () => {
    const { store } = openEngine(box);
    const id = await box.quick(['run', '-d', '--rm', image, 'sleep', '1000']);
    askSuccession(store, id, { Delay: 0, Keep: true });
    await box.quick(['kill', id]);
    await until('the end of the run', () => !existsSync(runDirectory(store, id)));
    assert.equal(await box.quick(['start', id]), id);
    assert.equal(await status(box, id), 'running');
    await box.quick(['rm', '-f', id]);
  });
  await t.test('rename in Docker’s words', async () => {
    const said = async (...args: string[]) => (await box.said(['rename', ...args])).stderr.replaceAll('tsbox: ', '');
    assert.match(await said('one', 'one'), /^Renaming a container with the same name as its current name\n/);
    assert.match(
      await said('one', 'first'),
      /^Error when allocating new name: Conflict\. The container name "\/first" is already in use/,
    );
    assert.match(await said('one', 'first'), /failed to rename container named one\n/);
    assert.match(await said('one', '!'), /^Error when allocating new name: Invalid container name \(!\)/);
    assert.match(await said('one', ' '), /^Neither old nor new names may be empty\n/);
    await box.quick(['rename', 'one', 'uno']);
    assert.equal(await inspected(box, 'uno', '.Name'), '/uno');
  });
  await t.test(
    'pause: nothing moves, exec and start are refused, unpause lets it go on, stop does too',
    async (context) => {
      box.ok([
        'run',
        '-d',
        '--name',
        'ticks',
        image,
        'sh',
        '-c',
        'trap "exit 5" TERM; while :; do echo x; sleep 0.05; done',
      ]);
      const paused = await box.said(['pause', 'ticks']);
      if (/no cgroup that can be frozen/.test(paused.stderr)) return context.skip('needs a cgroup that can be frozen');
      assert.equal(paused.stdout, 'ticks\n');
      // What it had said before is on its way into the log.
      let before = logged(box, 'ticks');
      await until('a log that stays as it is', () => {
        const last = before;
        before = logged(box, 'ticks');
        return before === last;
      });
      await new Promise((wake) => setTimeout(wake, 200));
      assert.equal(logged(box, 'ticks'), before);
      assert.match(
        await box.quick(['ps', '--filter', 'status=paused', '--format', '{{.Status}}']),
        /^Up .* \(Paused\)$/,
      );
      assert.match((await box.said(['pause', 'ticks'])).stderr, /is already paused/);
      assert.match((await box.said(['exec', 'ticks', 'true'])).stderr, /is paused, unpause the container before exec/);
      assert.match((await box.said(['start', 'ticks'])).stderr, /cannot start a paused container, try unpause instead/);
      assert.match(
        (await box.said(['rm', 'ticks'])).stderr,
        /paused container .*\. Unpause and then stop the container/,
      );
      await box.quick(['unpause', 'ticks']);
      await until('more', () => logged(box, 'ticks').length > before.length);
      assert.match((await box.said(['unpause', 'ticks'])).stderr, /is not paused/);
      await box.quick(['pause', 'ticks']);
      await box.quick(['stop', 'ticks']);
      assert.equal(await inspected(box, 'ticks', '.State.ExitCode'), '5', 'it heard the signal');
      assert.match((await box.said(['pause', 'ticks'])).stderr, /is not running/);
    },
  );
  await t.test('--init: hears signals, waits for orphans, gives the exit code', async () => {
    box.ok(['run', '-d', '--init', '--name', 'tended', image, 'sh', '-c', '(sleep 0.1 &); sleep 1000']);
    assert.equal(box.ok(['exec', 'tended', 'cat', '/proc/1/comm']), 'docker-init');
    assert.equal(await inspected(box, 'tended', '.HostConfig.Init'), 'true');
    await until('the orphan, gone and waited for', () => {
      const processes = box.ok(['exec', 'tended', 'ps', '-o', 'stat,args']);
      return /^S +sleep 1000$/m.test(processes) && !/^Z|^\S+ +sleep 0\.1$/m.test(processes);
    });
    assert.match(box.tsbox(['exec', 'tended', 'sh', '-c', 'echo > /sbin/docker-init']).stderr, /Read-only file system/);
    await box.quick(['stop', 'tended']); // the shell has no handler: without an init it would take ten seconds
    assert.equal(await inspected(box, 'tended', '.State.ExitCode'), '143');
    assert.equal(box.tsbox(['run', '--rm', '--init', image, 'sh', '-c', 'exit 9']).status, 9);
    const missing = box.tsbox(['run', '--rm', '--init', image, '/nope']);
    assert.deepEqual([missing.status, missing.stderr], [127, 'docker-init: exec /nope: No such file or directory\n']);
  });
  await t.test('--attach: the streams that were asked for', async () => {
    const words = [image, 'sh', '-c', 'echo out; echo err >&2'];
    const shown = (...flags: string[]) => {
      const { stdout, stderr } = box.tsbox(['run', '--rm', ...flags, ...words]);
      return [stdout, stderr];
    };
    assert.deepEqual(shown('-a', 'stdout'), ['out\n', '']);
    assert.deepEqual(shown('--attach', 'STDERR'), ['', 'err\n']);
    assert.deepEqual(shown('-a', 'stdout', '-a', 'stderr'), ['out\n', 'err\n']);
    assert.match((await box.said(['run', '-a', 'x', image])).stderr, /valid streams are STDIN, STDOUT and STDERR/);
    assert.match(
      (await box.said(['run', '-d', '-a', 'stdout', image])).stderr,
      /^tsbox: conflicting options: cannot specify both/,
    );
  });
  await t.test('--env-file: of run and of exec, before what is given by itself', async () => {
    const file = join(box.directory, 'variables');
    writeFileSync(file, '# mine\nA=1\nB=2\n');
    box.ok([
      'run',
      '-d',
      '--name',
      'vars',
      '--env-file',
      file,
      '-e',
      'B=3',
      '--label-file',
      file,
      image,
      'sleep',
      '1000',
    ]);
    assert.deepEqual(JSON.parse(await inspected(box, 'vars', 'json .Config.Env')).sort(), ['A=1', 'B=3']);
    assert.equal(await inspected(box, 'vars', 'index .Config.Labels "B"'), '2');
    assert.equal(box.ok(['exec', '--env-file', file, '-e', 'A=7', 'vars', 'sh', '-c', 'echo $A $B']), '7 2');
  });
});
