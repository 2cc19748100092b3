/**
 * What a process finds in a container of docker and in one of tsbox, for the same flags (seen-inside.ts); what the kernel says to its
 * system calls, what inspect shows, what is refused. What differs on purpose is listed there; anything else that differs fails.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { requires } from '../requires.ts';
import { REPOSITORY, type Sandbox, sandbox } from './harness.ts';
import { type Docker, startDocker } from './images-setup.ts';
import {
  COMBINATIONS,
  type Combination,
  impossible,
  PRIVATE,
  type RunArguments,
  runArguments,
  SCRIPT,
  sections,
} from './seen-inside.ts';

const IMAGE = 'busybox:offline';

interface Engines {
  box: Sandbox;
  docker: Docker;
  runArguments: RunArguments;
}

async function engines(t: TestContext): Promise<Engines> {
  const box = sandbox(t);
  const docker = await startDocker(t);
  box.image();
  await docker('import', '--change', 'CMD ["sh"]', join(REPOSITORY, 'rootfs-fixtures/build/busybox.tar'), IMAGE);
  return { box, docker, runArguments: runArguments(t) };
}

/** Runs the same on both at once. @returns what each prints, docker first */
function onBoth({ docker, box }: Engines, args: string[]): Promise<[theirs: string, ours: string]> {
  const ours = box.start(args, { input: '' }).done.then(({ status, stdout, stderr }) => {
    assert.equal(status, 0, `tsbox ${args.join(' ')}: ${stderr}`);
    return stdout.replace(/\n$/, '');
  });
  return Promise.all([docker(...args), ours]);
}

async function compareInside(t: TestContext, both: Engines): Promise<void> {
  const same = async (args: string[], combination: Combination) => {
    const [theirs, ours] = (await onBoth(both, args)).map((text) => sections(text, combination));
    assert.deepEqual(ours, theirs, args.join(' '));
  };
  for (const combination of COMBINATIONS) {
    const args = [...both.runArguments(combination.flags), IMAGE, 'sh', '-c', SCRIPT];
    const skip = impossible(combination) ?? false;
    await t.test(combination.flags.join(' ') || 'no flags', { skip }, () => same(args, combination));
  }
  await t.test('exec', async () => {
    const start = ['run', '-d', '--network', 'none', ...PRIVATE, '--name', 'one', '--ulimit', 'nofile=99'];
    await onBoth(both, [...start, '--group-add', '77', '--security-opt', 'no-new-privileges', IMAGE, 'sleep', '1000']);
    for (const flags of [[], ['-u', 'tester'], ['-t']]) {
      await same(['exec', ...flags, 'one', 'sh', '-c', SCRIPT], { flags });
    }
  });
}

/** Compiled here, for no image has it. */
function syscallProbe(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'tsb-probe-'));
  t.after(() => rmSync(directory, { recursive: true }));
  const path = join(directory, 'probe');
  const made = spawnSync('gcc', ['-static', '-O1', '-o', path, join(import.meta.dirname, 'syscall-probe.c')], {
    encoding: 'utf8',
  });
  assert.equal(made.status, 0, made.stderr);
  return path;
}

async function compareCalls(t: TestContext, both: Engines): Promise<void> {
  const probe = ['-v', `${syscallProbe(t)}:/probe:ro`];
  const compare = async (words: string[], ...range: string[]) => {
    const args = [...both.runArguments(words), ...probe, IMAGE, '/probe', ...range];
    const [theirs, ours] = (await onBoth(both, args)).map((text) => text.split('\n'));
    assert.ok(theirs!.length > 10);
    assert.deepEqual(ours, theirs, words.join(' '));
  };
  const sets = [
    [],
    ['--cap-drop', 'ALL'],
    ['--cap-add', 'SYS_ADMIN'],
    ['--cap-add', 'ALL', '--cap-drop', 'SYS_RESOURCE', '--cap-drop', 'SYS_BOOT'],
    ['--security-opt', 'no-new-privileges'],
    ['--security-opt', 'seccomp=PROFILE'],
  ];
  for (const words of sets) {
    await t.test(words.join(' ') || 'no flags', () => compare(words, 'native', '0', '600'));
  }
  await t.test('x32', () => compare([], 'x32', '0', '600'));
}

