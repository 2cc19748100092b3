/** From `create` to `rm`: the verbs that act on a container, as Docker's do. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { requires } from '../requires.ts';
import { type Running, type Sandbox, sandbox, until } from './harness.ts';

const TRAPPING = 'trap "echo terminated; exit 3" TERM; echo ready; while :; do sleep 0.05; done';
const DEAF = 'trap "" TERM; echo ready; while :; do sleep 0.05; done';

const state = (box: Sandbox, name: string, field = 'Status') => box.ok(['inspect', '-f', `{{.State.${field}}}`, name]);
const printed = (running: Running, pattern: RegExp) =>
  until(`${pattern} on standard output`, () => pattern.test(running.stdout()));
const logged = (box: Sandbox, name: string, pattern: RegExp) =>
  until(`${pattern} in the log of ${name}`, () => pattern.test(box.tsbox(['logs', name]).stdout));

/** Runs detached and waits for its first word, so that its traps are set. */
async function runReady(box: Sandbox, name: string, script: string, ...flags: string[]): Promise<void> {
  box.ok(['run', '-d', '--name', name, ...flags, box.image(), 'sh', '-c', script]);
  await logged(box, name, /ready/);
}

test('life: create and start', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const image = box.image();
  await t.test('create makes, start runs, wait gives the exit code', async () => {
    const id = await box.quick(['create', '--name', 'one', image, 'sh', '-c', 'echo out; echo err >&2; exit 5']);
    assert.match(id, /^[0-9a-f]{64}$/);
    assert.equal(state(box, 'one'), 'created');
    assert.equal(box.ok(['start', 'one']), 'one');
    assert.equal(await box.quick(['wait', 'one']), '5');
    assert.equal(state(box, 'one'), 'exited');
    assert.equal(state(box, 'one', 'ExitCode'), '5');
    assert.equal(await box.quick(['wait', id.slice(0, 12)]), '5', 'again, of one that has ended');
  });
  await t.test('start again: the files are still there, the log goes on', async () => {
    await box.quick(['create', '--name', 'again', image, 'sh', '-c', 'echo x >> /count; wc -l < /count']);
    for (const count of ['1', '2', '3']) assert.equal(box.ok(['start', '-a', 'again']), count);
    assert.equal(box.ok(['logs', 'again']), '1\n2\n3');
  });
  await t.test('start -a gives output and exit code', () => {
    const result = box.tsbox(['start', '--attach', 'one']);
    assert.deepEqual([result.status, result.stdout, result.stderr], [5, 'out\n', 'err\n']);
  });
  await t.test('start -a -i gives input', async () => {
    await box.quick(['create', '-i', '--name', 'filter', image, 'wc', '-c']);
    assert.equal(box.tsbox(['start', '-a', '-i', 'filter'], { input: 'abc' }).stdout, '3\n');
    assert.equal(box.tsbox(['start', '-ai', 'filter'], { input: 'abcdef' }).stdout, '6\n');
  });
  await t.test('standard input stays open until the first client that gives it has left', async () => {
    const script = 'while read line; do echo "got $line"; done; echo end';
    await box.quick(['create', '-i', '--name', 'open', image, 'sh', '-c', script]);
    box.ok(['start', 'open']);
    const watching = box.start(['attach', '--no-stdin', 'open']);
    await new Promise((wake) => setTimeout(wake, 300));
    watching.child.kill('SIGKILL');
    await watching.done;
    assert.equal(state(box, 'open'), 'running');
    assert.match(box.tsbox(['attach', 'open'], { input: 'x\n' }).stdout, /got x\nend\n$/);
    assert.equal(await box.quick(['wait', 'open']), '0');
  });
  await t.test('start of what cannot be started: exit code 1, the container stays, its state says why', async () => {
    await box.quick(['create', '--name', 'broken', image, '/nope']);
    const result = box.tsbox(['start', 'broken']);
    assert.equal(result.status, 1);
    assert.match(result.stderr, /exec "\/nope": ENOENT/);
    assert.equal(box.tsbox(['start', '-a', 'broken']).status, 1);
    assert.deepEqual([state(box, 'broken'), state(box, 'broken', 'ExitCode')], ['created', '127']);
    assert.match(state(box, 'broken', 'Error'), /\/nope/);
  });
  await t.test('start of one that runs does nothing', async () => {
    box.ok(['run', '-d', '--name', 'sleeper', image, 'sleep', '100']);
    const pid = state(box, 'sleeper', 'Pid');
    assert.equal(box.ok(['start', 'sleeper']), 'sleeper');
    assert.equal(state(box, 'sleeper', 'Pid'), pid);
    await box.quick(['rm', '-f', 'sleeper']);
  });
  await t.test('several at once; one that is missing does not stop the others', () => {
    const result = box.tsbox(['start', 'one', 'missing', 'again']);
    assert.deepEqual([result.status, result.stdout], [1, 'one\nagain\n']);
    assert.match(result.stderr, /No such container: missing/);
  });
  await t.test('a name that is taken is refused in so many words', async () => {
    const id = await box.quick(['inspect', '-f', '{{.Id}}', 'one']);
    const result = box.tsbox(['run', '--name', 'one', image, 'true']);
    assert.equal(result.status, 125);
    assert.match(result.stderr, /[Cc]onflict/);
    assert.match(result.stderr, new RegExp(`"/one".*${id}`));
    assert.equal((await box.said(['create', '--name', 'one', image])).status, 1);
  });
  await t.test('ids may be shortened as long as they are clear', async () => {
    const ids = (await box.quick(['ps', '-aq', '--no-trunc'])).split('\n');
    for (const id of ids) assert.equal(await box.quick(['inspect', '-f', '{{.Id}}', id.slice(0, 20)]), id);
    const result = await box.said(['inspect', 'ffffffffffff0']);
    assert.equal(result.status, 1);
    assert.equal(result.stdout, '[]\n');
  });
});

