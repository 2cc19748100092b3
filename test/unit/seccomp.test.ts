/** Profiles of system calls: which rules hold for whom, what is refused, and what stands in front of the filter. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { DEFAULT_CAPABILITIES } from '../../src/spec/capabilities.ts';
import { type ProfileRule, resolveProfile, type SeccompProfile } from '../../src/spec/seccomp.ts';
import { DEFAULT_PROFILE } from '../../src/spec/seccomp-default.ts';
import { DEFAULT_PROFILE_DIGEST } from '../../src/spec/seccomp-digest.ts';
import { readSeccompProfile } from '../../src/spec/seccomp-schema.ts';
import { securityOptions } from '../../src/spec/security-options.ts';
import { cachedFilter, keepFilter } from '../../src/store/seccomp-cache.ts';
import type { Store } from '../../src/store/store.ts';
import { unknownSyscalls } from '../../src/sys/seccomp-program.ts';

const FACTS = { arch: 'x64', kernel: 601, capabilities: DEFAULT_CAPABILITIES };
const X86_64 = 0xc000003e;
const X32 = 0x4000003e;
const ERRNO = 0x00050001;
const ALLOW = 0x7fff0000;

const rule = (rest: Partial<ProfileRule>): ProfileRule => ({ names: ['mkdir'], action: 'SCMP_ACT_ALLOW', ...rest });
const holds = (rest: Partial<ProfileRule>, facts = FACTS) =>
  (resolveProfile({ defaultAction: 'SCMP_ACT_ERRNO', syscalls: [rule(rest)] }, facts).syscalls ?? []).length === 1;

test('seccomp: the digest is that of the default profile', () => {
  const bytes = readFileSync(new URL('../../src/spec/seccomp-default.json', import.meta.url));
  assert.equal(createHash('sha256').update(bytes).digest('hex'), DEFAULT_PROFILE_DIGEST);
  assert.deepEqual(readSeccompProfile(bytes.toString()), DEFAULT_PROFILE);
});

test('seccomp: conditions ask for all capabilities, for the architecture and for the kernel', () => {
  assert.ok(holds({ includes: { caps: ['CAP_CHOWN', 'CAP_KILL'] } }));
  assert.ok(!holds({ includes: { caps: ['CAP_CHOWN', 'CAP_SYS_ADMIN'] } }));
  assert.ok(holds({ excludes: { caps: ['CAP_SYS_ADMIN'] } }));
  assert.ok(!holds({ excludes: { caps: ['CAP_SYS_ADMIN', 'CAP_KILL'] } }));
  assert.ok(holds({ includes: { arches: ['amd64', 'x32'] } }));
  assert.ok(!holds({ includes: { arches: ['arm64'] } }));
  assert.ok(holds({ includes: { arches: ['arm64'] } }, { ...FACTS, arch: 'arm64' }));
  assert.ok(holds({ includes: { minKernel: '4.8' } }));
  assert.ok(!holds({ includes: { minKernel: '6.10' } }));
  assert.ok(!holds({ excludes: { minKernel: '4.8' } }));
});

test('seccomp: the default profile allows more to who has the capability for it', () => {
  const allowed = (capabilities: readonly string[]) =>
    new Set(
      resolveProfile(DEFAULT_PROFILE, { ...FACTS, capabilities })
        .syscalls!.filter(({ action, args }) => action === 'SCMP_ACT_ALLOW' && args === undefined)
        .flatMap(({ names }) => names),
    );
  const usual = allowed(DEFAULT_CAPABILITIES);
  for (const name of ['read', 'openat', 'chroot', 'ptrace', 'arch_prctl']) assert.ok(usual.has(name), name);
  for (const name of ['mount', 'unshare', 'setns', 'clone', 'bpf', 'keyctl', 'add_key', 'kexec_load', 'userfaultfd']) {
    assert.ok(!usual.has(name), name);
  }
  assert.ok(allowed([...DEFAULT_CAPABILITIES, 'CAP_SYS_ADMIN']).has('mount'));
  assert.ok(!allowed([]).has('chroot'));
});

test('seccomp: architectures come from the list, or from the map for this host', () => {
  const archMap = [{ architecture: 'SCMP_ARCH_X86_64', subArchitectures: ['SCMP_ARCH_X86'] }];
  const of = (profile: Partial<SeccompProfile>) =>
    resolveProfile({ defaultAction: 'SCMP_ACT_ALLOW', ...profile }, FACTS).architectures;
  assert.deepEqual(of({ archMap }), ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86']);
  assert.deepEqual(of({ architectures: ['SCMP_ARCH_X32'] }), ['SCMP_ARCH_X32']);
  assert.deepEqual(of({}), []);
  assert.throws(() => of({ archMap, architectures: ['SCMP_ARCH_X32'] }), /use either 'architectures' or 'archMap'/);
  assert.throws(() => holds({ name: 'chmod' }), /use either 'name' or 'names'/);
  assert.deepEqual(resolveProfile({ defaultAction: 'x', syscalls: [{ name: 'chmod', action: 'y' }] }, FACTS).syscalls, [
    { action: 'y', names: ['chmod'] },
  ]);
});

test('seccomp: a profile with a wrong type is refused by the name of the field', () => {
  const refused = (text: string, pattern: RegExp) => assert.throws(() => readSeccompProfile(text), pattern);
  refused('{', /^TsboxError: Decoding seccomp profile failed: /);
  refused('[]', /Decoding seccomp profile failed/);
  refused('{}', /defaultAction/);
  refused('{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":"mkdir","action":"x"}]}', /syscalls\.0\.names/);
  const index = '{"defaultAction":"a","syscalls":[{"names":[],"action":"x","args":[{"index":6,"value":0,"op":"y"}]}]}';
  refused(index, /syscalls\.0\.args\.0\.index/);
  refused(index.replace('"index":6,"value":0', '"index":0,"value":1e20'), /syscalls\.0\.args\.0\.value/);
});

/** Runs the instructions in front of a filter as the kernel would. @returns what they return; undefined when the filter goes on */
function runInFront(program: Buffer, number: number, arch: number): number | undefined {
  let accumulator = 0;
  for (let at = 0; at < program.length; ) {
    const [code, value] = [program.readUInt16LE(at), program.readUInt32LE(at + 4)];
    const jump = (isTrue: boolean) => 8 * program.readUInt8(at + (isTrue ? 2 : 3));
    if (code === 0x06) return value;
    if (code === 0x20) accumulator = value === 4 ? arch : number;
    else if (code === 0x15) at += jump(accumulator === value);
    else if (code === 0x25) at += jump(accumulator > value);
    else if (code === 0x35) at += jump(accumulator >= value);
    else throw new Error(`instruction ${code}`);
    at += 8;
  }
  return undefined;
}

