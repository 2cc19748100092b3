/** User namespaces where the owners of layers cannot be mapped: copies of the layers with the owners of outside. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, statSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { requires } from '../requires.ts';
import { account } from './accounts.ts';
import { fixtureDifferences } from './fixture-tree.ts';
import { type Sandbox, sandbox, until } from './harness.ts';
import { unmappedDisk } from './unmapped-disk.ts';

const IDS = 65536;
const needs = (t: TestContext) => requires(t, 'root', 'overlay', 'userns', 'command:useradd');

/** A sandbox whose data root is where owners cannot be mapped, and whose containers are remapped to a user of the test's. */
async function copying(t: TestContext, sizes: readonly number[] = [IDS]) {
  let box: Sandbox | undefined;
  const place = `/dev/shm/tsb-unmapped-${process.pid}-${Math.random().toString(36).slice(2, 8)}`;
  await unmappedDisk(t, place, () => {
    const ids = box?.tsbox(['ps', '--all', '--quiet', '--no-trunc']).stdout.split('\n').filter(Boolean) ?? [];
    if (ids.length > 0) box?.tsbox(['rm', '--force', ...ids]);
  });
  box = sandbox(t);
  const { name, starts } = account(t, sizes);
  box.env['TSBOX_USERNS_REMAP'] = name;
  box.env['TSBOX_ROOT'] = join(place, 'd');
  return { box, name, dataRoot: join(place, 'd'), start: starts[0]! };
}

const run = (box: Sandbox, flags: string[], script: string, image = box.image()) =>
  box.ok(['run', '--rm', ...flags, image, 'sh', '-c', script]);

/** Paths of the copies, without those of what tsbox makes for a container. */
function copies(dataRoot: string): string[] {
  const shifted = join(dataRoot, 'shifted');
  if (!existsSync(shifted)) return [];
  return readdirSync(shifted)
    .flatMap((home) => readdirSync(join(shifted, home, 'l')).map((link) => join(shifted, home, 'l', link)))
    .filter((path) => !existsSync(join(path, '.dockerenv')));
}

/** All names below a directory that are not in their final place. */
const strays = (dataRoot: string) =>
  spawnSync('find', [join(dataRoot, 'shifted'), '-maxdepth', '2', '-name', '.tmp-*', '-o', '-name', '*-removing'])
    .stdout.toString()
    .trim();

test('userns without mapped owners: inside all is as it is where they are mapped', async (t) => {
  if (!needs(t)) return;
  const { box, start } = await copying(t);
  const script =
    'cat /proc/self/uid_map; find / -xdev ! -path /proc | sort | xargs stat -c "%n %u:%g %a %h"; ' +
    'touch /f; chown 33:44 /f; stat -c %u:%g /f; rm -r /home; mkdir /home; mv /root /r2; ls -la / | wc -l; ' +
    'mkdir /a; ln /f /a/g; stat -c "%n %h %u" /f; echo x >> /etc/passwd; stat -c %u:%g /etc/passwd; id';
  const here = run(box, [], script);
  assert.match(here, new RegExp(`^ +0 +${start} +${IDS}\n`));
  const mapped = sandbox(t);
  mapped.env['TSBOX_USERNS_REMAP'] = box.env['TSBOX_USERNS_REMAP'];
  assert.equal(here, run(mapped, [], script));
});

