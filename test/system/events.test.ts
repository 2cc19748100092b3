/** `events`: what is told of containers and images, as docker tells it, and to whoever follows. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, readFileSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { requires } from '../requires.ts';
import { besideDocker } from './beside-docker.ts';
import { sandbox, TSBOX, until } from './harness.ts';
import { terminal } from './tmux.ts';

test('events: beside docker the same is told of containers and images', async (t) => {
  if (!requires(t, 'root', 'overlay', 'command:dockerd')) return;
  const { both, compare, same, box } = await besideDocker(t);
  const begin = String(Math.floor(Date.now() / 1000));
  await both('import', join(import.meta.dirname, '../../rootfs-fixtures/build/busybox.tar'), 'base:1');
  await both('volume', 'create', 'vol');
  await both('volume', 'create', 'vol');
  await both('volume', 'rm', 'vol');
  await both('volume', 'create', 'kept');
  await both('tag', 'base:1', 'other/name:2');
  const flags = ['--network', 'none', '--label', 'b=2', '--label', 'a=1 < 2'];
  await both('create', '--name', 'one', ...flags, 'base:1', 'sleep', '1000');
  await both('start', 'one');
  await both('exec', 'one', 'sh', '-c', 'exit 0');
  await compare('exec', 'one', 'sh', '-c', 'exit 3');
  await both('pause', 'one');
  await both('unpause', 'one');
  await both('rename', 'one', 'uno');
  await both('restart', '-t', '0', 'uno');
  await both('rename', 'uno', 'one');
  await both('restart', '-t', '0', 'one');
  await both('cp', import.meta.filename, 'one:/tmp/a');
  await both('cp', import.meta.filename, 'one:/etc');
  await both('cp', 'one:/etc/passwd', box.directory);
  await both('update', '--memory', '64m', '--memory-swap', '64m', 'one');
  await both('kill', '--signal', 'WINCH', 'one');
  await both('stop', '-t', '0', 'one');
  await both('commit', '-m', 'as it is', 'one', 'made:3');
  await both('rm', 'one');
  await compare('run', '--rm', '--name', 'two', ...flags, 'base:1', 'sh', '-c', 'exit 7');
  await both('run', '-d', '--name', 'three', ...flags, '-v', 'kept:/k:ro', 'base:1', 'sleep', '1000');
  await both('rm', '-f', 'three');
  const eats = ['sh', '-c', 'x=1234567890; while :; do x=$x$x; done'];
  await compare('run', '--name', 'four', ...flags, '-m', '16m', '--memory-swap', '16m', 'base:1', ...eats);
  await both('rm', 'four');
  await both('volume', 'rm', 'kept');
  await both('rmi', 'made:3', 'other/name:2');
  await both('container', 'prune', '-f');
  const end = String(Math.ceil(Date.now() / 1000) + 1);
  const own = ['--filter', 'type=container', '--filter', 'type=image'];
  const events = ['events', '--since', begin, '--until', end];
  const told = async (...more: string[]) => {
    const [docker, tsbox] = await compare(
      ...events,
      ...more,
      '--format',
      '{{.Type}} {{.Action}} {{json .Actor}} {{.From}} {{.Status}}',
    );
    const plain = (text: string) =>
      text
        .replace(/"execID":"[0-9a-f]{64}"/g, '"execID":"E"')
        .replace(/"container":"[0-9a-f]{64}"/g, '"container":"C"')
        .replace(/"reclaimed":"\d+"/g, '"reclaimed":"N"')
        .replace(/"ID":"[0-9a-f]{64}"/g, '"ID":"(two)"');
    // Docker wakes whoever waits for an end before it tells of that end: where that stands is chance.
    const order = (text: string) => {
      const lines = plain(text).split('\n');
      const isEnd = (line: string) => /^container (exec_)?die /.test(line);
      return [...lines.filter((line) => !isEnd(line)), ...lines.filter(isEnd).sort()].join('\n');
    };
    assert.equal(order(tsbox.stdout), order(docker.stdout));
    return tsbox.stdout.trimEnd().split('\n');
  };
  const all = await told(...own);
  assert.ok(all.length > 25, all.join('\n'));
  await told(...own, '--filter', 'container=one');
  await told(...own, '--filter', 'event=die', '--filter', 'event=exec_start');
  await told(...own, '--filter', 'label=b=2', '--filter', 'image=base:1');
  assert.ok(all.some((line) => line.startsWith('container oom ')));
  await told(...own, '--filter', 'container=uno');
  await told(...own, '--filter', 'label=b=2', '--filter', 'label=nosuch');
  await told('--filter', 'plugin=any');
  await told('--filter', 'type=image');
  await told('--filter', 'type=volume');
  await same('events', '--filter', 'nothing');
  await same('events', '--since', 'yesterday');
  await same('events', '--since', '5', '--until', '3');
  const inFull = [...events, '--filter', 'event=die', '--filter', 'event=prune', '--format'];
  await same(
    ...inFull,
    '{{.Status}} {{.Actor.Attributes.nosuch}} {{index .Actor.Attributes "a"}} {{.Actor.Attributes}}',
  );
  const [inDocker, inTsbox] = await compare(...inFull, '{{.Nosuch}}');
  assert.deepEqual([inTsbox.status, inDocker.status], [64, 64]);
  const keys = (await compare(...inFull, '{{json .}}')).map(({ stdout }) => stdout.replaceAll(/:("[^"]*"|\d+)/g, ''));
  assert.deepEqual(keys[1]!.split('\n').sort(), keys[0]!.split('\n').sort());
  const [line] = box
    .ok(['events', '--since', begin, '--until', end, '--filter', 'event=die', '--format', 'json'])
    .split('\n');
  const { time, timeNano, ...rest } = JSON.parse(line!);
  assert.deepEqual(Object.keys(rest), ['status', 'id', 'from', 'Type', 'Action', 'Actor', 'scope']);
  assert.ok(time >= Number(begin) && String(timeNano).length === 19, line);
  assert.match(
    box.ok(['events', '--since', begin, '--until', end, '--filter', 'event=die']),
    /^\d{4}-\d\d-\d\dT[\d:]{8}\.\d{9}\S+ container die [0-9a-f]{64} \(a=1 < 2, b=2, exitCode=\d+, image=base:1, name=uno\)\n/,
  );
});

test('events: beside docker the same is told of a window that changes', async (t) => {
  if (!requires(t, 'root', 'overlay', 'command:dockerd', 'command:tmux')) return;
  const { both, compare, box, dockerHost } = await besideDocker(t);
  const begin = String(Math.floor(Date.now() / 1000));
  await both('import', join(import.meta.dirname, '../../rootfs-fixtures/build/busybox.tar'), 'base:1');
  const env = { ...box.env, DOCKER_HOST: dockerHost };
  const tty = terminal(t, { columns: 90, rows: 28, env });
  /** Each tells the first size on its own time, as the window has it then. */
  const hasToldFirst = (program: string) => {
    const until = String(Math.ceil(Date.now() / 1000));
    const words = ['events', '--since', begin, '--until', until, '--filter', 'event=resize'];
    return / height=28/.test(spawnSync(program, words, { env, encoding: 'utf8' }).stdout.replaceAll(/[(,]/g, ' '));
  };
  for (const program of ['docker', 'tsbox']) {
    const script = `trap 'stty size' WINCH; echo ${program} begun; while :; do read line && break; done`;
    tty.type(`${program} run --network none --name cc --label a=b -it base:1 sh -c "${script}"`);
    await tty.see(new RegExp(`^${program} begun$`, 'm'));
    await until('its first size', () => hasToldFirst(program));
    await tty.resize(70, 20);
    await tty.see(/^20 70$/m);
    await tty.resize(80, 24);
    await tty.see(/^24 80$/m);
    tty.type('');
    await tty.see(/outside\$ $|outside\$$/);
    tty.clear();
    await tty.resize(90, 28);
  }
  const end = String(Math.ceil(Date.now() / 1000) + 1);
  const format = ['--format', '{{.Type}} {{.Action}} {{json .Actor}} {{.From}} {{.Status}}'];
  const told = (await compare('events', '--since', begin, '--until', end, '--filter', 'event=resize', ...format)).map(
    // Docker's command line may tell the first size more than once.
    ({ stdout }) =>
      stdout
        .replaceAll(/"ID":"[0-9a-f]{64}"/g, '"ID":"(cc)"')
        .split('\n')
        .filter((line, at, all) => line !== all[at - 1]),
  );
  assert.deepEqual(told[1], told[0]);
  assert.equal(told[1]!.length, 4, told[1]!.join('\n'));
});

