/** `image inspect`, field by field beside docker's. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { requires } from '../requires.ts';
import { configOf, dockerFiles, tarOf } from '../unit/engine-archives.ts';
import { sandbox } from './harness.ts';
import { startDocker } from './images-setup.ts';
import { startRegistry } from './registry-daemon.ts';

const base = tarOf({ 'bin/sh': '#!', 'etc/x': 'hello', link: { link: 'etc/x' } });
const top = tarOf({ 'etc/y': 'yy' });
const everything = {
  Hostname: 'h',
  Domainname: 'd',
  User: 'u',
  AttachStdin: false,
  AttachStdout: true,
  AttachStderr: false,
  Tty: true,
  OpenStdin: false,
  StdinOnce: false,
  Env: ['A=<b>&'],
  Cmd: ['sh'],
  Image: 'sha256:x',
  Volumes: { '/v': {}, '/a': {} },
  WorkingDir: '/w',
  Entrypoint: ['/e'],
  OnBuild: ['RUN x'],
  Labels: { b: '1', a: '2' },
  ExposedPorts: { '80/tcp': {} },
  Healthcheck: { Test: ['CMD', 'x'], Interval: 1000000000 },
  StopSignal: 'SIGINT',
  StopTimeout: 5,
  Shell: ['/bin/sh'],
  ArgsEscaped: true,
  NetworkDisabled: true,
  MacAddress: '02:42:ac:11:00:02',
};
const aboutAll = {
  config: everything,
  container: 'c0ffee',
  container_config: everything,
  docker_version: '20.10.24',
  author: 'me',
  comment: 'a comment',
  variant: 'v2',
  'os.version': '1.2.3',
  created: '2024-01-02T03:04:05.120000Z',
};

const IMAGES: Record<string, Buffer> = {
  plain: configOf([base]),
  full: configOf([base, top], aboutAll),
  bare: configOf([base], { config: undefined, created: undefined, history: undefined }),
  nulls: configOf([top], { config: null, created: null, history: null, author: '' }),
  nothing: configOf([]),
  partial: configOf([base], { config: { Cmd: ['x'], Labels: {}, Env: [] }, container_config: null }),
};
const LAYERS: Record<string, Buffer[]> = { full: [base, top], nulls: [top], nothing: [] };

type Inspected = Record<string, unknown> & { GraphDriver: { Data: Record<string, string> | null } };

/** What must differ: where the store is, and when the image got its name, which docker notes for `tag` only. */
function comparable(text: string): string {
  const [image] = JSON.parse(text) as [Inspected];
  const { Data: data } = image.GraphDriver;
  for (const [name, path] of Object.entries(data ?? {})) {
    assert.match(path, /^(?:\/[^:]*\/overlay2\/[0-9a-f]{64}\/[a-z]+:?)+$/, name);
    data![name] = path.replace(/\/[^:]*\/overlay2\/[0-9a-f]{64}/g, 'ROOT');
  }
  assert.match(JSON.stringify(image['Metadata']), /^\{"LastTagTime":"\d{4}-\d\d-\d\dT[\d:.]+Z"\}$/);
  delete image['Metadata'];
  return JSON.stringify(image, null, 1);
}

test('image inspect: the fields of docker, in its order, with its values', async (context) => {
  if (!requires(context, 'root', 'command:dockerd', 'command:docker', 'command:docker-registry')) return;
  const [docker, registry] = [await startDocker(context), await startRegistry(context)];
  const box = sandbox(context);
  for (const [name, config] of Object.entries(IMAGES)) {
    const archive = join(box.directory, `${name}.tar`);
    const tag = `${registry.host}/${name}:1`;
    writeFileSync(archive, tarOf(dockerFiles(LAYERS[name] ?? [base], [tag], config)));
    await docker('load', '-qi', archive);
    await box.quick(['load', '-qi', archive]);
    assert.equal(
      comparable(await box.quick(['image', 'inspect', tag])),
      comparable(await docker('image', 'inspect', tag)),
      name,
    );
  }
  // With a digest, and twice the same image.
  const [one, two] = [`${registry.host}/full:1`, `${registry.host}/other:2`];
  await docker('tag', one, two);
  for (const name of [one, two]) await docker('push', '-q', name);
  for (const name of [one, two]) assert.equal((await box.start(['pull', '-q', name]).done).status, 0);
  assert.match(await box.quick(['image', 'inspect', '-f', '{{len .RepoDigests}} {{len .RepoTags}}', one]), /^2 2$/);
  assert.equal(
    comparable(await box.quick(['image', 'inspect', one])),
    comparable(await docker('image', 'inspect', one)),
  );
});

test('image inspect: templates find the fields that have no value, as with docker', async (context) => {
  if (!requires(context, 'root', 'command:dockerd', 'command:docker')) return;
  const docker = await startDocker(context);
  const box = sandbox(context);
  for (const name of ['plain', 'full', 'nothing']) {
    const archive = join(box.directory, `${name}.tar`);
    writeFileSync(archive, tarOf(dockerFiles(LAYERS[name] ?? [base], [`${name}:1`], IMAGES[name])));
    await docker('load', '-qi', archive);
    await box.quick(['load', '-qi', archive]);
    for (const template of [
      '{{.Os}}/{{.Architecture}}{{if .Variant}}/{{.Variant}}{{end}}',
      '{{.Config.Entrypoint}} {{.Config.Cmd}} {{.Config.Env}}',
      '{{.Config.Labels}} {{len .Config.Volumes}} {{len .Config.ExposedPorts}}',
      '{{range $k, $v := .Config.Labels}}{{$k}}={{$v}} {{end}}',
      '{{len .RootFS.Layers}} {{len .RepoTags}}',
      '{{json .Config.Labels}} {{json .Config.Entrypoint}} {{json .RootFS}}',
      '{{with .Config.Healthcheck}}{{.Test}}{{end}}',
      '{{.Author}}{{.Comment}}{{.Parent}}{{.OsVersion}}',
    ]) {
      const theirs = await docker('image', 'inspect', '-f', template, `${name}:1`).catch(() => undefined);
      // Newer clients know a part of the configuration only.
      if (theirs !== undefined)
        assert.equal(await box.quick(['image', 'inspect', '-f', template, `${name}:1`]), theirs, template);
    }
  }
});
