import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { TsboxError } from '../../src/errors.ts';
import { parseUntrustedJson } from '../../src/spec/json.ts';
import { parseImageConfig, parseImageIndex, parseImageManifest } from '../../src/spec/oci-image-schema.ts';
import {
  defaultPlatform,
  formatPlatform,
  type Platform,
  parsePlatform,
  platformMatches,
  selectPlatform,
} from '../../src/spec/platform.ts';

const DIGEST = `sha256:${'ab'.repeat(32)}`;
const descriptor = { mediaType: 'application/x', digest: DIGEST, size: 1 };
const manifest = { schemaVersion: 2, config: descriptor, layers: [descriptor] };
const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));

function damaged(run: () => unknown, message: RegExp): void {
  assert.throws(run, (error) => {
    assert.ok(error instanceof TsboxError, String(error));
    assert.equal(error.code, 'ERR_TSBOX_DAMAGED');
    assert.match(error.message, message);
    return true;
  });
}

test('image: unknown fields of a manifest are kept', () => {
  const read = parseImageManifest(
    json({ ...manifest, subject: { a: 1 }, layers: [{ ...descriptor, x: [1] }] }),
    'read',
  );
  assert.deepEqual((read as unknown as Record<string, unknown>)['subject'], { a: 1 });
  assert.deepEqual((read.layers[0] as unknown as Record<string, unknown>)['x'], [1]);
});

test('image: a wrong type in a manifest is refused by its path', () => {
  const wrong = (value: object, message: RegExp): void =>
    damaged(() => parseImageManifest(json({ ...manifest, ...value }), 'read manifest m'), message);
  wrong({ layers: [descriptor, { ...descriptor, size: '1' }] }, /^read manifest m: layers\[1\]\.size: expected number/);
  wrong({ config: { ...descriptor, size: -1 } }, /^read manifest m: config\.size: expected >=0/);
  wrong({ config: { ...descriptor, size: 2 ** 63 } }, /config\.size/);
  wrong({ config: { ...descriptor, size: 1.5 } }, /config\.size/);
  wrong({ config: { ...descriptor, digest: 'sha256:../../etc' } }, /config\.digest: invalid digest/);
  wrong({ config: { ...descriptor, mediaType: '' } }, /config\.mediaType: empty media type/);
  wrong({ config: null }, /config: expected Object but received null/);
  wrong({ schemaVersion: 1 }, /schemaVersion: expected 2 but received 1/);
  wrong({ layers: undefined }, /layers: missing/);
  wrong({ manifests: [] }, /both an index and a manifest/);
  for (const value of [null, 3, 'x', true]) damaged(() => parseImageManifest(json(value), 'read'), /expected Object/);
});

test('image: null stands for an empty list, as Go writes it', () => {
  assert.deepEqual(parseImageManifest(json({ ...manifest, layers: null }), 'read').layers, []);
  const config = parseImageConfig(
    json({
      architecture: 'amd64',
      os: 'linux',
      config: { Cmd: null, Entrypoint: null, Env: null, Labels: null, Volumes: null, OnBuild: null, Healthcheck: null },
      rootfs: { type: 'layers', diff_ids: null },
      history: null,
    }),
    'read',
  );
  assert.equal(config.config?.Cmd, null);
  assert.deepEqual(config.rootfs.diff_ids, []);
});

test('image: a config with a command as one string is read as Docker reads it', () => {
  const config = parseImageConfig(json({ config: { Cmd: 'sh' }, rootfs: { type: 'layers', diff_ids: [] } }), 'read');
  assert.deepEqual(config.config?.Cmd, ['sh']);
  damaged(
    () => parseImageConfig(json({ config: { Env: ['A=1', 2] }, rootfs: { type: 'layers', diff_ids: [] } }), 'read c'),
    /^read c: config\.Env\[1\]: expected string but received 2/,
  );
});

test('image: __proto__ in JSON changes no prototype and no answer', () => {
  const bytes = Buffer.from(
    `{"schemaVersion":2,"__proto__":{"polluted":1},"config":${JSON.stringify(descriptor)},"layers":[],
      "annotations":{"\\u005f_proto__":"x","a":"b"}}`,
  );
  const read = parseImageManifest(bytes, 'read') as unknown as Record<string, unknown>;
  assert.equal(read['polluted'], undefined);
  assert.equal(Object.getPrototypeOf(read), Object.prototype);
  assert.deepEqual(read['annotations'], { a: 'b' });
  assert.equal(({} as Record<string, unknown>)['polluted'], undefined);
  damaged(
    () => parseImageManifest(Buffer.from(`{"__proto__":${JSON.stringify(manifest)}}`), 'read'),
    /schemaVersion: missing/,
  );
});