test('events: one who follows sees each as it comes, and a journal that is begun anew', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const image = box.image();
  const journal = join(box.runRoot, 'events');
  const child = spawn(TSBOX, ['events', '--format', '{{.Action}} {{.Actor.Attributes.name}}'], { env: box.env });
  const closed = once(child, 'close');
  try {
    let seen = '';
    child.stdout.on('data', (data) => {
      seen += data;
    });
    const saw = (line: string) => until(line, () => seen.split('\n').includes(line));
    await until('its begin', () => {
      box.ok(['tag', image, 'first:1']);
      return seen.includes('tag first:1');
    });
    box.ok(['run', '--name', 'one', image, 'true']);
    for (const what of ['create', 'attach', 'start', 'die']) await saw(`${what} one`);
    appendFileSync(journal, 'damaged\n{"type":"container"}\n');
    truncateSync(journal, 5 * 2 ** 20);
    appendFileSync(journal, '\n');
    box.ok(['start', 'one']);
    await saw('die one');
    box.ok(['rm', 'one']);
    await saw('destroy one');
    box.ok(['run', '-d', '--name', 'two', image, 'sleep', '1000']);
    await saw('start two');
    box.ok(['rename', 'two', 'renamed']);
    box.ok(['kill', 'renamed']);
    await saw('die renamed');
    box.ok(['volume', 'prune', '-f']);
    await saw('prune <no value>');
    assert.ok(readFileSync(journal).length < 2 ** 20, 'the journal was begun anew');
  } finally {
    // Before the sandbox looks for what is left behind.
    child.kill();
    await closed;
  }
});

test('events: the end of a container whose monitor was killed is told by who finds it', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  box.ok(['run', '-d', '--name', 'one', box.image(), 'sleep', '1000']);
  const id = box.ok(['inspect', '-f', '{{.Id}}', 'one']);
  const { Monitor } = JSON.parse(readFileSync(join(box.runRoot, id, 'state.json'), 'utf8'));
  process.kill(Monitor, 'SIGKILL');
  await until('its end', () => box.ok(['ps', '-q']) === '');
  box.ok(['start', 'one']);
  const now = String(Math.ceil(Date.now() / 1000));
  const format = '{{.Action}} {{.Actor.Attributes.exitCode}}';
  const told = box.ok(['events', '--since', '1m', '--until', now, '--filter', 'event=die', '--format', format]);
  assert.equal(told, 'die 137');
});
