/**
 * The same commands through tsbox and through a real dockerd, side by side. What differs on purpose is named here with its reason;
 * anything else that differs fails. Status, mounts, maps and devices are in beside-docker-isolation.test.ts.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { requires } from '../requires.ts';
import { REPOSITORY, type Sandbox, sandbox, TSBOX } from './harness.ts';
import { startDocker } from './images-setup.ts';

const ARCHIVE = join(REPOSITORY, 'rootfs-fixtures/build/busybox.tar');

interface Outcome {
  status: number | null;
  stdout: string;
}

interface Both {
  tsbox(args: readonly string[], input?: string): Promise<Outcome>;
  docker(args: readonly string[], input?: string): Promise<Outcome>;
}

/** Runs a command. Not spawnSync: the event loop has to take what dockerd logs meanwhile. */
function run(command: string, args: readonly string[], input: string, env: NodeJS.ProcessEnv): Promise<Outcome> {
  const child = spawn(command, args, {
    env,
    timeout: 30_000,
    killSignal: 'SIGKILL',
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  const chunks: Buffer[] = [];
  child.stdout.on('data', (data: Buffer) => chunks.push(data));
  child.stdin.on('error', async () => {}); // EPIPE: the command ended first
  child.stdin.end(input);
  return new Promise((fulfil, reject) => {
    child.on('error', reject);
    child.on('close', (status) => fulfil({ status, stdout: Buffer.concat(chunks).toString() }));
  });
}

/** Verbs of tsbox that need no process of their own. */
const IN_PROCESS = ['create', 'inspect', 'kill', 'ps', 'rm', 'stop', 'wait'];

/** Both engines with the same image, `busybox:offline`. */
async function both(t: TestContext, box: Sandbox): Promise<Both> {
  const host = await dockerHost(t);
  const engines: Both = {
    async tsbox(args, input = '') {
      if (!IN_PROCESS.includes(args[0]!)) return run(TSBOX, args, input, box.env);
      const { status, stdout } = await box.said(args);
      return { status, stdout };
    },
    docker: (args, input = '') => run('docker', args, input, { ...process.env, DOCKER_HOST: host }),
  };
  box.image();
  const made = await engines.docker(['import', '--change', 'CMD ["sh"]', ARCHIVE, 'busybox:offline']);
  assert.equal(made.status, 0);
  return engines;
}

/** What `startDocker` listens on: the client is asked, as it alone knows. */
async function dockerHost(t: TestContext): Promise<string> {
  const docker = await startDocker(t);
  return docker('context', 'inspect', '--format', '{{.Endpoints.docker.Host}}');
}

/** What a script prints in a container of each. Docker has no network `none` by default, so both are told. */
async function compare(
  { tsbox, docker }: Both,
  flags: string[],
  script: string,
): Promise<[ours: string[], theirs: string[]]> {
  const args = ['run', '--rm', '--network', 'none', ...flags, 'busybox:offline', 'sh', '-c', script];
  const [ours, theirs] = await Promise.all([tsbox(args), docker(args)]);
  assert.deepEqual([ours.status, theirs.status], [0, 0], script);
  return [ours.stdout.trimEnd().split('\n'), theirs.stdout.trimEnd().split('\n')];
}

/** Without times and the size of a directory. */
const listing = (line: string) =>
  line
    .replace(/\s+\d*\s+\w{3}\s+\d+\s+[\d:]+\s/, ' ')
    .replace(/^total.*/, '')
    .replace(/\s+/g, ' ');

test('beside docker', async (t) => {
  if (!requires(t, 'root', 'overlay', 'command:dockerd', 'command:docker')) return;
  const engines = await both(t, sandbox(t));
  await t.test('what a container sees', (context) => compareInside(context, engines));
  await t.test('exit codes and output', (context) => compareVerbs(context, engines));
});

async function compareInside(t: TestContext, engines: Both): Promise<void> {
  const same = async (flags: string[], script: string, clean: (lines: string[]) => string[] = (lines) => lines) => {
    const [ours, theirs] = await compare(engines, flags, script);
    assert.deepEqual(clean(ours), clean(theirs), script);
  };
  await t.test('the environment', async () => {
    await same(['-h', 'same', '-e', 'B=1', '-e', 'A=2'], 'env', (lines) => lines.sort());
    await same(['-t', '-h', 'same', '-u', 'tester', '-w', '/var'], 'env', (lines) => lines.sort());
  });
  await t.test('/, /etc and the terminal', async () => {
    await same([], 'ls -la /', (lines) => lines.map(listing).filter((line) => !/ (proc|sys|dev)$/.test(line)));
    await same([], 'ls -la /etc', (lines) => lines.map(listing));
    await same(['-t'], 'ls -la /dev/console /dev/pts', (lines) => lines.map(listing));
  });
  await t.test('hosts, hostname, resolv.conf', async () => {
    await same(['-h', 'same'], 'head -50 /etc/hosts /etc/hostname /etc/resolv.conf');
  });
  await t.test('session, terminal and standard streams', async () => {
    await same(
      [],
      'cut -d" " -f4-8 /proc/1/stat; tty; readlink /proc/1/cwd /proc/1/root; for fd in 1 2; do readlink /proc/1/fd/$fd | cut -c1-5; done',
    );
    await same(
      ['-t'],
      'cut -d" " -f4-8 /proc/1/stat; tty; for fd in 0 1 2; do readlink /proc/1/fd/$fd; done; stat -c "%a %u %g" /dev/pts/0',
    );
    await same(['-t', '-u', 'tester'], 'stat -c "%a %u %g" /dev/pts/0; echo x > /dev/stdout');
  });
  await t.test('a read-only root', async () => {
    await same(['--read-only'], 'cut -d" " -f5,6 /proc/self/mountinfo | grep -v cgroup | sort; touch /x 2>&1; true');
  });
  await t.test('a bind mount', async () => {
    const source = mkdtempSync(join(tmpdir(), 'tsb-bind-'));
    t.after(() => rmSync(source, { recursive: true }));
    writeFileSync(join(source, 'file'), 'x');
    const show = 'grep " /m" /proc/self/mountinfo | cut -d" " -f5,6; ls -la /m | head -2; cat /m/file /file';
    const clean = (lines: string[]) => lines.map(listing);
    await same(['-v', `${source}:/m/new/deep:ro`, '-v', `${source}:/m`, '-v', `${source}/file:/file`], show, clean);
  });
}

async function compareVerbs(t: TestContext, engines: Both): Promise<void> {
  const image = 'busybox:offline';
  const same = async (args: string[], input?: string) => {
    const [ours, theirs] = await Promise.all([engines.tsbox(args, input), engines.docker(args, input)]);
    assert.deepEqual(ours, theirs, args.join(' '));
  };
  // Left out because docker's exit codes are not those that its documentation gives: 126 for every exec that does not start, with the
  // message on standard output, and 125 for a command below a file.
  const run = ['run', '--rm', '--network', 'none'];
  await t.test('run', async () => {
    const commands: string[][] = [
      ['sh', '-c', 'exit 7'],
      ['nope'],
      ['/bin/nope'],
      ['/etc/passwd'],
      ['/etc'],
      [''],
      ['ls', '-t', '--rm'],
    ];
    // Not with --rm: a docker client may wait without end for the removal of what did not start.
    const once = ['run', '--network', 'none', '--name', 'once'];
    const attempt = async (...args: string[]) => {
      await same([...once, ...args]);
      await same(['rm', 'once']);
    };
    for (const command of commands) await attempt(image, ...command);
    for (const flags of [
      ['-w', 'x'],
      ['-u', 'nope'],
      ['--nope'],
      ['-v', 'x:y:z'],
      ['-e', '=x'],
      ['--entrypoint', 'nope'],
    ]) {
      await attempt(...flags, image, 'true');
    }
    await same([...run, '-i', image, 'cat'], 'in and out');
    await same([...run, '-t', image, 'sh', '-c', 'echo a; echo b >&2']);
    await same([...run, '--entrypoint', 'echo', image, 'a', 'b']);
  });
  await t.test('create, start, inspect, wait, logs, rm', async () => {
    const format =
      '{{.State.Status}} {{.State.Running}} {{.State.ExitCode}} {{.Config.Cmd}} {{.HostConfig.NetworkMode}}';
    for (const engine of [engines.tsbox, engines.docker])
      await engine(['create', '--network', 'none', '--name', 'x1', image, 'sh', '-c', 'echo o; exit 3']);
    await same(['inspect', '-f', format, 'x1']);
    await same(['wait', 'x1']);
    await same(['start', '-a', 'x1']);
    await same(['inspect', '-f', format, 'x1']);
    await same(['wait', 'x1']);
    await same(['logs', 'x1']);
    await same(['start', 'x1']);
    await same(['wait', 'x1']);
    await same(['logs', '--tail', '1', 'x1']);
    await same(['rename-is-no-verb']);
    await same(['kill', 'x1']);
    await same(['stop', 'x1']);
    await same(['exec', 'x1', 'true']);
    await same(['attach', 'x1']);
    await same(['rm', 'x1']);
    for (const verb of ['rm', 'stop', 'kill', 'start', 'wait', 'logs', 'inspect', 'attach']) await same([verb, 'x1']);
    await same(['rm', '-f', 'x1']);
    await same(['exec', 'x1', 'true']);
  });
  await t.test('a container that runs', async () => {
    for (const engine of [engines.tsbox, engines.docker]) {
      await engine([
        'run',
        '-d',
        '--network',
        'none',
        '--name',
        'x2',
        '-e',
        'A=1',
        '-u',
        'tester',
        '-w',
        '/home',
        image,
        'sleep',
        '1000',
      ]);
    }
    const exec = (...args: string[]) => same(['exec', ...args]);
    await exec('x2', 'sh', '-c', 'exit 9');
    await exec(
      'x2',
      'sh',
      '-c',
      'echo $A $HOME; pwd; id; grep -E "^(Cap|NoNew|Umask|SigBlk|SigCgt)" /proc/self/status',
    );
    await exec(
      '-u',
      'root',
      '-w',
      '/tmp',
      '-e',
      'B=2',
      'x2',
      'sh',
      '-c',
      'echo $A $B $HOME; pwd; id; grep Cap /proc/self/status',
    );
    await exec('-u', '1:50', 'x2', 'id');
    await exec('-t', 'x2', 'sh', '-c', 'tty; echo $TERM');
    await same(['exec', '-i', 'x2', 'wc', '-c'], 'five5');
    for (const fields of [
      '.Path .Args .Name .Driver .RestartCount .ProcessLabel',
      '.State.Status .State.Dead .State.OOMKilled .State.FinishedAt .State.Error',
      '.Config.User .Config.Env .Config.Cmd .Config.Entrypoint .Config.WorkingDir .Config.Tty .Config.StdinOnce',
      '.HostConfig.RestartPolicy.Name .HostConfig.Memory .HostConfig.CapAdd .HostConfig.IpcMode .HostConfig.ShmSize',
      '.HostConfig.Binds .HostConfig.LogConfig.Type .HostConfig.Privileged .HostConfig.ReadonlyPaths',
      '.NetworkSettings.IPAddress .NetworkSettings.Ports .Mounts',
    ]) {
      const format = fields.split(' ').map((field) => `{{json ${field}}}`);
      await same(['inspect', '-f', format.join(' '), 'x2']);
    }
    await same(['rm', 'x2']);
    await same(['start', 'x2']);
    await same(['run', '--network', 'none', '--name', 'x2', image, 'true']);
    await same(['ps', '--format', '{{.Image}} {{.Command}} {{.Names}} {{.State}} {{.Ports}}']);
    await same(['kill', '-s', 'NOPE', 'x2']);
    await same(['stop', '-t', '0', 'x2']);
    await same(['inspect', '-f', '{{.State.ExitCode}} {{.State.Status}}', 'x2']);
    await same(['rm', '-f', 'x2']);
  });
}
