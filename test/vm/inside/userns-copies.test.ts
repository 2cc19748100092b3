/** A kernel on which a tmpfs cannot be seen with other owners (before Linux 6.3): containers of a user namespace get copies of their layers. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { lstatSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { requires } from '../../requires.ts';
import { account } from '../../system/accounts.ts';
import { REPOSITORY, type Sandbox, sandbox } from '../../system/harness.ts';

test('userns: a data root on a tmpfs of an older kernel', (t) => {
  if (!requires(t, 'root', 'overlay', 'userns', 'command:useradd')) return;
  const place = mkdtempSync('/tmp/tsb-disk-');
  let box: Sandbox | undefined;
  assert.equal(spawnSync('mount', ['-t', 'tmpfs', 'none', place]).status, 0);
  t.after(() => {
    box?.tsbox(['rm', '--force', 'one']);
    spawnSync('umount', ['--lazy', place]);
    rmSync(place, { recursive: true, force: true });
  });
  box = sandbox(t);
  const { name, starts } = account(t, [65536]);
  box.env['TSBOX_ROOT'] = join(place, 'd');
  const image = 'busybox:offline';
  box.ok(['import', join(REPOSITORY, 'rootfs-fixtures/build/busybox.tar'), image]);
  const script = 'touch /f; chown 33:44 /f; rm -r /home; mkdir /home; stat -c %u:%g /f /bin; cat /proc/self/uid_map';
  const shown = box.ok(['run', '--name', 'one', '--userns', name, image, 'sh', '-c', script]);
  assert.match(shown, new RegExp(`^33:44\n0:0\n +0 +${starts[0]} +65536$`));
  const [home] = readdirSync(join(place, 'd/shifted'));
  const copies = readdirSync(join(place, 'd/shifted', home!, 'l'));
  assert.equal(copies.length, 2);
  for (const copy of copies) assert.equal(lstatSync(join(place, 'd/shifted', home!, 'l', copy)).uid, starts[0]);
  box.ok(['commit', 'one', 'made']);
  assert.equal(box.ok(['run', '--rm', 'made', 'stat', '-c', '%u:%g', '/f']), '33:44');
});
