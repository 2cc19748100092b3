/** Beside docker: which containers `ps --filter` lists, and what templates of `ps` and `inspect` print. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { requires } from '../requires.ts';
import { besideDocker } from './beside-docker.ts';
import { REPOSITORY } from './harness.ts';

const ARCHIVE = `${REPOSITORY}/rootfs-fixtures/build/busybox.tar`;
const NONE = ['--network', 'none'];

test('beside docker: filters of ps, templates of ps and inspect', async (t) => {
  if (!requires(t, 'root', 'overlay', 'command:dockerd')) return;
  const { both, same, compare } = await besideDocker(t);
  await both('import', ARCHIVE, 'bb');
  await both('run', '-d', '--name', 'one', ...NONE, '-l', 'app=web', '--expose', '80', 'bb', 'sleep', '1000');
  await both('create', '--name', 'two', ...NONE, '--stop-signal', 'USR1', 'bb', 'true');
  await compare('run', '--name', 'three', ...NONE, 'bb', 'sh', '-c', 'exit 3');

  await t.test('filters', async () => {
    const filters =
      'before=two since=two since=one before=nosuch since=nosuch expose=80 publish=80 publish=80-90/udp expose=x publish=1:2 is-task=true ' +
      'is-task=false isolation=default exited=3 exited=x name=^t name=(?i)^T name=[[:digit:]] name=\\A(?P<t>t)..\\z status=exited';
    for (const filter of [...filters.split(' '), ''])
      for (const flags of [['-a'], []]) {
        const said = await compare('ps', ...flags, '--filter', filter, '--format', '{{.Names}}');
        const [docker, tsbox] = said.map((one) => ({ ...one, stderr: one.stderr.replace(/^I/, 'i') }));
        assert.deepEqual(tsbox, docker, filter);
      }
    await same('ps', '-a', '--filter', 'since=one', '--filter', 'before=three', '--format', '{{.Names}}');
    for (const flags of [['-n', '2', '-l'], ['-l'], ['-n', '2', '-f', 'status=exited']])
      await same('ps', ...flags, '--format', '{{.Names}}');
  });

  await t.test('templates of ps', async () => {
    await same('ps', '-a', '--format', 'table {{json .Names}}\\t{{upper .State}}\\t{{truncate .Names 1}}');
    for (const format of ['{{printf "%s\\t%d" .Names .State}}', 'table{{.ID}}', '{{"\\x41"}} '])
      await same('ps', '-a', '--format', format);
    for (const list of [
      ['ps', '-a'],
      ['images'],
      ['volume', 'ls'],
      ['network', 'ls', '-f', 'name=host'],
      ['history', 'bb'],
    ])
      await compare(...list, '-q', '--format', 'table').then(([docker, tsbox]) => {
        assert.equal(/NAME|ID/.test(tsbox.stdout), false, tsbox.stdout);
        assert.equal(tsbox.stdout.split('\n').length, docker.stdout.split('\n').length);
      });
    await both('create', '--name', 'four', '--network', 'container:one', 'bb', 'true');
    await same('ps', '-a', '--format', '{{.Names}} {{.Networks}}');
    await same('inspect', '-f', '{{.HostConfig.NetworkMode}}', 'four');
    await both('rm', 'four');
    const sizes = (await compare('ps', '-a', '--format', '{{json .}}')).map(({ stdout }) =>
      stdout
        .split('\n')
        .filter(Boolean)
        .map((line) => (JSON.parse(line) as { Size: string }).Size),
    );
    assert.deepEqual(sizes[1], sizes[0]);
  });

  await t.test('templates of inspect', async () => {
    const templates = [
      '{{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}}',
      '{{json .State.Health}} {{.SizeRw}} {{json .SizeRw}}',
      '{{.Config.Labels.app}} {{.Config.Labels.none}} {{index .Config.Labels "none"}}',
      '{{.NetworkSettings.Networks.other.IPAddress}}',
      '{{index .NetworkSettings.Ports "80/tcp"}}',
      '{{printf "%s %d %X" .State.ExitCode .Name 255}}',
      '{{.Config.StopSignal}}|{{.Config.StopTimeout}}|{{json .Config.StopTimeout}}',
      '{{.ID}} {{.HostConfig.RestartPolicy}} {{.HostConfig.Binds}} {{.HostConfig.LogConfig}}',
      '{{.Config.ExposedPorts}} {{json .Config.ExposedPorts}} {{.Config.Volumes}}',
      '{{define "T"}}[{{.}}]{{end}}{{template "T" .Name}}',
      '{{.Name | lower | title}}',
    ];
    for (const template of templates) await same('inspect', '-f', template, 'one', 'two');
    await same('volume', 'create', 'v');
    await same('volume', 'inspect', '-f', '{{.Labels}} {{.Options}} {{.UsageData}} {{.Status}}', 'v');
    // What docker says of an error names a place in the template besides.
    for (const [template, status] of [
      ['{{index .Args 0}}{{.Name}}', 1],
      ['{{.Nope}}', 1],
      ['{{eq .Name 1}}', 1],
      ['{{', 64],
      ['{{nope .Name}}', 64],
      ['{{if .Name}}', 64],
    ] as const) {
      const said = await compare('inspect', '-f', template, 'one', 'two', 'none');
      assert.deepEqual(
        said.map(({ stdout, status: code }) => [stdout, code]),
        Array(2).fill([said[0].stdout, status]),
        template,
      );
    }
  });

  await t.test('templates of info and version', async () => {
    const [, info] = await compare('info', '-f', '{{index .SecurityOptions 0}}');
    assert.equal(info.stdout, 'name=seccomp,profile=default\n');
    const [, version] = await compare('version', '-f', '{{eq .Client.Version .Server.Version}}');
    assert.equal(version.stdout, 'true\n', version.stderr);
  });

  await t.test('the fields of inspect, in their order', async () => {
    const [docker, tsbox] = (await compare('inspect', 'one')).map(({ stdout }) => JSON.parse(stdout)[0]);
    assert.deepEqual(Object.keys(tsbox.Config), Object.keys(docker.Config));
    const known = (keys: string[]) => keys.filter((key) => key !== 'Runtime');
    assert.deepEqual(Object.keys(tsbox.HostConfig), known(Object.keys(docker.HostConfig)));
  });
});