async function compareInspect(both: Engines): Promise<void> {
  const { box, docker } = both;
  const fields =
    'CapAdd CapDrop SecurityOpt Privileged IpcMode PidMode UTSMode ShmSize Ulimits Devices GroupAdd DeviceCgroupRules';
  const format = `${fields
    .split(' ')
    .map((name) => `{{json .HostConfig.${name}}}`)
    .join(' ')} {{json .AppArmorProfile}}`;
  const more = [
    ['--privileged'],
    ['--privileged', '--security-opt', 'label=disable'],
    ['--security-opt', 'seccomp:unconfined', '--security-opt', 'apparmor=unconfined'],
    ['--cap-add', 'NET_ADMIN', '--cap-add', 'ALL', '--cap-add', 'net_admin'],
    ['--device-cgroup-rule', 'c *:* rwm', '--device-cgroup-rule', 'b 8:0 r'],
    ['--ulimit', 'nofile=1', '--ulimit', 'core=-1', '--ulimit', 'nofile=2'],
  ];
  const all = [...COMBINATIONS.map(({ flags }) => flags), ...more];
  const names = all.map((_, index) => `kept${index}`);
  for (const [index, words] of all.entries()) {
    const create = ['create', '--name', names[index]!, ...both.runArguments(words).slice(2), IMAGE, 'true'];
    await Promise.all([docker(...create), box.quick(create)]);
  }
  const show = ['inspect', '-f', format, ...names];
  const [theirs, ours] = (await Promise.all([docker(...show), box.quick(show)])).map((text) => text.split('\n'));
  for (const [index, words] of all.entries()) assert.equal(ours![index], theirs![index], words.join(' '));
  assert.equal(theirs!.length, all.length);
}

async function compareRefusals({ box, docker }: Engines): Promise<void> {
  const words = `--cap-add nope|--cap-drop nope|--cap-add CAP_ALL|--security-opt nope|--security-opt nope=1|--security-opt seccomp=
    |--security-opt no-new-privileges=maybe|--pid nope|--pid container:|--pid container:nope|--ipc nope|--ipc container:nope
    |--uts nope|--uts host -h x|--cgroupns nope|--shm-size x|--shm-size -1|--ulimit nope=1|--ulimit nofile|--ulimit nofile=a
    |--ulimit nofile=2:1|--ulimit nofile=-1:5|--ulimit nofile=1:2:3|--sysctl nope|--sysctl vm.swappiness=1
    |--device nope|--device /dev/zero:z|--device /dev/zero:/z:q|--device /dev/nope|--device /etc/passwd|--device-cgroup-rule nope
    |--group-add nope|-v /tmp:/m:ro,rw|-v /tmp:/m:shared,private|-u nope`;
  const bare = (text: string) =>
    text
      .split('\n')[0]!
      .replace(/^(docker|tsbox|Error response from daemon): /, '')
      .replace(/^Error response from daemon: /, '')
      .replace(/^tsbox: /, '');
  for (const one of words.split('|').map((each) => each.trim().split(' '))) {
    const args = ['run', '--rm', '--network', 'none', ...one, IMAGE, 'true'];
    const theirs = await docker(...args).then(
      () => assert.fail(`docker takes ${one.join(' ')}`),
      (error: { code: number; stderr: Buffer }) => {
        const text = bare(String(error.stderr));
        // docker takes every file that is missing for the command
        return { status: text.includes('no such file') ? 125 : error.code, text };
      },
    );
    // In this process: one that is not refused would write to the test's output, and the words would differ.
    const { status, stderr } = await box.said(args);
    assert.deepEqual({ status, text: bare(stderr) }, theirs, one.join(' '));
  }
}

test('beside docker: isolation', async (t) => {
  if (!requires(t, 'root', 'overlay', 'command:dockerd', 'command:docker', 'command:gcc')) return;
  const both = await engines(t);
  await t.test('the same flags give a process the same', (context) => compareInside(context, both));
  await t.test('the kernel answers every system call alike', (context) => compareCalls(context, both));
  await t.test('inspect shows the same settings', () => compareInspect(both));
  await t.test('what is refused is refused in the same words', () => compareRefusals(both));
});
