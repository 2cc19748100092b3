/** Filters of system calls and privileges, by what they do to a process. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { requires } from '../requires.ts';
import { type Sandbox, sandbox } from './harness.ts';

const STATUS = 'grep -E "^(NoNewPrivs|Seccomp|Cap)" /proc/self/status';

function status(text: string): Record<string, string> {
  return Object.fromEntries(text.split('\n').map((line) => line.split(':\t') as [string, string]));
}

const inside = (box: Sandbox, flags: string[], script: string) =>
  box.ok(['run', '--rm', ...flags, box.image(), 'sh', '-c', script]);

/** A profile that refuses mkdir(2) with an errno that nothing else gives. */
function profile(box: Sandbox, rest: object = {}): string {
  const path = join(box.directory, 'profile.json');
  const rules = [{ names: ['mkdir', 'mkdirat'], action: 'SCMP_ACT_ERRNO', errnoRet: 122 }];
  writeFileSync(path, JSON.stringify({ defaultAction: 'SCMP_ACT_ALLOW', syscalls: rules, ...rest }, null, 2));
  return path;
}

const filters = (box: Sandbox) => readdirSync(join(box.dataRoot, 'seccomp'));

test('seccomp: every container has a filter, and so has what exec starts in it', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  assert.equal(status(inside(box, [], STATUS))['Seccomp'], '2');
  assert.equal(status(inside(box, ['--security-opt', 'seccomp=unconfined'], STATUS))['Seccomp'], '0');
  box.ok(['run', '-d', '--name', 'one', box.image(), 'sleep', '1000']);
  const within = status(box.ok(['exec', 'one', 'sh', '-c', STATUS]));
  assert.deepEqual([within['Seccomp'], within['Seccomp_filters']], ['2', '1']);
  box.ok(['run', '-d', '--name', 'two', '--security-opt', 'seccomp=unconfined', box.image(), 'sleep', '1000']);
  assert.equal(status(box.ok(['exec', 'two', 'sh', '-c', STATUS]))['Seccomp'], '0');
});

test('seccomp: what the default refuses is refused to root too', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const attempt = (flags: string[]) => inside(box, flags, 'unshare -r true 2>&1; echo $?');
  assert.match(attempt([]), /Operation not permitted\n1$/);
  assert.equal(attempt(['--security-opt', 'seccomp=unconfined']), '0');
  const mount = 'mount -t tmpfs x /mnt && echo mounted';
  assert.match(inside(box, ['--cap-add', 'SYS_ADMIN'], `mkdir -p /mnt; ${mount}`), /mounted/);
});

test('seccomp: a filter is compiled once, and a damaged one again', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  box.ok(['run', '--rm', '--dry-run', box.image(), 'true']);
  assert.throws(() => filters(box), /ENOENT/, 'a look leaves nothing behind');
  inside(box, [], 'true');
  const [name, ...others] = filters(box);
  assert.deepEqual(others, []);
  const path = join(box.dataRoot, 'seccomp', name!);
  const made = readFileSync(path);
  inside(box, ['-u', 'tester'], 'true');
  assert.deepEqual(filters(box), [name]);
  const damaged = Buffer.concat([made.subarray(0, made.length - 8), Buffer.alloc(8)]);
  writeFileSync(path, damaged);
  assert.equal(status(inside(box, [], STATUS))['Seccomp'], '2');
  assert.deepEqual(readFileSync(path), made);
  inside(box, ['--cap-add', 'SYS_ADMIN'], 'true');
  assert.equal(filters(box).length, 2, 'other capabilities, another filter');
});

