/** Volumes of containers with a user namespace: whose files they have. */
import assert from 'node:assert/strict';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { requires } from '../requires.ts';
import { account } from './accounts.ts';
import { type Sandbox, sandbox } from './harness.ts';
import { unmappedDisk } from './unmapped-disk.ts';

/** A sandbox whose containers are remapped to a user of the test's. */
async function remapped(t: TestContext, disk: 'mapped' | 'unmapped') {
  let box: Sandbox | undefined;
  const place = `/dev/shm/tsb-unmapped-${process.pid}`;
  if (disk === 'unmapped') await unmappedDisk(t, place, () => box?.tsbox(['rm', '--force', 'one', 'two']));
  box = sandbox(t);
  const { name, starts } = account(t, [65536]);
  const dataRoot = disk === 'unmapped' ? join(place, 'd') : box.dataRoot;
  Object.assign(box.env, { TSBOX_USERNS_REMAP: name, TSBOX_ROOT: dataRoot });
  return { box, start: starts[0]!, dataRoot };
}

const needs = (t: TestContext) => requires(t, 'root', 'overlay', 'userns', 'command:useradd');

for (const disk of ['mapped', 'unmapped'] as const) {
  test(`userns: files of volumes have the owners that the container gives them (${disk} disk)`, async (t) => {
    if (!needs(t)) return;
    const { box, start, dataRoot } = await remapped(t, disk);
    const image = box.image();
    const data = (name: string) => join(dataRoot, 'volumes', name, '_data');
    const script = 'mkdir /data; touch /data/f; chown 5:6 /data/f; chmod 700 /data/f; chown 7:8 /data';
    box.ok(['run', '--name', 'maker', image, 'sh', '-c', script]);
    box.ok(['commit', 'maker', 'vol:img']);
    box.ok(['rm', 'maker']);
    // Mapped, the ids on disk are the container's own; else those of outside.
    const onDisk = (id: number) => (disk === 'unmapped' ? start + id : id);
    const inside = 'stat -c "%u:%g" /data /data/f; touch /data/new; chown 33:44 /data/new; stat -c "%u:%g" /data/new';
    assert.equal(box.ok(['run', '--name', 'one', '-v', 'vv:/data', 'vol:img', 'sh', '-c', inside]), '7:8\n5:6\n33:44');
    const owners = (name: string) => [statSync(join(data('vv'), name)).uid, statSync(join(data('vv'), name)).gid];
    assert.deepEqual(owners('f'), [onDisk(5), onDisk(6)]);
    assert.deepEqual(owners('new'), [onDisk(33), onDisk(44)]);
    // A new one belongs to the container's root, whoever made it.
    box.ok(['volume', 'create', 'mine']);
    const write = 'touch /x/a && stat -c "%u:%g" /x /x/a; grep -c " /x .* ro" /proc/mounts';
    assert.equal(box.ok(['run', '--name', 'two', '-v', 'mine:/x', image, 'sh', '-c', `${write}; true`]), '0:0\n0:0\n0');
    assert.notEqual(box.tsbox(['run', '--rm', '-v', 'mine:/x:ro', image, 'touch', '/x/b']).status, 0);
    box.ok(['rm', '-v', 'one', 'two']);
    const auto = ['--userns', 'auto:size=1000', '-v', 'own:/data', 'vol:img', 'stat', '-c', '%u:%g', '/data/f'];
    assert.equal(box.ok(['run', '--rm', ...auto]), '5:6', 'by ids that only this container has');
    box.ok(['volume', 'rm', 'own']);
    box.ok(['volume', 'rm', 'vv', 'mine']);
  });
}
