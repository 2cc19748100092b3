/** Containers with a user namespace beside those of a dockerd with --userns-remap: the same user, the same image, the same commands. */
import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { requires } from '../requires.ts';
import { account } from './accounts.ts';
import { REPOSITORY, sandbox } from './harness.ts';
import { startDocker } from './images-setup.ts';
import { COMBINATIONS, REMAPPED, runArguments, SCRIPT, sections } from './seen-inside.ts';

const ARCHIVE = join(REPOSITORY, 'rootfs-fixtures/build/busybox.tar');
const IMAGE = 'busybox:offline';

/** Namespaces of the host, and all privileges, are not to be had there. Docker fails to put a device at another path than the host's,
 *  and a docker that is asked for kernel.msgmax does not answer. */
const REFUSED = /--(pid|network|ipc) host|--privileged|--sysctl|--device/;

type Say = (...args: string[]) => Promise<string>;

async function engines(t: TestContext, sizes: readonly number[]) {
  const box = sandbox(t);
  const user = account(t, sizes);
  box.env['TSBOX_USERNS_REMAP'] = user.name;
  const docker = await startDocker(t, ['--userns-remap', user.name]);
  await docker('import', '--change', 'CMD ["sh"]', ARCHIVE, IMAGE);
  box.image();
  const say: [tsbox: Say, docker: Say] = [
    async (...args) => {
      const { status, stdout, stderr } = await box.start(args, { input: '' }).done;
      assert.equal(status, 0, stderr);
      return stdout.trimEnd();
    },
    async (...args) => (await docker(...args)).trimEnd(),
  ];
  return { box, user, say };
}

test('userns beside docker --userns-remap', async (t) => {
  if (!requires(t, 'root', 'overlay', 'userns', 'command:useradd', 'command:dockerd', 'command:docker')) return;
  const { box, user, say } = await engines(t, [1000, 64536]);
  const run = (flags: string[], script: string) =>
    Promise.all(say.map((each) => each('run', '--rm', '--network', 'none', ...flags, IMAGE, 'sh', '-c', script)));
  const same = async (flags: string[], script: string) => {
    const [ours, theirs] = await run(flags, script);
    assert.equal(ours, theirs, script);
  };

  // Of what it finds (seen-inside.ts) whatever docker takes together with a user namespace.
  await t.test('what a process finds', async (context) => {
    const words = runArguments(context);
    for (const combination of COMBINATIONS.filter(({ flags }) => !REFUSED.test(flags.join(' ')))) {
      await context.test(combination.flags.join(' ') || 'no flags', async () => {
        const args = [...words(combination.flags), IMAGE, 'sh', '-c', SCRIPT];
        const [ours, theirs] = (await Promise.all(say.map((each) => each(...args)))).map((text) =>
          sections(text, combination, REMAPPED),
        );
        assert.deepEqual(ours, theirs);
      });
    }
  });

  await t.test('setgroups', () => same([], 'cat /proc/self/setgroups'));

  // Docker leaves the group of /dev/mqueue to the host's root, and does not give the link /etc/mtab to the container's.
  await t.test('who owns /, /dev, /etc, /proc and /sys', async () => {
    await same(
      [],
      'stat -c "%n %u:%g %a" / /* /dev/* /etc/* /proc/self /proc/1 /proc/sys /sys/kernel /dev/pts/* | grep -v -e mtab -e mqueue',
    );
    await same(['-t'], 'stat -c "%n %u:%g %a" /dev/console /dev/pts/*');
  });

  await t.test('a user of any number may write to its standard output', () =>
    same(['--user', '2000'], 'id; echo x > /dev/stdout'),
  );

  await t.test('what may be done to the files of the host', async () => {
    const [bin, open] = [join(box.directory, 'bin'), join(box.directory, 'open')];
    for (const path of [bin, open]) mkdirSync(path);
    chmodSync(open, 0o1777);
    chmodSync(box.directory, 0o711);
    writeFileSync(join(bin, 'tool'), 'x', { mode: 0o755 });
    const script =
      'rm -f /b/tool; echo $?; echo x > /b/new; echo $?; stat -c %u:%g /b/tool; cat /b/tool; touch /o/f; stat -c %u:%g /o/f';
    const owners: string[] = [];
    for (const each of say) {
      const text = await each(
        ...['run', '--rm', '--network', 'none', '-v', `${bin}:/b`, '-v', `${open}:/o`, IMAGE],
        ...[
          'sh',
          '-c',
          `(${script}; chown 7:8 /o/f; mv /o/f /o/$$) 2>/dev/null; stat -c %u:%g /o/$$; mv /o/$$ /o/seen`,
        ],
      );
      const { uid, gid } = statSync(join(open, 'seen'));
      owners.push(`${text} ${uid}:${gid}`);
    }
    assert.equal(owners[0], owners[1]);
    assert.ok(owners[0]!.endsWith(` ${user.starts[0]! + 7}:${user.starts[0]! + 8}`), owners[0]);
  });

  await t.test('the process on the host', async () => {
    const seen: string[] = [];
    for (const each of say) {
      await each('run', '-d', '--network', 'none', '--name', 'one', '--user', '5:6', IMAGE, 'sleep', '100');
      const pid = await each('inspect', '--format', '{{.State.Pid}}', 'one');
      const { uid, gid } = statSync(`/proc/${pid}`);
      seen.push(`${uid}:${gid} ${readFileSync(`/proc/${pid}/uid_map`, 'utf8')}`);
      seen.push(await each('exec', 'one', 'sh', '-c', 'id; cat /proc/self/uid_map; grep Cap /proc/self/status'));
      await each('rm', '-f', 'one');
    }
    assert.deepEqual(seen.slice(0, 2), seen.slice(2));
  });

  await t.test('what is refused, in the same words', async () => {
    for (const flags of [['--network', 'host']]) {
      const [ours, theirs] = await Promise.all(
        say.map((each) => each('create', ...flags, IMAGE).catch((error: Error) => error.message)),
      );
      const words = /cannot share the host's network namespace when user namespaces are enabled/;
      assert.match(ours!, words);
      assert.match(theirs!, words);
    }
    await same(['--userns', 'host'], 'cat /proc/self/uid_map');
  });
});