test('seccomp: a profile of one’s own holds for run and exec, and inspect shows it', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const option = `seccomp=${profile(box)}`;
  const refused = /Disk quota exceeded|Quota exceeded/;
  const script = 'mkdir /new 2>&1; ls -d /new 2>&1; true';
  assert.match(inside(box, ['--security-opt', option], script), refused);
  assert.match(inside(box, ['--security-opt', option, '--security-opt', 'no-new-privileges'], script), refused);
  box.ok(['run', '-d', '--name', 'own', '--security-opt', option, box.image(), 'sleep', '1000']);
  assert.match(box.ok(['exec', 'own', 'sh', '-c', script]), refused);
  assert.match(box.ok(['exec', '-u', 'tester', 'own', 'sh', '-c', 'mkdir /tmp/new 2>&1; true']), refused);
  const [shown] = JSON.parse(
    await box.quick(['inspect', '--format', '{{json .HostConfig.SecurityOpt}}', 'own']),
  ) as string[];
  assert.match(shown!, /^seccomp=\{"defaultAction":"SCMP_ACT_ALLOW","syscalls":\[/);
});

test('seccomp: a profile that is none is refused before anything is made', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const refused = (path: string, pattern: RegExp) => {
    const { status, stderr } = box.tsbox(['run', '--security-opt', `seccomp=${path}`, box.image(), 'true']);
    assert.match(stderr, pattern);
    assert.equal(status, 125);
    assert.equal(box.ok(['ps', '-aq']), '');
  };
  refused('/nope', /opening seccomp profile \(\/nope\) failed/);
  writeFileSync(join(box.directory, 'bad'), '{');
  refused(join(box.directory, 'bad'), /compacting json for seccomp profile/);
  refused(profile(box, { syscalls: 7 }), /Decoding seccomp profile failed: syscalls/);
  refused(profile(box, { defaultAction: 'SCMP_ACT_MAYBE' }), /the action "SCMP_ACT_MAYBE" is not known/);
  refused(profile(box, { architectures: ['SCMP_ARCH_PDP11'] }), /the architecture "SCMP_ARCH_PDP11" is not known/);
});

test('seccomp: without libseccomp a start says what to install, and one from the cache works', async (t) => {
  if (!requires(t, 'root', 'overlay', 'command:unshare')) return;
  const box = sandbox(t);
  const image = box.image();
  /** tsbox where the library is an empty file. */
  const without = (...args: string[]) => {
    const script =
      'for f in /usr/lib/*/libseccomp.so.2.*; do mount --bind /dev/null "$f" || exit 99; done; exec tsbox run --rm "$@"';
    return spawnSync('unshare', ['-m', 'sh', '-c', script, 'sh', ...args], { env: box.env, encoding: 'utf8' });
  };
  const { status: code, stderr } = without(image, 'true');
  assert.equal(code, 125);
  assert.match(stderr, /load libseccomp.so.2, which makes seccomp filters/);
  assert.match(stderr, /apt-get install libseccomp2/);
  assert.equal(without('--security-opt', 'seccomp=unconfined', image, 'true').status, 0);
  inside(box, [], 'true');
  assert.equal(without(image, 'true').status, 0);
});

test('privileges: a setuid file gives nothing with no-new-privileges', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const script = 'cp /usr/bin/id /id; chmod 4755 /id; chroot --userspec=1000:1000 / /id -u';
  const effective = (...flags: string[]) => box.ok(['run', '--rm', ...flags, box.image('debian'), 'sh', '-c', script]);
  assert.equal(effective(), '0');
  assert.equal(effective('--security-opt', 'no-new-privileges'), '1000');
  assert.equal(status(inside(box, ['--security-opt', 'no-new-privileges:true'], STATUS))['NoNewPrivs'], '1');
  assert.equal(status(inside(box, ['--security-opt', 'no-new-privileges=false'], STATUS))['NoNewPrivs'], '0');
  box.ok(['run', '-d', '--name', 'bound', '--security-opt', 'no-new-privileges', box.image(), 'sleep', '1000']);
  assert.equal(status(box.ok(['exec', 'bound', 'sh', '-c', STATUS]))['NoNewPrivs'], '1');
});

test('privileges: exec --privileged has all capabilities and the container’s filter', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const host = /^CapBnd:\s*(\w+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1];
  box.ok(['run', '-d', '--name', 'one', '--cap-drop', 'ALL', box.image(), 'sleep', '1000']);
  assert.equal(status(box.ok(['exec', 'one', 'sh', '-c', STATUS]))['CapEff'], '0000000000000000');
  const raised = status(box.ok(['exec', '--privileged', 'one', 'sh', '-c', STATUS]));
  assert.deepEqual([raised['CapEff'], raised['Seccomp']], [host, '2']);
});