test('userns without mapped owners: a copy is made once for each layer and map, and is used again', async (t) => {
  if (!needs(t)) return;
  const { box, dataRoot, start } = await copying(t);
  const other = account(t, [IDS]);
  run(box, [], 'true');
  const [copy, ...more] = copies(dataRoot);
  assert.deepEqual(more, []);
  assert.deepEqual([lstatSync(join(copy!, 'bin')).uid, lstatSync(copy!).uid], [start, start]);
  const { ino } = statSync(copy!);
  run(box, [], 'true');
  assert.deepEqual(copies(dataRoot), [copy]);
  assert.equal(statSync(copy!).ino, ino);
  run(box, ['--userns', other.name], 'test "$(stat -c %u /bin)" = 0');
  assert.equal(copies(dataRoot).length, 2);
  run(box, ['--userns', 'host'], 'touch /f');
  assert.equal(copies(dataRoot).length, 2);
  // Nothing of a --rm container is left, its init layer's copies neither.
  const all = readdirSync(join(dataRoot, 'shifted')).flatMap((home) =>
    readdirSync(join(dataRoot, 'shifted', home, 'l')),
  );
  assert.equal(all.length, 2);
});

test('userns without mapped owners: all that a layer can say is in the copy, and in what export makes of it', async (t) => {
  if (!needs(t) || !requires(t, 'command:getfattr')) return;
  const { box, start } = await copying(t);
  const image = box.image('layers');
  for (const running of [false, true]) {
    const name = running ? 'runs' : 'stopped';
    box.ok(['run', '--detach', '--name', name, image, ...(running ? ['sleep', '100'] : ['true'])]);
    if (!running) box.ok(['wait', name]);
    const out = join(box.directory, name);
    mkdirSync(out);
    const tar = box.tsbox(['export', name]).bytes;
    const flags = ['--numeric-owner', '--xattrs', '--xattrs-include=*', '--same-owner', '-xpf', '-'];
    const unpacked = spawnSync('tar', ['-C', out, ...flags, 'fixture'], { input: tar });
    assert.equal(unpacked.status, 0, unpacked.stderr.toString());
    // Ids that the map does not have are nobody's in the container.
    const nobody = ['uid is 65534, not 3000000', 'gid is 65534, not 4000000'];
    assert.deepEqual(
      fixtureDifferences(out, {}),
      nobody.map((what) => `"fixture/files/great-owner": ${what}`),
    );
    if (!running) continue;
    // And on the host the same files belong to somebody else.
    const pid = box.ok(['inspect', '--format', '{{.State.Pid}}', name]);
    assert.equal(lstatSync(`/proc/${pid}/root/fixture`).uid, start);
  }
});

