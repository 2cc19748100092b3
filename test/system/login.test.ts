/** `login` and `logout`: against a real registry, beside docker, in a terminal, and several at once. */
import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { requires } from '../requires.ts';
import { serve } from '../unit/registry-fixture.ts';
import { sandbox } from './harness.ts';
import { startDocker } from './images-setup.ts';
import { startRegistry, withPassword } from './registry-daemon.ts';
import { terminal } from './tmux.ts';

const NEEDS = ['root', 'command:docker-registry'] as const;
const INSECURE = 'WARNING! Using --password via the CLI is insecure. Use --password-stdin.\n';
const unencrypted = (file: string) => `
WARNING! Your credentials are stored unencrypted in '${file}'.
Configure a credential helper to remove this warning. See
https://docs.docker.com/go/credential-store/

`;

test("login: Docker's words, and a file that only its owner reads", async (context) => {
  if (!requires(context, ...NEEDS)) return;
  const { host } = await startRegistry(context, withPassword);
  const box = sandbox(context);
  const env = { TSBOX_CONFIG: join(box.directory, 'config') };
  const file = join(box.directory, 'config/config.json');
  const say = (...args: string[]) => {
    const { status, stdout, stderr } = box.tsbox(args, { env });
    return [status, stdout, stderr];
  };
  const succeeded = 'Login Succeeded\n';
  assert.deepEqual(say('login', '-u', 'alice', '-p', 's3cret', host), [0, succeeded, INSECURE + unencrypted(file)]);
  assert.deepEqual([statSync(file).mode & 0o777, statSync(join(file, '..')).mode & 0o777], [0o600, 0o700]);
  const auth = Buffer.from('alice:s3cret').toString('base64');
  assert.deepEqual(JSON.parse(readFileSync(file, 'utf8')), { auths: { [host]: { auth } } });
  // Nothing has changed, so there is nothing to warn of.
  assert.deepEqual(say('login', '-u', 'alice', '-p', 's3cret', `http://${host}/v2/`), [0, succeeded, INSECURE]);
  const existing = 'Authenticating with existing credentials... [Username: alice]\n';
  assert.deepEqual(say('login', host), [0, succeeded, existing]);
  const wrong = `tsbox: log in to ${host}: unauthorized: incorrect username or password\n`;
  assert.deepEqual(say('login', '-u', 'alice', '-p', 'wrong', host), [1, '', INSECURE + wrong]);
  assert.deepEqual(JSON.parse(readFileSync(file, 'utf8')), { auths: { [host]: { auth } } }, 'the old ones stay');
  assert.deepEqual(say('logout', host), [0, `Removing login credentials for ${host}\n`, '']);
  assert.deepEqual(say('logout', host), [0, `Removing login credentials for ${host}\n`, '']);
  assert.deepEqual(say('logout'), [0, 'Removing login credentials for https://index.docker.io/v1/\n', '']);
  assert.deepEqual(JSON.parse(readFileSync(file, 'utf8')), { auths: {} });
  assert.deepEqual(readdirSync(join(file, '..')), ['config.json']);
});

test('login: what cannot be asked for must be given', (context) => {
  if (!requires(context, 'root')) return;
  const box = sandbox(context);
  const nobody = '127.0.0.1:1';
  const cases: [string[], string][] = [
    [['login', nobody], 'Cannot perform an interactive login from a non TTY device'],
    [['login', '-u', 'alice', nobody], 'Cannot perform an interactive login from a non TTY device'],
    [['login', '-p', 'x', nobody], 'Cannot perform an interactive login from a non TTY device'],
    [['login', '--password-stdin', nobody], 'the --password-stdin option requires --username to be set'],
    [
      ['login', '-u', 'a', '-p', 'x', '--password-stdin', nobody],
      'conflicting options: cannot specify both --password and --password-stdin',
    ],
    [['login', '-u', 'alice', '--password-stdin', nobody], 'password is empty'],
    [['login', '-u', '', '-p', 'x', nobody], 'username is empty'],
    [['login', '-u', 'a', '-p', 'b', nobody], `GET http://${nobody}/v2/: ECONNREFUSED (Connection refused)`],
    [['login', 'alice'], 'invalid registry "alice"'],
    [['logout', 'a b:1'], 'invalid registry "a b:1"'],
    [['login', 'a', 'b'], "'tsbox login' requires at most 1 argument"],
  ];
  for (const [args, message] of cases) {
    const { status, stderr } = box.tsbox(args);
    assert.equal(status, 1, args.join(' '));
    assert.ok(stderr.includes(`tsbox: ${message}\n`), `${args.join(' ')}: ${stderr}`);
  }
  assert.deepEqual(readdirSync(join(box.directory, 'home')), []);
});