test('life: stop, kill, wait', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const image = box.image();
  await t.test('stop asks with SIGTERM, and the process may say goodbye', async () => {
    await runReady(box, 'polite', TRAPPING);
    assert.equal(await box.quick(['stop', 'polite']), 'polite');
    assert.deepEqual([state(box, 'polite'), state(box, 'polite', 'ExitCode')], ['exited', '3']);
    assert.equal(box.ok(['logs', 'polite']), 'ready\nterminated');
    assert.equal(await box.quick(['stop', 'polite']), 'polite', 'again, of one that has ended');
  });
  await t.test('stop -t kills after that time', async () => {
    await runReady(box, 'deaf', DEAF);
    const begin = performance.now();
    await box.quick(['stop', '-t', '1', 'deaf']);
    const took = performance.now() - begin;
    assert.ok(took >= 950 && took < 8_000, `${took} ms`);
    assert.equal(state(box, 'deaf', 'ExitCode'), '137');
  });
  await t.test('stop -t 0 kills at once; --stop-signal is what stop sends', async () => {
    box.ok(['start', 'deaf']);
    await box.quick(['stop', '--time=0', 'deaf']);
    assert.equal(state(box, 'deaf', 'ExitCode'), '137');
    await runReady(
      box,
      'usr1',
      'trap "exit 9" USR1; echo ready; while :; do sleep 0.05; done',
      '--stop-signal',
      'USR1',
    );
    await box.quick(['stop', 'usr1']);
    assert.equal(state(box, 'usr1', 'ExitCode'), '9');
  });
  await t.test('stop -s and restart -s send that signal instead; a stop is one whichever it was', async () => {
    const script = 'trap "exit 8" TERM; trap "exit 9" USR1; echo ready; while :; do sleep 0.05; done';
    await runReady(box, 'asked', script, '--stop-signal', 'USR1', '--restart', 'always');
    assert.equal(await box.quick(['stop', '-s', 'TERM', 'asked']), 'asked');
    assert.deepEqual([state(box, 'asked'), state(box, 'asked', 'ExitCode')], ['exited', '8']);
    box.ok(['start', 'asked']);
    await until('its traps', () => box.tsbox(['logs', 'asked']).stdout === 'ready\nready\n');
    const pid = state(box, 'asked', 'Pid');
    assert.equal(box.ok(['restart', '--signal', '15', 'asked']), 'asked');
    assert.notEqual(state(box, 'asked', 'Pid'), pid);
    const since = ['events', '--since', '1h', '--until', '0s', '--filter', 'container=asked'];
    const codes = () => box.ok([...since, '--filter', 'event=die', '--format', '{{.Actor.Attributes.exitCode}}']);
    await until('both ends to be told', () => codes() === '8\n8'); // just after they can be seen
    for (const verb of ['stop', 'restart']) {
      const bad = await box.said([verb, '-s', 'NOPE', 'asked']);
      assert.deepEqual([bad.status, bad.stderr.split('\n')[0]], [1, 'tsbox: invalid signal: NOPE']);
    }
    await box.quick(['stop', '--signal', 'KILL', 'asked']);
    assert.deepEqual([state(box, 'asked'), state(box, 'asked', 'ExitCode')], ['exited', '137']);
  });
  await t.test('kill -s sends any signal, by name or number', async () => {
    await runReady(
      box,
      'signals',
      'trap "echo hup" HUP; trap "echo usr2" USR2; echo ready; while :; do sleep 0.05; done',
    );
    await box.quick(['kill', '-s', 'HUP', 'signals']);
    await logged(box, 'signals', /hup/);
    await box.quick(['kill', '--signal', 'SIGUSR2', 'signals']);
    await logged(box, 'signals', /usr2/);
    await box.quick(['kill', '-s', '', 'signals']);
    assert.equal(await box.quick(['wait', 'signals']), '137');
    const dead = await box.said(['kill', 'signals']);
    assert.equal(dead.status, 1);
    assert.match(dead.stderr, /is not running/);
    assert.equal((await box.said(['kill', '-s', 'NOPE', 'signals'])).status, 1);
  });
  await t.test('wait blocks, and waits for several in their order', async () => {
    box.ok(['run', '-d', '-i', '--name', 'first', image, 'sh', '-c', 'read line; exit 4']);
    box.ok(['run', '-d', '--name', 'second', image, 'sh', '-c', 'exit 6']);
    const waiting = box.start(['wait', 'first', 'second']);
    await until('the second to end', () => state(box, 'second') === 'exited');
    assert.equal(waiting.stdout(), '');
    box.start(['attach', 'first'], { input: 'go\n' });
    assert.equal((await waiting.done).stdout, '4\n6\n');
  });
});

