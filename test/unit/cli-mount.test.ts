/** `--mount`, `--tmpfs`, `--volume`: how their values are read. */
import assert from 'node:assert/strict';
import { resolve } from 'node:path';
import test from 'node:test';
import { mountValue } from '../../src/cli/mount-value.ts';
import { volumeValue } from '../../src/cli/volume-flags.ts';
import { parseBind, parseVolumesFrom } from '../../src/engine/binds.ts';
import { mountPoint } from '../../src/engine/mount-spec.ts';
import { tmpfsData, tmpfsOptions } from '../../src/spec/tmpfs-options.ts';

test('--mount: all keys of Docker, their other spellings, and quotes around commas', () => {
  assert.deepEqual(
    mountValue('type=BIND,src=/a,dst=/b,ro,bind-propagation=RSlave,bind-nonrecursive,consistency=Cached'),
    {
      Type: 'bind',
      Source: '/a',
      Target: '/b',
      ReadOnly: true,
      Consistency: 'cached',
      BindOptions: { Propagation: 'rslave', NonRecursive: true },
    },
  );
  const volume =
    'source=v,destination=/b,readonly=false,volume-nocopy=1,volume-label=a=b,volume-label=c,volume-driver=local,"volume-opt=o=size=1m,uid=5",volume-opt=type=tmpfs';
  assert.deepEqual(mountValue(volume), {
    Type: 'volume',
    Source: 'v',
    Target: '/b',
    ReadOnly: false,
    VolumeOptions: {
      NoCopy: true,
      Labels: { a: 'b', c: '' },
      DriverConfig: { Name: 'local', Options: { o: 'size=1m,uid=5', type: 'tmpfs' } },
    },
  });
  assert.deepEqual(mountValue('type=tmpfs,target=/b,tmpfs-size=64m,tmpfs-mode=1770'), {
    Type: 'tmpfs',
    Target: '/b',
    TmpfsOptions: { SizeBytes: 64 * 1024 * 1024, Mode: 0o1770 },
  });
  assert.equal(mountValue('type=bind,"src=/a ""b"", c",dst=/d').Source, '/a "b", c');
  for (const [source, path] of [
    ['./x', 'x'],
    ['.', ''],
    ['../x', '../x'],
    ['.x', '.x'],
  ] as const) {
    assert.equal(mountValue(`type=bind,src=${source},dst=/d`).Source, resolve(path));
  }
});

test('--mount: bind-recursive, and a driver that nobody named', () => {
  const options = (more: string) => mountValue(`type=bind,src=/a,dst=/b${more}`).BindOptions;
  assert.deepEqual(options(',bind-recursive=enabled'), {});
  assert.deepEqual(options(',bind-recursive=disabled'), { NonRecursive: true });
  assert.deepEqual(options(',ro,bind-recursive=readonly,bind-propagation=rprivate'), {
    ReadOnlyForceRecursive: true,
    Propagation: 'rprivate',
  });
  assert.deepEqual(mountValue('src=v,dst=/b,volume-nocopy').VolumeOptions, { NoCopy: true, DriverConfig: {} });
});

for (const [value, message] of [
  ['', 'EOF'],
  ['type=,dst=/x', 'type is required'],
  [
    'type=bind,src=/a,dst=/x,bind-recursive=readonly',
    "option 'bind-recursive=readonly' requires 'readonly' to be specified in conjunction",
  ],
  [
    'type=bind,src=/a,dst=/x,ro,bind-recursive=readonly',
    "option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be specified in conjunction",
  ],
  [
    'type=bind,src=/a,dst=/x,bind-recursive=foo',
    'invalid value for bind-recursive: foo (must be "enabled", "disabled", "writable", or "readonly")',
  ],
  ['type=bind', 'target is required'],
  ['dst=/x,foo', "invalid field 'foo' must be a key=value pair"],
  ['dst=/x,foo=bar', "unexpected key 'foo' in 'foo=bar'"],
  ['dst=/x,constructor=bar', "unexpected key 'constructor' in 'constructor=bar'"],
  ['dst=/x,readonly=maybe', 'invalid value for readonly: maybe'],
  ['dst=/x,bind-propagation=shared', "cannot mix 'bind-*' options with mount type 'volume'"],
  ['type=bind,src=/a,dst=/x,volume-nocopy', "cannot mix 'volume-*' options with mount type 'bind'"],
  ['dst=/x,tmpfs-size=3', "cannot mix 'tmpfs-*' options with mount type 'volume'"],
  ['type=tmpfs,dst=/x,tmpfs-size=foo', 'invalid value for tmpfs-size: foo'],
  ['type=tmpfs,dst=/x,tmpfs-mode=9', 'invalid value for tmpfs-mode: 9'],
] as const) {
  test(`--mount ${JSON.stringify(value)} is refused as by docker`, () => {
    assert.throws(() => mountValue(value), {
      message: `invalid argument ${JSON.stringify(value)} for "--mount" flag: ${message}`,
      exitCode: 125,
    });
  });
}