test('login: docker and tsbox write the same file, and each takes what the other has written', async (context) => {
  if (!requires(context, ...NEEDS, 'command:dockerd', 'command:docker')) return;
  const { host } = await startRegistry(context, withPassword);
  const docker = await startDocker(context);
  const box = sandbox(context);
  const [theirs, ours] = [join(box.directory, 'theirs'), join(box.directory, 'ours')];
  const read = (at: string) => JSON.parse(readFileSync(join(at, 'config.json'), 'utf8'));
  mkdirSync(theirs);
  await docker('--config', theirs, 'login', '-u', 'alice', '-p', 's3cret', host);
  box.ok(['login', '-u', 'alice', '--password-stdin', host], { input: 's3cret\r\n', env: { DOCKER_CONFIG: ours } });
  assert.deepEqual(read(ours), read(theirs));
  const image = box.image('busybox');
  box.ok(['tag', image, `${host}/one`]);
  box.ok(['push', '-q', `${host}/one`], { env: { DOCKER_CONFIG: theirs } });
  await docker('--config', ours, 'pull', '-q', `${host}/one`);
  box.ok(['logout', host], { env: { DOCKER_CONFIG: theirs } });
  await docker('--config', ours, 'logout', host);
  assert.deepEqual(read(ours), read(theirs));
  assert.equal(box.tsbox(['push', '-q', `${host}/one`], { env: { DOCKER_CONFIG: ours } }).status, 1);
});

test('login: several at once all stay', async (context) => {
  if (!requires(context, 'root')) return;
  const box = sandbox(context);
  const servers = await Promise.all(
    Array.from({ length: 8 }, () => serve(context, (_, response) => void response.writeHead(200).end('{}'))),
  );
  const hosts = servers.map(({ host }) => host);
  const all = await Promise.all(
    hosts.map((host) => box.start(['login', '-u', 'a', '--password-stdin', host], { input: 'b' }).done),
  );
  for (const { status, stderr } of all) assert.equal(status, 0, stderr);
  const file = join(box.directory, 'home/.config/tsbox/config.json');
  const known = () => Object.keys(JSON.parse(readFileSync(file, 'utf8')).auths).sort();
  assert.deepEqual(known(), hosts.toSorted());
  const some = hosts.slice(0, 4);
  await Promise.all(some.map((host) => box.start(['logout', host], { input: '' }).done));
  assert.deepEqual(known(), hosts.slice(4).sort());
});