test('life: rm', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const image = box.image();
  await t.test('refuses one that runs, unless forced', async () => {
    await runReady(box, 'busy', DEAF);
    const result = await box.said(['rm', 'busy']);
    assert.equal(result.status, 1);
    assert.match(result.stderr, /You cannot remove a running container [0-9a-f]{64}\. Stop the container/);
    assert.equal(state(box, 'busy'), 'running');
    assert.equal(await box.quick(['rm', '-f', 'busy']), 'busy');
    assert.equal((await box.said(['inspect', 'busy'])).status, 1);
  });
  await t.test('of several, and -f of what is not there', async () => {
    for (const name of ['a1', 'a2']) await box.quick(['create', '--name', name, image]);
    const result = await box.said(['rm', '-v', 'a1', 'nope', 'a2']);
    assert.deepEqual([result.status, result.stdout], [1, 'a1\na2\n']);
    assert.equal((await box.said(['rm', '-f', 'nope'])).status, 0);
  });
  await t.test('--rm with -d removes when the process has ended', async () => {
    await runReady(box, 'fleeting', TRAPPING, '--rm');
    assert.equal(await box.quick(['stop', 'fleeting']), 'fleeting');
    await until('the removal', () => box.ok(['ps', '-aq']) === '');
  });
  await t.test('nothing of a container is left in the store', async () => {
    // The one with --rm is removed beside us, and is not listed any more before its files are gone.
    for (const path of ['containers', 'image/overlay2/layerdb/mounts', 'names']) {
      const directory = join(box.dataRoot, path);
      await until(`${path} to be empty`, () => !existsSync(directory) || readdirSync(directory).length === 0);
    }
  });
});