test('userns without mapped owners: set-user-ID bits, capabilities and ACLs of files are right, there and back', async (t) => {
  if (!needs(t) || !requires(t, 'command:setcap', 'command:setfacl')) return;
  const { box, start } = await copying(t);
  const script =
    'cp /bin/busybox /busybox.cap; cp /bin/busybox /set; chmod 6755 /set; ln /set /set2; touch /acl /far; chown 70000 /far';
  box.ok(['run', '--name', 'maker', '--userns', 'host', box.image(), 'sh', '-c', script]);
  const upper = box.ok(['inspect', '--format', '{{.GraphDriver.Data.UpperDir}}', 'maker']);
  const tool = (...args: string[]) => {
    const { status, stdout, stderr } = spawnSync(args[0]!, args.slice(1), { encoding: 'utf8' });
    assert.equal(status, 0, stderr);
    return stdout;
  };
  tool('setcap', 'cap_net_raw+ep', join(upper, 'busybox.cap'));
  tool('setfacl', '-m', 'u:33:rwx,g:44:r', join(upper, 'acl'));
  utimesSync(join(upper, 'busybox.cap'), 1e9, 1e9);
  box.ok(['commit', 'maker', 'made']);
  const inside = (flags: string[], text: string) => run(box, flags, text, 'made');
  // By their effect: the capability counts in the container, and for a user whom only the ACL lets write.
  const effective =
    '/busybox.cap grep CapEff /proc/self/status; echo x >> /acl && echo written; stat -c "%a %h" /set; stat -c %Y /busybox.cap';
  const expected = `CapEff:\t0000000000002000\nwritten\n6755 2\n1000000000`;
  for (const flags of [[], ['--userns', 'host']]) assert.equal(inside([...flags, '--user', '33'], effective), expected);
  assert.equal(inside([], 'stat -c %u /far'), '65534', 'an id that the map does not have is nobody');
  // What is written in the container, committed, and seen without a user namespace.
  box.ok([
    'run',
    '--detach',
    '--name',
    'one',
    'made',
    'sh',
    '-c',
    'mv /busybox.cap /cap2; mv /acl /acl2; mv /set /set3; exec sleep 100',
  ]);
  const pid = box.ok(['inspect', '--format', '{{.State.Pid}}', 'one']);
  await until('the files', () => existsSync(`/proc/${pid}/root/set3`));
  assert.match(tool('getcap', '-n', `/proc/${pid}/root/cap2`), new RegExp(`cap_net_raw=ep \\[rootid=${start}\\]`));
  box.ok(['rm', '--force', 'one']);
  box.ok([
    'run',
    '--name',
    'two',
    'made',
    'sh',
    '-c',
    'mv /busybox.cap /cap2; mv /acl /acl2; mv /set /set3; chown 33:44 /set3; chmod 4711 /set3',
  ]);
  box.ok(['commit', 'two', 'again']);
  box.ok(['create', '--name', 'look', '--userns', 'host', 'again']);
  const layers = box.ok(['inspect', '--format', '{{.GraphDriver.Data.LowerDir}}', 'look']).split(':');
  const top = layers.find((path) => existsSync(join(path, 'cap2')))!;
  assert.match(tool('getcap', '-n', join(top, 'cap2')), /cap_net_raw=ep$/m);
  assert.match(
    tool('getfacl', '--numeric', '--absolute-names', join(top, 'acl2')),
    /^user:33:rwx$[\s\S]*^group:44:r--$/m,
  );
  const { uid, gid, mode } = lstatSync(join(top, 'set3'));
  assert.deepEqual([uid, gid, mode & 0o7777], [33, 44, 0o4711]);
  assert.ok(lstatSync(join(top, 'busybox.cap')).isCharacterDevice(), 'a whiteout');
});

test('userns without mapped owners: mount points that tsbox made are left out of a commit', async (t) => {
  if (!needs(t)) return;
  const { box } = await copying(t);
  box.ok(['run', '--name', 'one', '-v', `${box.directory}:/deep/place`, box.image(), 'touch', '/mine']);
  box.ok(['commit', 'one', 'made']);
  assert.equal(run(box, ['--userns', 'host'], 'ls -d /deep /mine 2>/dev/null; true', 'made'), '/mine');
});

test('userns without mapped owners: a container goes on with its files, whatever the host can do by then', async (t) => {
  if (!needs(t)) return;
  const { box, dataRoot, start } = await copying(t);
  box.ok(['create', '--name', 'one', box.image(), 'sh', '-c', 'cat /f; touch /f; echo $$ >> /f; stat -c %u /f /bin']);
  assert.equal(box.ok(['start', '--attach', 'one']), '0\n0');
  assert.equal(box.ok(['start', '--attach', 'one']), '1\n0\n0');
  const upper = box.ok(['inspect', '--format', '{{.GraphDriver.Data.UpperDir}}', 'one']);
  assert.deepEqual([lstatSync(join(upper, 'f')).uid, lstatSync(upper).uid], [start, start]);
  const kept = JSON.parse(readFileSync(join(dataRoot, 'maps-owners.json'), 'utf8'));
  assert.equal(kept.maps, false);
  // The ids of its user are other ones by now: they are not given to whoever has the old ones.
  const moved = `${start + 2 * IDS}-${start + 3 * IDS - 1}`;
  const name = box.env['TSBOX_USERNS_REMAP']!;
  const change = (add: string, del: string, range: string) => spawnSync('usermod', [add, range, del, range, name]);
  change('--del-subuids', '--del-subgids', `${start}-${start + IDS - 1}`);
  change('--add-subuids', '--add-subgids', moved);
  const refused = box.tsbox(['start', 'one']);
  assert.match(
    refused.stderr,
    /belong to subordinate ids that its user namespace does not have any more\nhint: Commit/,
  );
  box.ok(['commit', 'one', 'made']);
  assert.equal(run(box, [], 'stat -c %u /f; cat /f', 'made'), '0\n1\n1');
});

