import assert from 'node:assert/strict';
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { readRegistryConfig } from '../../src/registry/config.ts';
import {
  credentialFiles,
  eraseCredentials,
  findCredentials,
  storeCredentials,
} from '../../src/registry/credentials.ts';
import { isLoopback, mirrorEndpoint, pullEndpoints } from '../../src/registry/endpoint.ts';

const alice = { username: 'alice', password: 'p:ä' };
const encode = (text: string): string => Buffer.from(text).toString('base64');

function directory(context: TestContext): string {
  const made = mkdtempSync(join(tmpdir(), 'tsbox-settings-'));
  context.after(() => rmSync(made, { recursive: true }));
  return made;
}

function configFile(context: TestContext, content: unknown): string {
  const path = join(directory(context), 'config.json');
  writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content));
  return path;
}

test('registries.json: hosts of the later file replace those of the earlier, a missing file is none', (context) => {
  const [system, user] = [directory(context), directory(context)];
  const write = (at: string, registries: object): void =>
    writeFileSync(join(at, 'registries.json'), JSON.stringify({ registries }));
  write(system, { 'docker.io': { mirrors: ['https://one.test'] }, 'a.test:5000': { insecure: true } });
  write(user, { 'docker.io': { mirrors: ['two.test:5000', 'http://three.test'] } });
  const config = readRegistryConfig([system, join(system, 'nothing'), user]);
  assert.deepEqual(config.get('docker.io'), { mirrors: ['two.test:5000', 'http://three.test'], insecure: false });
  assert.deepEqual(config.get('a.test:5000'), { mirrors: [], insecure: true });
});

test('registries.json: a field that does not exist or has another type is named', (context) => {
  const at = directory(context);
  const wrong: [string, RegExp][] = [
    ['{"registries":{"a.test":{"insecur":true}}}', /registries\.json: registries\.a\.test\.insecur: /],
    ['{"registries":{"a.test":{"mirrors":"https://x"}}}', /registries\.a\.test\.mirrors/],
    ['{"mirrors":[]}', /registries|mirrors/],
    ['{', /not JSON/],
  ];
  for (const [text, message] of wrong) {
    writeFileSync(join(at, 'registries.json'), text);
    assert.throws(() => readRegistryConfig([at]), message);
  }
});

test('endpoints: mirrors come before the registry, Docker Hub has its own host, schemes follow trust', () => {
  const config = new Map([
    ['docker.io', { mirrors: ['m.test:5000'], insecure: false }],
    ['m.test:5000', { mirrors: [], insecure: true }],
  ]);
  const show = (domain: string, mirrors: string[] = []) =>
    pullEndpoints(domain, config, mirrors).map(
      ({ host, schemes, mirror }) => `${mirror ? 'mirror ' : ''}${schemes[0]}//${host}`,
    );
  assert.deepEqual(show('docker.io', ['http://c.test', 'localhost:1']), [
    'mirror http://c.test',
    'mirror http://localhost:1',
    'mirror https://m.test:5000',
    'https://registry-1.docker.io',
  ]);
  assert.deepEqual(show('quay.io', ['http://c.test']), ['https://quay.io']);
  assert.deepEqual(show('[::1]:5000'), ['http://[::1]:5000']);
  assert.deepEqual(mirrorEndpoint('m.test:5000', config).schemes, ['https:', 'http:']);
  assert.deepEqual(mirrorEndpoint('https://m.test:5000', config).schemes, ['https:']);
  for (const text of ['', 'http://', 'https://a/b', 'https://a?x', 'https://u@a', 'ftp://a', 'a b']) {
    assert.throws(() => mirrorEndpoint(text, config), /invalid registry mirror/, text);
  }
});

test('endpoints: only names of this machine are loopback', () => {
  for (const host of ['localhost', 'localhost:5000', '127.0.0.1', '127.1.2.3:5000', '[::1]', '[::1]:80']) {
    assert.ok(isLoopback(host), host);
  }
  for (const host of ['localhost.evil.test', '127.0.0.1.evil.test', '128.0.0.1', '[::2]', '127.evil.test:1']) {
    assert.ok(!isLoopback(host), host);
  }
});