test('life: attach', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const image = box.image();
  await t.test('two clients see the same from when they came, and get the exit code', async () => {
    box.ok([
      'run',
      '-d',
      '-i',
      '--name',
      'echo',
      image,
      'sh',
      '-c',
      'while read line && [ "$line" != end ]; do echo "got $line"; done; exit 7',
    ]);
    const [one, two] = [box.start(['attach', 'echo']), box.start(['attach', 'echo'])];
    // A client is there when it has answered: until then its input waits.
    one.child.stdin!.write('first\n');
    await printed(one, /got first/);
    two.child.stdin!.write('second\n');
    await printed(one, /got second/);
    await printed(two, /got second/);
    one.child.stdin!.end('end\n');
    const [first, second] = await Promise.all([one.done, two.done]);
    assert.deepEqual([first.status, second.status], [7, 7]);
    assert.match(first.stdout, /^got first\ngot second\n$/);
  });
  await t.test('one client that is killed does not disturb the other', async () => {
    box.ok(['run', '-d', '--name', 'ticker', image, 'sh', '-c', 'while :; do echo tick; sleep 0.05; done']);
    const [one, two] = [box.start(['attach', 'ticker']), box.start(['attach', 'ticker'])];
    await Promise.all([printed(one, /tick/), printed(two, /tick/)]);
    one.child.kill('SIGKILL');
    await one.done;
    const before = two.stdout().length;
    await until('more output', () => two.stdout().length > before + 20);
    await box.quick(['rm', '-f', 'ticker']);
    assert.equal((await two.done).status, 137);
  });
  await t.test('signals go to the process; with --sig-proxy=false they end the client only', async () => {
    await runReady(box, 'trapping', 'echo ready; while :; do echo tick; sleep 0.05; done');
    const client = box.start(['attach', '--sig-proxy=false', 'trapping']);
    await printed(client, /tick/);
    client.child.kill('SIGTERM');
    assert.equal((await client.done).status, 143);
    assert.equal(state(box, 'trapping'), 'running');
    const run = box.start(['run', '--rm', image, 'sh', '-c', TRAPPING]);
    await printed(run, /ready/);
    run.child.kill('SIGTERM');
    const { status, stdout } = await run.done;
    assert.deepEqual([status, stdout], [3, 'ready\nterminated\n']);
  });
  await t.test('to one that does not run', async () => {
    await box.quick(['create', '--name', 'idle', image]);
    const result = box.tsbox(['attach', 'idle']);
    assert.equal(result.status, 1);
    assert.match(result.stderr, /cannot attach to a stopped container/);
  });
  await t.test('a client that does not read holds the container back, and does not lose a byte', async () => {
    const size = 8 << 20;
    const slow = box.start(['run', '--rm', image, 'sh', '-c', `head -c ${size} /dev/zero; echo done >&2`]);
    slow.child.stdout!.pause();
    await new Promise((wake) => setTimeout(wake, 700));
    assert.equal(slow.stderr(), '', 'it waits');
    slow.child.stdout!.resume();
    const { status, bytes, stderr } = await slow.done;
    assert.deepEqual([status, bytes.length, stderr], [0, size, 'done\n']);
  });
});

