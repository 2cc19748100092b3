/** Layers as a user unpacks them who is not root: what cannot be is left out and said, or refused with a word on why. */
import assert from 'node:assert/strict';
import { lstatSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { requires } from '../requires.ts';
import { archive, asRoot, type Made, run, scratch } from './layer-support.ts';

interface Outcome {
  uid: number;
  notices?: string[];
  code?: string;
  message?: string;
  hint?: string;
  same?: boolean;
  /** What it packs as again, in base64. */
  packed?: string;
}

const PROGRAM = `
  import { createReadStream, readFileSync } from 'node:fs';
  import { applyLayer } from '${join(import.meta.dirname, '../../src/layer/apply.ts')}';
  import { diffLayer } from '${join(import.meta.dirname, '../../src/layer/diff.ts')}';
  import { reassembleLayer } from '${join(import.meta.dirname, '../../src/layer/tar-split-read.ts')}';
  const [root] = process.argv.slice(1);
  const whiteouts = 'overlay-user';
  const collect = async (chunks) => Buffer.concat(await Array.fromAsync(chunks));
  const say = (found) => console.log(JSON.stringify({ uid: process.geteuid(), ...found }));
  try {
    const options = { whiteouts, lchown: false, tarSplit: root + '/split', lowers: [root + '/lower'] };
    const { notices } = await applyLayer(createReadStream(root + '/layer.tar'), root + '/layer', options);
    const same = (await collect(reassembleLayer(root + '/layer', root + '/split'))).equals(readFileSync(root + '/layer.tar'));
    say({ notices, same, packed: (await collect(diffLayer(root + '/layer', { whiteouts }))).toString('base64') });
  } catch ({ code, message, hint }) {
    say({ code, message, hint });
  }`;

/** Unpacks as a user without any capability, who owns the directory. */
function asUser(t: TestContext, entries: Made[]): Outcome & { layer: string; names: string[] } {
  const root = scratch(t);
  for (const name of ['layer', 'lower']) mkdirSync(join(root, name));
  writeFileSync(join(root, 'lower/below'), 'below', { mode: 0o640 });
  writeFileSync(join(root, 'layer.tar'), archive(...entries));
  const program = [process.execPath, '--input-type=module', '-e', PROGRAM, root];
  // In a user namespace that maps nobody else, root is the owner and no more.
  const command = asRoot ? ['unshare', '-U', '--map-user=1000', '--map-group=1000', ...program] : program;
  const outcome = JSON.parse(run(command[0]!, command.slice(1)).toString()) as Outcome;
  assert.notEqual(outcome.uid, 0);
  const packed = Buffer.from(outcome.packed ?? '', 'base64');
  const names = packed.length === 0 ? '' : run('tar', ['-tf', '-'], { input: packed }).toString();
  return { ...outcome, names: names.trim().split('\n').sort(), layer: join(root, 'layer') };
}

test('ordinary user: everything belongs to the caller, permissions and times are kept', (t) => {
  if (!requires(t, 'userns')) return;
  const owner = { uid: 1234, gid: 4321 };
  const { same, notices, layer, names } = asUser(t, [
    { name: 'd/', mode: 0o555, ...owner, mtime: 1_000_000_000 },
    { name: 'd/locked/', mode: 0o500, ...owner },
    { name: 'd/locked/f', data: 'f', mode: 0o4750, ...owner, mtimeNsec: 7 },
    { name: 'd/locked/link', type: 'link', linkname: 'd/locked/f' },
    { name: 's', type: 'symlink', linkname: 'd', ...owner },
    { name: 'p', type: 'fifo', mode: 0o604, ...owner },
    { name: 'copied', type: 'link', linkname: 'below' },
    { name: '.wh.gone' },
    { name: 'o/', mode: 0o700 },
    { name: 'o/.wh..wh..opq' },
  ]);
  assert.deepEqual([same, notices], [true, []]);
  const file = lstatSync(join(layer, 'd/locked/f'), { bigint: true });
  assert.equal(file.mode & 0o7777n, 0o4750n);
  assert.equal(file.uid, BigInt(process.getuid!()));
  assert.equal(file.mtimeNs, 1_700_000_000_000_000_007n);
  assert.equal(lstatSync(join(layer, 'd/locked')).mode & 0o7777, 0o500);
  assert.equal(lstatSync(join(layer, 'd')).mtimeMs, 1e12);
  assert.equal(lstatSync(join(layer, 'p')).mode & 0o7777, 0o604);
  assert.equal(readFileSync(join(layer, 'copied'), 'utf8'), 'below');
  const marked = [
    '.wh.gone',
    'below',
    'copied',
    'd/',
    'd/locked/',
    'd/locked/f',
    'd/locked/link',
    'o/',
    'o/.wh..wh..opq',
    'p',
    's',
  ];
  assert.deepEqual(names, marked);
});

test('ordinary user: attributes of root are left out, and said', (t) => {
  if (!requires(t, 'userns')) return;
  const xattrs = new Map([
    ['security.capability', Buffer.from('0100000200200000000000000000000000000000', 'hex')],
    ['trusted.x', Buffer.from('t')],
    ['user.x', Buffer.from('u')],
  ]);
  const { same, notices, layer } = asUser(t, [
    { name: 'd/', xattrs },
    { name: 'd/f', data: 'x', xattrs },
  ]);
  assert.equal(same, true);
  assert.deepEqual(notices, [
    'left out of 2 entries: attribute security.capability: not permitted',
    'left out of 2 entries: attribute trusted.x: not permitted',
  ]);
  assert.match(run('getfattr', ['-d', '--absolute-names', join(layer, 'd/f')]).toString(), /user\.x="u"/);
});

test('ordinary user: devices are refused, with a word on why; a whiteout is none', (t) => {
  if (!requires(t, 'userns')) return;
  for (const type of ['char', 'block'] as const) {
    const refused = asUser(t, [{ name: 'dev/sda', type, deviceMajor: 8, deviceMinor: 0 }]);
    assert.equal(refused.code, 'ERR_TSBOX_UNSUPPORTED');
    assert.match(refused.message!, /tar entry "dev\/sda": mknod sda: EPERM/);
    assert.match(refused.hint!, /root/);
  }
  assert.equal(asUser(t, [{ name: 'white', type: 'char', deviceMajor: 0, deviceMinor: 0 }]).same, true);
});

test('ordinary user: a directory is only closed to the owner once everything is in it', (t) => {
  if (!requires(t, 'userns')) return;
  const { code, message, layer } = asUser(t, [
    { name: 'late/deep/f', data: 'f' },
    { name: 'late/deep/', mode: 0 },
    { name: 'late/', mode: 0 },
    { name: './', mode: 0o500, type: 'directory' },
  ]);
  // It cannot be read again, and the error names what and why.
  assert.equal(code, 'ERR_TSBOX_SYSCALL');
  assert.match(message!, /late\/deep\/f: EACCES/);
  assert.equal(lstatSync(join(layer, 'late')).mode & 0o777, 0);
  assert.equal(lstatSync(layer).mode & 0o777, 0o500);
});