test('image: what is no JSON is named: HTML, rubbish, broken UTF-8, a tower of brackets', () => {
  damaged(() => parseUntrustedJson(Buffer.from('<!DOCTYPE html><html>'), 'read m'), /^read m: HTML where JSON was/);
  damaged(() => parseUntrustedJson(Buffer.from('{"a":'), 'read m'), /^read m: not JSON/);
  damaged(() => parseUntrustedJson(Buffer.from('{"a":"\xff"}', 'latin1'), 'read m'), /^read m: not UTF-8/);
  damaged(
    () => parseUntrustedJson(Buffer.from('['.repeat(500_000) + ']'.repeat(500_000)), 'read m'),
    /^read m: (JSON with more than 100 levels|not JSON)/,
  );
});

test('image: an index that is a manifest as well is refused', () => {
  const entry = { ...descriptor, platform: { os: 'linux', architecture: 'amd64' } };
  assert.equal(parseImageIndex(json({ schemaVersion: 2, manifests: [entry] }), 'read').manifests.length, 1);
  damaged(() => parseImageIndex(json({ ...manifest, manifests: [entry] }), 'read'), /both an index and a manifest/);
  damaged(
    () => parseImageIndex(json({ schemaVersion: 2, manifests: [{ ...entry, platform: { os: 1 } }] }), 'read'),
    /manifests\[0\]\.platform\./,
  );
});

test('platform: every spelling is read to one form', () => {
  const forms: [string, string][] = [
    ['linux/amd64', 'linux/amd64'],
    ['linux/x86_64', 'linux/amd64'],
    ['Linux/AMD64', 'linux/amd64'],
    ['linux/amd64/v1', 'linux/amd64'],
    ['linux/amd64/v3', 'linux/amd64/v3'],
    ['linux/arm64/v8', 'linux/arm64'],
    ['linux/aarch64', 'linux/arm64'],
    ['linux/arm', 'linux/arm/v7'],
    ['linux/arm/6', 'linux/arm/v6'],
    ['linux/armhf', 'linux/arm/v7'],
    ['arm64', 'linux/arm64'],
    ['i386', 'linux/386'],
    ['windows/amd64', 'windows/amd64'],
  ];
  for (const [text, normal] of forms) assert.equal(formatPlatform(parsePlatform(text)), normal, text);
  for (const text of ['', '/', 'linux/', 'a/b/c/d', 'linux/amd64/', 'linux/..;/x']) {
    assert.throws(() => parsePlatform(text), TsboxError, text);
  }
  assert.deepEqual(parsePlatform('linux'), defaultPlatform());
});

test('platform: the default is the one of the machine', () => {
  const machine = spawnSync('uname', ['-m'], { encoding: 'utf8' }).stdout.trim();
  assert.deepEqual(defaultPlatform(), parsePlatform(`linux/${machine}`));
  assert.equal(defaultPlatform('ppc64').architecture, 'ppc64le');
  assert.equal(defaultPlatform('__proto__').architecture, '__proto__');
});

test('platform: the best entry of an index is taken, attestations never', () => {
  const entry = (text: string) => {
    const [os = '', architecture = '', variant] = text.split('/');
    return { text, platform: variant === undefined ? { os, architecture } : { os, architecture, variant } };
  };
  const pick = (wanted: string, ...offered: string[]) =>
    selectPlatform<{ text: string; platform?: Platform }>(
      [{ text: 'none' }, ...offered.map(entry)],
      parsePlatform(wanted),
    )?.text;
  const all = ['unknown/unknown', 'linux/386', 'linux/arm/v5', 'linux/arm/v7', 'linux/arm64/v8', 'linux/amd64'];
  assert.equal(pick('linux/amd64', ...all), 'linux/amd64');
  assert.equal(pick('linux/arm64', ...all), 'linux/arm64/v8');
  assert.equal(pick('linux/arm/v6', ...all), 'linux/arm/v5');
  assert.equal(pick('linux/arm', ...all), 'linux/arm/v7');
  assert.equal(pick('linux/amd64', 'linux/amd64/v3', 'linux/amd64'), 'linux/amd64');
  assert.equal(pick('linux/amd64/v4', 'linux/amd64', 'linux/amd64/v3'), 'linux/amd64/v3');
  assert.equal(pick('linux/amd64', 'linux/amd64/v2'), undefined);
  assert.equal(pick('linux/s390x', ...all), undefined);
  assert.equal(pick('linux/amd64', 'windows/amd64'), undefined);
  assert.ok(platformMatches(parsePlatform('linux/arm64'), { os: 'linux', architecture: 'arm64', variant: 'v8' }));
});