test('life: ps and inspect', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const image = box.image();
  await box.quick(['create', '--name', 'made', '--label', 'tier=low', image, 'echo', 'a b']);
  box.ok(['run', '--name', 'ended', image, 'sh', '-c', 'exit 0']);
  box.tsbox(['run', '--name', 'failed', '--label', 'tier=low', image, 'sh', '-c', 'exit 3']);
  box.ok(['run', '-d', '--name', 'runs', image, 'sleep', '1000']);
  const names = (...flags: string[]) =>
    box
      .ok(['ps', '--format', '{{.Names}}', ...flags])
      .split('\n')
      .filter(Boolean);
  await t.test('columns', async () => {
    const [head = '', row = '', ...more] = (await box.quick(['ps'])).split('\n');
    assert.match(head, /^CONTAINER ID {3}IMAGE {13}COMMAND {8}CREATED +STATUS +PORTS +NAMES$/);
    assert.match(row, /^[0-9a-f]{12} {3}busybox:offline {3}"sleep 1000" +.* ago +Up .* +runs$/);
    assert.deepEqual(more, []);
  });
  await t.test('-a, -l, -n, -q, --no-trunc', async () => {
    assert.deepEqual(names('-a'), ['runs', 'failed', 'ended', 'made']);
    assert.deepEqual(names(), ['runs']);
    assert.deepEqual(names('-l'), ['runs']);
    assert.deepEqual(names('-n', '2'), ['runs', 'failed']);
    assert.match(await box.quick(['ps', '-q']), /^[0-9a-f]{12}$/);
    assert.match(await box.quick(['ps', '-q', '--no-trunc']), /^[0-9a-f]{64}$/);
    const statuses = await box.quick(['ps', '-a', '--format', '{{.Names}} {{.Status}}']);
    assert.match(statuses, /^runs Up .*\nfailed Exited \(3\) .* ago\nended Exited \(0\) .* ago\nmade Created$/);
  });
  await t.test('filters', async () => {
    assert.deepEqual(names('-f', 'status=exited'), ['failed', 'ended']);
    assert.deepEqual(names('-f', 'status=created', '-f', 'status=running'), ['runs', 'made']);
    assert.deepEqual(names('-a', '-f', 'label=tier=low'), ['failed', 'made']);
    assert.deepEqual(names('-a', '-f', 'label=tier', '-f', 'name=fail'), ['failed']);
    assert.deepEqual(names('-a', '-f', 'exited=3'), ['failed']);
    assert.deepEqual(names('-a', '-f', `ancestor=${image}`).length, 4);
    assert.equal((await box.said(['ps', '-f', 'nope=1'])).status !== 0, true);
  });
  await t.test('inspect -f and the whole', async () => {
    const [object] = JSON.parse(await box.quick(['inspect', 'runs']));
    assert.equal(object.Name, '/runs');
    assert.equal(object.Path, 'sleep');
    assert.deepEqual(object.Args, ['1000']);
    assert.equal(object.State.Status, 'running');
    assert.equal(object.State.Running, true);
    assert.equal(object.Config.Image, image);
    assert.equal(object.HostConfig.NetworkMode, 'none');
    assert.equal(object.Driver, 'overlay2');
    assert.ok(Date.parse(object.State.StartedAt) > Date.parse(object.Created));
    assert.ok(existsSync(object.LogPath));
    assert.ok(existsSync(object.GraphDriver.Data.MergedDir));
    const [cgroup = ''] = readFileSync(`/proc/${object.State.Pid}/cgroup`, 'utf8').split('\n');
    assert.ok(cgroup.endsWith(`/tsbox-${object.Id}`), cgroup);
    assert.equal(
      await box.quick(['inspect', '-f', '{{.Name}} {{len .Args}} {{json .Config.Cmd}}', 'runs', 'made']),
      '/runs 1 ["sleep","1000"]\n/made 1 ["echo","a b"]',
    );
  });
  await t.test('templates made for Docker find their fields', async () => {
    const format =
      '{{.HostConfig.RestartPolicy.Name}} {{.HostConfig.Memory}} <{{.NetworkSettings.IPAddress}}> {{.HostConfig.IpcMode}}';
    assert.equal(await box.quick(['inspect', '-f', format, 'runs']), 'no 0 <> private');
  });
  await t.test('info counts them', async () => {
    const format = '{{.Containers}} {{.ContainersRunning}} {{.ContainersPaused}} {{.ContainersStopped}}';
    assert.equal(await box.quick(['info', '-f', format]), '4 1 0 3');
  });
});