test('userns without mapped owners: copies go with their layer, and prune counts them', async (t) => {
  if (!needs(t)) return;
  const { box, dataRoot } = await copying(t);
  const bytes = () =>
    Number(
      spawnSync('sh', [
        '-c',
        `find ${dataRoot}/shifted -type f -printf "%i %s\\n" | sort -u | awk '{s+=$2} END {print s+0}'`,
      ]).stdout,
    );
  const images = () =>
    JSON.parse(box.ok(['system', 'df', '--format', 'json']).split('\n')[0]!) as { Size: string; Reclaimable: string };
  const before = images();
  box.ok(['run', '--name', 'one', box.image(), 'true']);
  assert.ok(bytes() > 1_000_000);
  assert.notEqual(images().Size, before.Size, 'a copy takes space');
  // In use by a container, it stays.
  box.ok(['image', 'prune', '--force']);
  assert.equal(copies(dataRoot).length, 1);
  box.ok(['rm', 'one']);
  assert.equal(copies(dataRoot).length, 1);
  const pruned = box.ok(['image', 'prune', '--force']);
  assert.doesNotMatch(pruned, /reclaimed space: 0B/);
  assert.deepEqual([copies(dataRoot), strays(dataRoot)], [[], '']);
  run(box, [], 'true');
  assert.equal(copies(dataRoot).length, 1);
  box.ok(['rmi', box.image()]);
  assert.deepEqual([copies(dataRoot), strays(dataRoot), bytes()], [[], '', 0]);
});

test('userns without mapped owners: whoever is killed while copying leaves nothing that is taken for a copy', async (t) => {
  if (!needs(t)) return;
  const { box, dataRoot } = await copying(t);
  const image = box.image('layers');
  const shown = run(box, [], 'find / -xdev | sort | xargs -d "\\n" stat -c "%n %u:%g %a" | md5sum', image);
  box.ok(['image', 'prune', '--force']);
  let half = 0;
  for (let delay = 40; delay < 1000; delay += 120) {
    const started = box.start(['run', '--rm', image, 'true']);
    const end = performance.now() + 30_000;
    while (!existsSync(join(dataRoot, 'shifted')) || readdirSync(join(dataRoot, 'shifted')).length === 0) {
      if (performance.now() > end || started.child.exitCode !== null) break;
      await new Promise((wake) => setTimeout(wake, 1));
    }
    await new Promise((wake) => setTimeout(wake, delay - 40));
    started.child.kill('SIGKILL');
    await started.done;
    if (strays(dataRoot) !== '') half++;
    const ids = box.ok(['ps', '--all', '--quiet']).split('\n').filter(Boolean);
    if (ids.length > 0) box.ok(['rm', '--force', ...ids]);
    assert.equal(strays(dataRoot), '', 'the next removal has cleaned up');
    if (delay % 360 === 40)
      assert.equal(run(box, [], 'find / -xdev | sort | xargs -d "\\n" stat -c "%n %u:%g %a" | md5sum', image), shown);
    box.ok(['image', 'prune', '--force']);
  }
  assert.ok(half > 0, 'some were killed in the middle');
});

test('userns without mapped owners: two that start at once make one copy', async (t) => {
  if (!needs(t)) return;
  const { box, dataRoot } = await copying(t);
  const image = box.image('layers');
  const all = await Promise.all([0, 1, 2, 3].map(() => box.start(['run', '--rm', image, 'true']).done));
  for (const { status, stderr } of all) assert.equal(status, 0, stderr);
  assert.equal(copies(dataRoot).length, 3);
  assert.equal(strays(dataRoot), '');
});
