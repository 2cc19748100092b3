/** The images of rootfs-fixtures, through tsbox and back out: what a layer can say must be seen in the container's root. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { requires } from '../requires.ts';
import { fixtureDifferences } from './fixture-tree.ts';
import { REPOSITORY, type Sandbox, sandbox, until } from './harness.ts';

const FIXTURES = join(REPOSITORY, 'rootfs-fixtures/build');

/** The merged directory of a running container, as the host sees it. */
async function mergedOf(box: Sandbox, image: string): Promise<string> {
  const id = box.ok(['run', '--detach', '--network', 'none', image, 'sleep', '600']);
  const merged = await box.quick(['inspect', '--format', '{{.GraphDriver.Data.MergedDir}}', id]);
  return until('the merged directory', () => existsSync(join(merged, 'bin')) && merged);
}

test('fixtures: the image layers shows what its recipe declares', async (t) => {
  if (!requires(t, 'root', 'overlay', 'command:getfattr')) return;
  const box = sandbox(t);
  assert.deepEqual(fixtureDifferences(await mergedOf(box, box.image('layers'))), []);
});

test('fixtures: an OCI layout with gzip, plain and zstd layers shows the same', async (t) => {
  if (!requires(t, 'root', 'overlay', 'command:getfattr')) return;
  const box = sandbox(t);
  const archive = join(box.directory, 'layout.tar');
  assert.equal(spawnSync('tar', ['-cf', archive, '-C', join(FIXTURES, 'layers.oci'), '.']).status, 0);
  const said = await box.quick(['load', '--input', archive]);
  const image = /Loaded image(?: ID)?: (\S+)/.exec(said)?.[1];
  assert.ok(image !== undefined, said);
  assert.deepEqual(fixtureDifferences(await mergedOf(box, image)), []);
});

test('fixtures: export gives the same tree to GNU tar', async (t) => {
  if (!requires(t, 'root', 'overlay', 'command:getfattr')) return;
  const box = sandbox(t);
  const [archive, out] = [join(box.directory, 'export.tar'), join(box.directory, 'out')];
  const id = await box.quick(['create', '--network', 'none', box.image('layers'), 'true']);
  box.ok(['export', '--output', archive, id]);
  mkdirSync(out);
  const options = ['--numeric-owner', '--same-owner', '--preserve-permissions', '--xattrs', '--xattrs-include=*'];
  const { status, stderr } = spawnSync('tar', ['-xf', archive, '-C', out, ...options]);
  assert.equal(status, 0, stderr.toString());
  assert.deepEqual(fixtureDifferences(out), []);
});

test('fixtures: save gives back each layer byte for byte', (t) => {
  if (!requires(t, 'root', 'command:skopeo')) return;
  const box = sandbox(t);
  const saved = join(box.directory, 'saved.tar');
  box.ok(['save', '--output', saved, box.image('layers')]);
  const config = (archive: string) =>
    spawnSync('skopeo', ['inspect', '--config', '--raw', `docker-archive:${archive}`]);
  const [before, after] = [config(join(FIXTURES, 'layers.tar')), config(saved)];
  assert.equal(after.status, 0, after.stderr.toString());
  assert.equal(after.stdout.toString(), before.stdout.toString());
  const copied = spawnSync('skopeo', [
    'copy',
    '--quiet',
    `docker-archive:${saved}`,
    `dir:${join(box.directory, 'copy')}`,
  ]);
  assert.equal(copied.status, 0, copied.stderr.toString());
});

test('fixtures: 127 layers mount and run', (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const script = 'cat /top; ls /layers | wc -l; ls /passing';
  const said = box.ok(['run', '--rm', '--network', 'none', box.image('many-layers'), 'sh', '-c', script]);
  assert.equal(said, '126\n126\n126');
});
