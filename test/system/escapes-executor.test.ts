/** Attacks on tsbox's own program from inside a container: CVE-2016-9962, CVE-2019-5736 and their like. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, copyFileSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { executorPath } from '../../src/runtime/launch.ts';
import { requires } from '../requires.ts';
import { type Attack, attack, malicious, outcomes } from './attacks/attack.ts';
import { type Sandbox, sandbox, until } from './harness.ts';

const needs = ['root', 'overlay', 'command:gcc'] as const;
/** Refused through the read-only mount, whoever asks; `write` is refused as long as a monitor runs besides. */
const SEALED = {
  chmod: 'EROFS',
  chown: 'EROFS',
  setxattr: 'EROFS',
  truncate: 'EROFS',
  mount_setattr: 'EINVAL',
  remount: 'EINVAL',
};

/** Everything about a file that an attack could change. */
function print(path: string): string {
  const { mode, uid, gid, size, mtimeMs, ctimeMs } = statSync(path);
  return JSON.stringify([
    createHash('sha256').update(readFileSync(path)).digest('hex'),
    mode,
    uid,
    gid,
    size,
    mtimeMs,
    ctimeMs,
  ]);
}

/** Fails the test if it changes the executor. */
function guard(t: TestContext): void {
  const before = print(executorPath());
  t.after(() => assert.equal(print(executorPath()), before, 'the executor is as it was'));
}

/** A container that stops whatever enters it, before it is the command. @returns what it found, once it has caught something */
async function ambush(box: Sandbox, { flags }: Attack, ...more: string[]): Promise<Record<string, string>> {
  const name = `ambush${more.length}`;
  box.ok(['run', '-d', '--name', name, ...flags, ...more, box.image(), '/attack', 'ambush', '600']);
  await until('the ambush', () => box.ok(['logs', name]).includes('ready'));
  for (let tries = 0; tries < 50; tries++) {
    box.tsbox(['exec', name, 'true']);
    const log = box.ok(['logs', name]);
    if (log.includes('capabilities')) {
      await box.quick(['rm', '-f', name]);
      return outcomes(log);
    }
  }
  throw new Error('nothing was caught in 50 tries');
}

test('escapes: exec into a container that stops the new process and traces it, reads it or opens its program', async (t) => {
  if (!requires(t, ...needs)) return;
  guard(t);
  const box = sandbox(t);
  const program = attack(box);
  await t.test('it can neither be traced nor looked into', async () => {
    const { capabilities, ...found } = await ambush(box, program);
    const denied = { environ: 'EACCES', mem: 'EACCES', fd: 'EACCES', root: 'EACCES', open: 'EACCES' };
    assert.deepEqual(found, { ptrace: 'EPERM', ...denied });
    assert.equal(capabilities, '00000000a80425fb', 'no more than the container has');
  });
  await t.test(
    'who may trace everything finds a program that cannot be written, and no rights to take over',
    async () => {
      const flags = ['--cap-add', 'SYS_PTRACE', '--cap-add', 'SYS_ADMIN'];
      const { capabilities, write, ...found } = await ambush(box, program, ...flags);
      const open = { ptrace: 'ok', environ: 'ok', mem: 'ok', root: 'ok' };
      for (const [what, outcome] of Object.entries({ ...open, ...SEALED })) assert.equal(found[what], outcome, what);
      assert.ok(write === 'EROFS' || write === 'ETXTBSY', write);
      assert.equal(capabilities, '00000000a82c25fb');
    },
  );
});

test('escapes: overwriting a program through /proc/PID/exe works where nothing protects it', (t) => {
  if (!requires(t, ...needs)) return;
  const box = sandbox(t);
  const program = attack(box);
  const victim = join(box.directory, 'victim');
  copyFileSync(program.path, victim);
  const script = '/victim ambush 60 >/dev/null & /attack exe /proc/$!/exe';
  const flags = [...program.flags, '-v', `${victim}:/victim`];
  const found = outcomes(box.ok(['run', '--rm', ...flags, box.image(), 'sh', '-c', script]));
  assert.deepEqual([found['chmod'], found['chown']], ['ok', 'ok']);
});

test('escapes: an image whose command is /proc/self/exe', async (t) => {
  if (!requires(t, ...needs)) return;
  guard(t);
  const box = sandbox(t);
  const program = attack(box);
  const programs: [string, string][] = [
    ['the command itself', 'ln -s /proc/self/exe run'],
    ['a link to it', 'ln -s /proc/thread-self/exe run'],
    ['the interpreter of a script', 'printf "#!/proc/self/exe\\n" > run; chmod 755 run'],
  ];
  for (const [index, [name, script]] of programs.entries()) {
    await t.test(name, () => {
      const image = malicious(box, `self${index}`, script);
      for (const command of [['/run'], ['/proc/self/exe', '3'], ['/proc/self/exe', '--ops']]) {
        const { status, stdout } = box.tsbox(['run', '--rm', ...program.flags, image, ...command], { timeout: 20_000 });
        // tsbox's executor runs there, without a plan and as a process of the container like any other.
        assert.ok(status === 125 || status === 126 || (status === 0 && stdout.startsWith('1 mkdir')), `${status}`);
      }
    });
  }
  await t.test('the loader of a program', () => {
    const loader = Buffer.from('/lib64/ld-linux-x86-64.so.2\0');
    const elf = readFileSync('/bin/true');
    const at = elf.indexOf(loader);
    if (at < 0) return t.diagnostic('no loader of that name on this machine');
    elf.fill(0, at, at + loader.length);
    elf.write('/proc/self/exe', at);
    const path = join(box.directory, 'loaded');
    writeFileSync(path, elf);
    chmodSync(path, 0o755);
    const { status } = box.tsbox(['run', '--rm', '-v', `${path}:/loaded`, box.image(), '/loaded'], { timeout: 20_000 });
    assert.ok(status !== null);
  });
  await t.test('exec of it, too', () => {
    box.ok(['run', '-d', '--name', 'entered', ...program.flags, box.image(), 'sleep', '60']);
    for (let tries = 0; tries < 10; tries++) box.tsbox(['exec', 'entered', '/proc/self/exe', '3']);
    const found = outcomes(box.ok(['exec', 'entered', '/attack', 'exe', '/proc/1/exe']));
    assert.equal(found['open'], undefined, "the container's own program can be opened");
  });
});

test('escapes: a descriptor of the host', async (t) => {
  if (!requires(t, ...needs)) return;
  const box = sandbox(t);
  const { path, flags } = attack(box);
  const image = box.image();
  const name = 'fds';
  box.ok(['run', '-d', '--name', name, ...flags, image, 'sleep', '60']);
  const leaky = (command: string) => {
    const all = `exec 7</etc 8</etc/passwd 9<> ${box.directory}/x 33</proc/self/ns/mnt; ${command}`;
    const { stdout, stderr } = spawnSync('bash', ['-c', all], { env: box.env, encoding: 'utf8' });
    assert.equal(stderr, '');
    return stdout;
  };
  await t.test('of whoever calls tsbox is not open inside', () => {
    assert.match(leaky(`${path} fds`), /^7 \/etc$/m, 'they are open in the caller');
    for (const how of ['', '-i', '-t']) {
      assert.equal(leaky(`tsbox run --rm ${how} ${flags.join(' ')} ${image} /attack fds`), '', `run ${how}`);
      assert.equal(leaky(`tsbox exec ${how} ${name} /attack fds`), '', `exec ${how}`);
    }
  });
});