test('seccomp: calls that are newer than the profile get ENOSYS, those of every architecture by its own numbers', () => {
  const ENOSYS = 0x00050026;
  const both = unknownSyscalls(
    ERRNO,
    new Map([
      [X86_64, 450],
      [X32, 0x40000230],
      [0x40000003, 460],
    ]),
  );
  assert.equal(runInFront(both, 450, X86_64), undefined);
  assert.equal(runInFront(both, 451, X86_64), ENOSYS);
  assert.equal(runInFront(both, 0x40000230, X86_64), undefined);
  assert.equal(runInFront(both, 0x40000231, X86_64), ENOSYS);
  assert.equal(runInFront(both, 460, 0x40000003), undefined);
  assert.equal(runInFront(both, 461, 0x40000003), ENOSYS);
  assert.equal(runInFront(both, 9999, 0x40000028), undefined, 'an architecture of no rule is the filter’s to refuse');
  const alone = unknownSyscalls(ERRNO, new Map([[X86_64, 450]]));
  assert.equal(runInFront(alone, 0x40000001, X86_64), undefined, 'x32 without rules is the filter’s to refuse');
  assert.equal(runInFront(alone, 451, X86_64), ENOSYS);
  assert.equal(unknownSyscalls(ALLOW, new Map([[X86_64, 450]])).length, 0);
});

test('seccomp: a filter in the cache that is not what was written is not used', (t) => {
  const dataRoot = mkdtempSync(join(tmpdir(), 'tsb-seccomp-'));
  t.after(() => rmSync(dataRoot, { recursive: true }));
  const store = { dataRoot } as Store;
  const program = Buffer.from('0600000000000000'.repeat(100), 'hex');
  assert.equal(cachedFilter(store, 'key'), undefined);
  keepFilter(store, 'key', { program, flags: 2 });
  assert.deepEqual(readdirSync(`${dataRoot}/seccomp`), ['key']);
  const found = cachedFilter(store, 'key');
  assert.deepEqual([found?.program, found?.flags], [program, 2]);
  const path = `${dataRoot}/seccomp/key`;
  const whole = readFileSync(path);
  const damaged = [
    Buffer.alloc(0),
    whole.subarray(0, whole.length - 8),
    Buffer.concat([whole, Buffer.alloc(8)]),
    Buffer.from(whole.toString('latin1').replace(' key 2 ', ' key 0 '), 'latin1'),
    ...[3, 20, whole.indexOf(10) + 1, whole.length - 1].map((at) => {
      const copy = Buffer.from(whole);
      copy.writeUInt8(copy.readUInt8(at) ^ 1, at);
      return copy;
    }),
  ];
  for (const [index, bytes] of damaged.entries()) {
    writeFileSync(path, bytes);
    assert.equal(cachedFilter(store, 'key'), undefined, `damage ${index}`);
  }
  writeFileSync(`${dataRoot}/seccomp/other`, whole);
  assert.equal(cachedFilter(store, 'other'), undefined, 'the filter of another container');
});

test('security options: as Docker reads them, in both spellings', () => {
  assert.deepEqual(securityOptions([]), { noNewPrivileges: false, seccomp: 'default', labels: [] });
  for (const on of ['no-new-privileges', 'no-new-privileges=true', 'no-new-privileges:true', 'no-new-privileges=1']) {
    assert.equal(securityOptions([on]).noNewPrivileges, true, on);
  }
  assert.equal(securityOptions(['no-new-privileges:false']).noNewPrivileges, false);
  assert.equal(securityOptions(['seccomp:unconfined']).seccomp, 'unconfined');
  assert.equal(securityOptions(['seccomp={"a":"b:c=d"}']).seccomp, '{"a":"b:c=d"}');
  assert.deepEqual(securityOptions(['label=disable', 'label:type:x', 'apparmor=y']).labels, ['disable', 'type:x']);
  assert.throws(() => securityOptions(['nope']), /invalid --security-opt 1: "nope"/);
  assert.throws(() => securityOptions(['nope=1']), /invalid --security-opt 2: "nope=1"/);
  assert.throws(() => securityOptions(['no-new-privileges=maybe']), /invalid --security-opt 2/);
});