test('login: a credential helper keeps the password, and the file does not', async (context) => {
  if (!requires(context, ...NEEDS)) return;
  const { host } = await startRegistry(context, withPassword);
  const box = sandbox(context);
  const bin = join(box.directory, 'bin');
  mkdirSync(bin);
  const kept = join(box.directory, 'kept');
  writeFileSync(
    join(bin, 'docker-credential-lab'),
    `#!/bin/sh
case $1 in
store) cat > ${kept} ;;
get) cat > /dev/null; cat ${kept} 2>/dev/null || { echo 'credentials not found in native keychain'; exit 1; } ;;
erase) cat > /dev/null; rm -f ${kept} ;;
esac
`,
  );
  chmodSync(join(bin, 'docker-credential-lab'), 0o755);
  const config = join(box.directory, 'config');
  mkdirSync(config);
  const file = join(config, 'config.json');
  writeFileSync(file, '{"detachKeys":"ctrl-x","credsStore":"lab","auths":null}');
  const env = { DOCKER_CONFIG: config, PATH: `${bin}:${box.env['PATH']}` };
  const { status, stderr } = box.tsbox(['login', '-u', 'alice', '--password-stdin', host], { input: 's3cret', env });
  assert.deepEqual([status, stderr], [0, '']);
  assert.deepEqual(JSON.parse(readFileSync(kept, 'utf8')), { ServerURL: host, Username: 'alice', Secret: 's3cret' });
  assert.deepEqual(JSON.parse(readFileSync(file, 'utf8')), {
    detachKeys: 'ctrl-x',
    credsStore: 'lab',
    auths: { [host]: {} },
  });
  box.ok(['tag', box.image('busybox'), `${host}/one`]);
  box.ok(['push', '-q', `${host}/one`], { env });
  box.ok(['logout', host], { env });
  const refused = box.tsbox(['push', '-q', `${host}/one`], { env });
  assert.match(refused.stderr, /^tsbox: push .*: unauthorized: authentication required$/m);
});

test("logout: Docker's own file is not changed, and that is said", async (context) => {
  if (!requires(context, 'root')) return;
  const box = sandbox(context);
  const docker = join(box.directory, 'home/.docker/config.json');
  mkdirSync(join(docker, '..'), { recursive: true });
  const content = JSON.stringify({ auths: { 'a.test': { auth: Buffer.from('a:b').toString('base64') } } });
  writeFileSync(docker, content);
  const { status, stderr } = box.tsbox(['logout', 'a.test']);
  assert.deepEqual([status, stderr], [0, `WARNING! ${docker} has credentials for it too, and tsbox uses them.\n`]);
  assert.equal(readFileSync(docker, 'utf8'), content);
});

test('login: in a terminal it asks, and what is typed as the password is not seen', async (context) => {
  if (!requires(context, ...NEEDS, 'command:tmux')) return;
  const { host } = await startRegistry(context, withPassword);
  const box = sandbox(context);
  const screen = terminal(context, { env: box.env, columns: 100 });
  // The shell's own editing has modes of its own: a command sees what was left.
  const assertEchoing = async () => {
    screen.type('echo "it is $(stty -a | grep -oE -e "-?\\becho\\b")"');
    assert.equal((await screen.see(/^it is (\S+)$/m))[1], 'echo');
  };
  screen.type(`tsbox login ${host}`);
  await screen.see(/^Username:\s*$/m);
  screen.type('alicf\x7fe');
  await screen.see(/^Password:\s*$/m);
  screen.type('s3cret');
  await screen.see(/^Login Succeeded$/m);
  assert.doesNotMatch(screen.screen(), /s3cret/);
  await assertEchoing();

  // What stands there already must not be taken for the answer.
  const asked = (user: string, question: string) => screen.see(new RegExp(`login -u ${user} \\S+\\s+${question}\\s*$`));
  screen.type(`tsbox login -u bob ${host}`);
  await asked('bob', 'Password:');
  screen.type('wrong');
  await screen.see(/^tsbox: log in to .*: unauthorized: incorrect username or password$/m);

  screen.type(`tsbox login -u carol ${host}`);
  await asked('carol', 'Password:');
  screen.write('half');
  screen.press('C-c');
  await screen.see(/outside\$\s*$/);
  screen.type('echo "status $?"');
  await screen.see(/^status 130$/m);
  await assertEchoing();
  assert.doesNotMatch(screen.screen(), /wrong|half/);

  screen.type(`tsbox login -u dora ${host}`);
  await asked('dora', 'Password:');
  screen.press('Enter');
  await screen.see(/^tsbox: Password Required$/m);
  screen.clear();
  screen.type('tsbox login');
  await screen.see(/^Log in with your Docker ID[\s\S]*^Username:\s*$/m);
  screen.press('Enter');
  await screen.see(/^tsbox: Non-null Username Required$/m);
});