test('credentials: every form that Docker wrote is read', async (context) => {
  const file = configFile(context, {
    auths: {
      'https://index.docker.io/v1/': { auth: encode('hub:pw') },
      'a.test:5000': { auth: encode('alice:p:ä') },
      'https://b.test/v2/': { username: 'bob', password: 'x' },
      'c.test': { auth: encode('<token>:'), identitytoken: 'I1' },
      'd.test/organisation': { auth: encode('dora:pw') },
      'e.test': {},
    },
    HttpHeaders: { 'User-Agent': 'x' },
  });
  const find = (domain: string) => findCredentials(domain, [file]);
  assert.deepEqual(await find('docker.io'), { username: 'hub', password: 'pw' });
  assert.deepEqual(await find('a.test:5000'), alice);
  assert.deepEqual(await find('b.test'), { username: 'bob', password: 'x' });
  assert.deepEqual(await find('c.test'), { identityToken: 'I1' });
  for (const domain of ['a.test', 'd.test', 'e.test', 'index.docker.io.evil.test', '__proto__', 'constructor']) {
    assert.equal(await find(domain), undefined, domain);
  }
});

test('credentials: the first file that has some is taken, a missing or empty one has none', async (context) => {
  const empty = configFile(context, '');
  const first = configFile(context, { auths: { 'a.test': { auth: encode('one:1') } } });
  const second = configFile(context, {
    auths: { 'a.test': { auth: encode('two:2') }, 'b.test': { auth: encode('two:2') } },
  });
  const files = ['/nonexistent/config.json', empty, first, second];
  assert.deepEqual(await findCredentials('a.test', files), { username: 'one', password: '1' });
  assert.deepEqual(await findCredentials('b.test', files), { username: 'two', password: '2' });
});

test('credentials: an error about a file does not show what is in it', async (context) => {
  const file = configFile(context, { auths: { 'a.test': { auth: ['c2VjcmV0'] } } });
  await assert.rejects(findCredentials('a.test', [file]), (error) => {
    assert.match(String(error), /auths\.a\.test\.auth: expected string/);
    assert.doesNotMatch(String(error), /c2VjcmV0/);
    return true;
  });
});

test('credentials: login writes a whole file that only its owner reads, and keeps what others wrote', async (context) => {
  const at = join(directory(context), 'deep', 'tsbox');
  const file = join(at, 'config.json');
  assert.deepEqual(await storeCredentials('a.test', alice, [file]), { file, changed: true });
  assert.deepEqual(await storeCredentials('a.test', alice, [file]), { file, changed: false });
  assert.equal(statSync(file).mode & 0o777, 0o600);
  assert.equal(statSync(at).mode & 0o777, 0o700);
  const written = JSON.parse(readFileSync(file, 'utf8'));
  writeFileSync(
    file,
    JSON.stringify({ ...written, detachKeys: 'ctrl-x', auths: { ...written.auths, 'docker.io': {} } }),
  );
  chmodSync(file, 0o644);
  await storeCredentials('docker.io', { identityToken: 'I1' }, [file]);
  assert.equal(statSync(file).mode & 0o777, 0o600);
  assert.deepEqual(JSON.parse(readFileSync(file, 'utf8')), {
    detachKeys: 'ctrl-x',
    auths: {
      'a.test': { auth: encode('alice:p:ä') },
      'https://index.docker.io/v1/': { auth: encode('<token>:'), identitytoken: 'I1' },
    },
  });
  assert.deepEqual(await findCredentials('docker.io', [file]), { identityToken: 'I1' });
  assert.deepEqual(readdirSync(at), ['config.json']);
  assert.equal(await eraseCredentials('docker.io', [file]), true);
  assert.equal(await eraseCredentials('docker.io', [file]), false);
  assert.deepEqual(await findCredentials('a.test', [file]), alice);
});

test('credentials: a file that is a symlink stays one, and a user’s file stays the user’s', async (context) => {
  const at = directory(context);
  const [file, real] = [join(at, 'config.json'), join(at, 'dotfiles')];
  writeFileSync(real, '{"auths":null,"credHelpers":null,"credsStore":null}');
  const mine = process.getuid?.() === 0 ? 12_345 : (process.getuid?.() ?? 0);
  chownSync(real, mine, -1);
  symlinkSync(real, file);
  await storeCredentials('a.test', alice, [file]);
  assert.equal(readlinkSync(file), real);
  assert.equal(statSync(real).uid, mine);
  assert.deepEqual(await findCredentials('a.test', [real]), alice);
});

