/** What the tests of the layer codec share: scratch directories, hand-made archives, and a look at a tree with other people's tools. */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, lstatSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { type AppliedLayer, type ApplyOptions, applyLayer } from '../../src/layer/apply.ts';
import { checksum } from '../../src/layer/header.ts';
import { encodeHeader, paddingOf, type WrittenEntry } from '../../src/layer/write.ts';

export const asRoot = process.getuid?.() === 0;

/** Where it is there: fast, and it keeps every time and attribute. */
export const MEMORY = existsSync('/dev/shm') ? '/dev/shm' : tmpdir();

/** A directory that is gone after the test. */
export function scratch(t: TestContext, parent = tmpdir()): string {
  const path = mkdtempSync(join(parent, 'tsbox-layer-'));
  t.after(() => {
    if (!asRoot) run('chmod', ['-R', 'u+rwX', path]); // a directory may be read-only
    rmSync(path, { recursive: true, force: true });
  });
  return path;
}

export function run(command: string, args: string[], options: { cwd?: string; input?: Buffer } = {}): Buffer {
  const result = spawnSync(command, args, { maxBuffer: 1 << 30, ...options, env: { ...process.env, LC_ALL: 'C' } });
  const why = `${result.stderr}${result.error ?? ''}`.slice(0, 1000);
  if (result.status !== 0) throw new Error(`${command} ${args.join(' ').slice(0, 300)}: ${why}`);
  return result.stdout;
}

/** The bytes in pieces of `size`. */
export async function* pieces(bytes: Buffer, size = 65536): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

export async function collect(stream: AsyncIterable<Buffer>): Promise<Buffer> {
  const found: Buffer[] = [];
  // A piece may be good until the next is asked for.
  for await (const chunk of stream) found.push(Buffer.from(chunk));
  return Buffer.concat(found);
}

export function sha256(bytes: Buffer): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

/** An entry for {@link archive}: what is not said is an empty file of 0644. */
export type Made = Partial<WrittenEntry> & { name: string; data?: Buffer | string };

export function entryBytes(made: Made): Buffer {
  const data = Buffer.from(made.data ?? '');
  const entry: WrittenEntry = {
    type: made.name.endsWith('/') ? 'directory' : 'file',
    mode: made.name.endsWith('/') ? 0o755 : 0o644,
    uid: process.getuid?.() ?? 0,
    gid: process.getgid?.() ?? 0,
    size: data.length,
    mtime: 1_700_000_000,
    mtimeNsec: 0,
    linkname: '',
    deviceMajor: 0,
    deviceMinor: 0,
    xattrs: undefined,
    ...made,
  };
  return Buffer.concat([encodeHeader(entry), data, paddingOf(data.length)]);
}

/** An archive of these entries, with its end. */
export function archive(...made: Made[]): Buffer {
  return Buffer.concat([...made.map(entryBytes), Buffer.alloc(1024)]);
}

/** Puts `text` into a header and makes its checksum right again. */
export function patch(bytes: Buffer, at: number, offset: number, text: string | Buffer): Buffer {
  const patched = Buffer.from(bytes);
  Buffer.from(text as string, 'latin1').copy(patched, at + offset);
  patched.write(`${checksum(patched, at).toString(8).padStart(6, '0')}\0 `, at + 148, 'latin1');
  return patched;
}

/** A PAX record, whose length counts itself. */
export function paxRecord(key: string, value: Buffer | string): Buffer {
  const body = Buffer.concat([Buffer.from(` ${key}=`, 'latin1'), Buffer.from(value as string), Buffer.from('\n')]);
  let length = body.length + 1;
  while (String(length).length + body.length !== length) length = String(length).length + body.length;
  return Buffer.concat([Buffer.from(String(length)), body]);
}

/** A header of type `flag` with a body: `x` and `g` for PAX records, `L` and `K` for long names. */
export function extendedHeader(flag: string, ...body: (Buffer | string)[]): Buffer {
  const data = Buffer.concat(body.map((part) => Buffer.from(part as string)));
  return patch(entryBytes({ name: 'PaxHeaders/x', data }), 0, 156, flag);
}

/** Unpacks bytes with the options of a layer whose owner is the one who runs the test. */
export function apply(bytes: Buffer, target: string, options: Partial<ApplyOptions> = {}): Promise<AppliedLayer> {
  return applyLayer(pieces(bytes), target, { whiteouts: 'overlay', lchown: asRoot, ...options });
}

/** All below `directory`, by name (bytes as latin1): type, mode, owner, size, time, links, content. Made with Node's calls only. */
export function snapshot(directory: string, options: { directoryTimes?: boolean } = {}): Record<string, string> {
  const found: Record<string, string> = {};
  const inodes = new Map<bigint, string>();
  const visit = (path: Buffer, name: string): void => {
    const stat = lstatSync(path, { bigint: true });
    const parts = [stat.mode.toString(8), `${stat.uid}:${stat.gid}`];
    if (!stat.isDirectory() || options.directoryTimes !== false) parts.push(String(stat.mtimeNs));
    if (stat.isFile()) parts.push(`${stat.size}`, createHash('md5').update(readFileSync(path)).digest('hex'));
    if (stat.isSymbolicLink()) parts.push(readlinkSync(path, { encoding: 'buffer' }).toString('latin1'));
    if (stat.isBlockDevice() || stat.isCharacterDevice()) parts.push(`device ${stat.rdev}`);
    if (!stat.isDirectory() && stat.nlink > 1n) {
      if (!inodes.has(stat.ino)) inodes.set(stat.ino, name);
      parts.push(`links ${stat.nlink} with ${inodes.get(stat.ino)}`);
    }
    found[name] = parts.join(' ');
    if (!stat.isDirectory()) return;
    const names = readdirSync(path, { encoding: 'buffer' }).map((bytes) => bytes.toString('latin1'));
    for (const child of names.sort())
      visit(Buffer.concat([path, Buffer.from(`/${child}`, 'latin1')]), `${name}/${child}`);
  };
  visit(Buffer.from(directory), '.');
  return found;
}

/** Extended attributes of all below `directory`, as getfattr prints them, overlay's own left out. */
export function attributes(directory: string): string {
  const text = run('bash', ['-c', 'find . -print0 | sort -z | xargs -0 getfattr -h -d -m - -e hex --'], {
    cwd: directory,
  });
  const files = text.toString('latin1').split('\n\n');
  const own = files.map((file) => file.split('\n').filter((line) => !/^(trusted|user)\.overlay\./.test(line)));
  return own.flatMap((lines) => (lines.length > 1 ? [...lines, ''] : [])).join('\n');
}