for (const [spec, message] of [
  [{ Type: 'bind', Target: '/x' }, 'field Source must not be empty'],
  [{ Type: 'bind', Source: 'a', Target: '/x' }, "invalid mount path: 'a' mount path must be absolute"],
  [{ Type: 'bind', Source: '/a', Target: 'x' }, "invalid mount path: 'x' mount path must be absolute"],
  [{ Type: 'bind', Source: '/a', Target: '/x/..' }, "invalid specification: destination can't be '/'"],
  [{ Type: 'bind', Source: '/a', Target: '/x', BindOptions: { Propagation: 'foo' } }, 'invalid propagation mode: foo'],
  [{ Type: 'volume', Target: '/x', ReadOnly: true }, 'must not set ReadOnly mode when using anonymous volumes'],
  [{ Type: 'tmpfs', Source: 'a', Target: '/x' }, 'field Source must not be specified'],
  [{ Type: 'npipe', Target: '/x' }, 'mount type unknown'],
] as const) {
  test(`mounts: ${JSON.stringify(spec)} is refused as by docker`, () => {
    assert.throws(() => mountPoint(spec), { message: `invalid mount config for type "${spec.Type}": ${message}` });
  });
}

test('-v: empty parts are refused, directories of here are made absolute', () => {
  assert.throws(() => volumeValue(''), /invalid empty volume spec/);
  for (const spec of [':/x', 'a:', 'a:/x:']) assert.throws(() => volumeValue(spec), /empty section between colons/);
  assert.equal(volumeValue('./a/b:/x:ro'), `${process.cwd()}/a/b:/x:ro`);
  assert.deepEqual(['../a:/x', '..:/x', '.a:/x'].map(volumeValue), [
    `${resolve('../a')}:/x`,
    `${resolve('..')}:/x`,
    `${resolve('.a')}:/x`,
  ]);
  assert.deepEqual(['a:/x', '~/a:/x', '/x', '..'].map(volumeValue), ['a:/x', '~/a:/x', '/x', '..']);
});

test('-v: a volume by its name, with the modes that it may have', () => {
  const { Type, Name, Driver, Source, Destination, Mode, RW, Propagation, Spec } = parseBind('data:/x/:ro,nocopy,z');
  assert.deepEqual(
    [Type, Name, Driver, Source, Destination, Mode, RW, Propagation],
    ['volume', 'data', 'local', '', '/x', 'ro,nocopy,z', false, ''],
  );
  assert.deepEqual(Spec?.VolumeOptions, { NoCopy: true });
  for (const mode of ['ro,rw', 'z,Z', 'nocopy,nocopy', 'foo']) {
    assert.throws(() => parseBind(`data:/x:${mode}`), new RegExp(`invalid mode: ${mode}`));
  }
});

test('--volumes-from: a mode, but neither propagation nor nocopy', () => {
  assert.deepEqual(parseVolumesFrom('c'), { container: 'c', writable: true });
  assert.deepEqual(parseVolumesFrom('c:ro,z'), { container: 'c', writable: false });
  for (const spec of ['c:foo', 'c:nocopy', 'c:shared']) assert.throws(() => parseVolumesFrom(spec), /invalid mode: /);
  assert.throws(() => parseVolumesFrom(''), /cannot be an empty string/);
});

test('tmpfs: of options that exclude each other the last one holds', () => {
  assert.deepEqual(tmpfsOptions(''), ['noexec', 'nosuid', 'nodev', 'rprivate']);
  assert.deepEqual(tmpfsOptions('exec,size=1m,ro,size=2m,rw'), [
    'nosuid',
    'nodev',
    'rprivate',
    'exec',
    'size=2m',
    'rw',
  ]);
  assert.throws(() => tmpfsOptions('size=1m,foo'), /invalid tmpfs option \["foo"\]/);
  assert.throws(() => tmpfsOptions('a=b'), /invalid tmpfs option \["a" "b"\]/);
  assert.equal(tmpfsData({ ReadOnly: true, TmpfsOptions: { SizeBytes: 5, Mode: 0o700 } }), 'ro,size=5,mode=700');
});