test('credentials: what somebody else writes before the lock is ours is not lost', async (context) => {
  const file = configFile(context, {});
  const other = { auth: encode('other:1') };
  const locked: string[] = [];
  const exclusively = <T>(path: string, work: () => T): T => {
    locked.push(path);
    writeFileSync(file, JSON.stringify({ auths: { 'other.test': other } }));
    return work();
  };
  await storeCredentials('a.test', alice, [file], exclusively);
  assert.deepEqual(Object.keys(JSON.parse(readFileSync(file, 'utf8')).auths), ['other.test', 'a.test']);
  await eraseCredentials('a.test', [file], exclusively);
  assert.deepEqual(JSON.parse(readFileSync(file, 'utf8')), { auths: { 'other.test': other } });
  assert.deepEqual(locked, [dirname(file), dirname(file)]);
});

test('credentials: the files are chosen by the environment', () => {
  const home = { HOME: '/home/u' };
  assert.deepEqual(credentialFiles(home), ['/home/u/.config/tsbox/config.json', '/home/u/.docker/config.json']);
  assert.deepEqual(credentialFiles({ ...home, XDG_CONFIG_HOME: '/x' })[0], '/x/tsbox/config.json');
  assert.deepEqual(credentialFiles({ ...home, DOCKER_CONFIG: '/d' }), ['/d/config.json']);
  assert.deepEqual(credentialFiles({ ...home, DOCKER_CONFIG: '/d', TSBOX_CONFIG: '/t' }), ['/t/config.json']);
});

test('credentials: a helper keeps the password, and is asked before the file', async (context) => {
  const at = directory(context);
  const kept = join(at, 'kept');
  mkdirSync(kept);
  // One file a server; the input of `store` is JSON, that of the others the server's name.
  const script = `#!/bin/sh
input=$(cat)
case $1 in
store) server=$(printf %s "$input" | sed 's/.*"ServerURL":"\\([^"]*\\)".*/\\1/'); printf %s "$input" > "${kept}/$(printf %s "$server" | tr / _)" ;;
get) cat "${kept}/$(printf %s "$input" | tr / _)" 2>/dev/null || { echo 'credentials not found in native keychain'; exit 1; } ;;
erase) rm "${kept}/$(printf %s "$input" | tr / _)" 2>/dev/null || { echo 'credentials not found in native keychain'; exit 1; } ;;
esac
`;
  writeFileSync(join(at, 'docker-credential-testbox'), script, { mode: 0o755 });
  writeFileSync(join(at, 'docker-credential-broken'), '#!/bin/sh\necho no bus; exit 1\n', { mode: 0o755 });
  const path = process.env['PATH'] ?? '';
  process.env['PATH'] = `${at}${delimiter}${path}`;
  context.after(() => {
    process.env['PATH'] = path;
  });
  const file = configFile(context, {
    credsStore: 'testbox',
    credHelpers: { 'b.test': 'broken', 'c.test': 'absent', 'd.test': '../x' },
  });
  assert.equal(await findCredentials('docker.io', [file]), undefined);
  assert.deepEqual(await storeCredentials('docker.io', alice, [file]), {
    file,
    helper: 'testbox',
    changed: true,
  });
  assert.deepEqual(readdirSync(kept), ['https:__index.docker.io_v1_']);
  assert.doesNotMatch(readFileSync(file, 'utf8'), /alice|p:ä/);
  assert.deepEqual(await findCredentials('docker.io', [file]), alice);
  await storeCredentials('a.test', { identityToken: 'I1' }, [file]);
  assert.deepEqual(await findCredentials('a.test', [file]), { identityToken: 'I1' });
  assert.equal(await eraseCredentials('docker.io', [file]), true);
  assert.equal(await findCredentials('docker.io', [file]), undefined);
  assert.equal(await eraseCredentials('docker.io', [file]), false);
  await assert.rejects(findCredentials('b.test', [file]), /run docker-credential-broken get: no bus/);
  await assert.rejects(findCredentials('c.test', [file]), /run docker-credential-absent: ENOENT/);
  await assert.rejects(findCredentials('d.test', [file]), /invalid credential helper/);
});
