/** Real layers, small, of every kind of writer: what the fuzz tests start from. */
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { create } from 'tar';
import { archive, asRoot, entryBytes, extendedHeader, patch, paxRecord, run } from './layer-support.ts';

const FIXTURE = join(import.meta.dirname, '../../rootfs-fixtures/build/layers.tar');

/** A tree with everything that a layer can have. */
const TREE = `mkdir -p d/e/deep many; echo data > d/f; ln d/f d/link; ln -s f d/s; ln -s /etc/passwd d/e/abs; : > d/empty
  truncate -s 100K d/hole; echo x >> d/hole; echo y | dd of=d/hole bs=1 seek=40000 conv=notrunc status=none
  chmod 4755 d/f; chmod 1777 d/e; chmod 500 d/e/deep; touch -d @1000000000.123456789 d/f d/e d/s
  seq 300 > d/numbers; setfattr -n user.x -v 0x00ff0a3d d/f || true; setfattr -n user.dir -v y d/e || true
  setfacl -m u:54321:rwx,d:u:5:r d/e || true; touch -h -d @1600000000 d d/link d/s d/e/* d/hole d/numbers`;
const LONG = `echo long > d/e/$(printf 'n%.0s' {1..150}); ln -s $(printf 'l%.0s' {1..150}) d/longlink; mkfifo d/fifo; printf x > $'d/\\xff\\xe9'; touch -d @-5 d/empty
  touch -h -d @1600000000 d d/e d/e/* d/longlink d/fifo`;
const DEVICES =
  'mknod d/null c 1 3; mknod d/disk b 259 7; chown -h 3000000:4 d/s; touch -d @1600000000 d d/null d/disk';
const MANY =
  'for i in {1..80}; do mkdir -p many/$i; echo $i > many/$i/f; done; ln many/1/f many/80/link; find many -exec touch -d @1600000000 {} +';

/** What GNU tar and the `tar` package make of a tree in `root`, which is removed. */
function packed(root: string): Buffer[] {
  run('bash', ['-c', TREE], { cwd: root });
  const pack = (...args: string[]): Buffer => run('tar', ['-b1', '-cf', '-', ...args, './d'], { cwd: root });
  const plain = [pack('--format=v7'), pack('--format=ustar')];
  const file = join(root, 'package.tar');
  create({ sync: true, file, cwd: root, portable: true }, ['d']);
  const byPackage = readFileSync(file);
  run('bash', ['-c', asRoot ? `${LONG}; ${DEVICES}` : LONG], { cwd: root });
  const rich = [
    pack('--format=oldgnu', '-S'),
    pack('--format=gnu', '-S', '--sort=name'),
    ...['0.0', '0.1', '1.0'].map((version) => pack('--format=pax', '-S', `--sparse-version=${version}`)),
    pack('--format=pax', '--xattrs', '--xattrs-include=*', '--acls', '--numeric-owner'),
    pack('--format=pax', '--pax-option=globexthdr.name=g,comment=c,uid=7'),
  ];
  run('bash', ['-c', MANY], { cwd: root });
  const many = run('tar', ['-b1', '--sort=name', '--no-recursion', '-cf', '-', '-T', '-'], {
    cwd: root,
    input: run('find', ['many', '-type', 'f'], { cwd: root }),
  });
  rmSync(root, { recursive: true });
  return [...plain, byPackage, ...rich, many];
}

/** Written by hand: as dockerd, kaniko, libarchive and star do, and what leads out. */
function written(canary: string): Buffer[] {
  const xattrs = new Map([['security.capability', Buffer.from('0100000200200000000000000000000000000000', 'hex')]]);
  const docker = archive(
    { name: 'lower/d/' },
    { name: 'lower/d/.wh..wh..opq' },
    { name: 'lower/.wh.f' },
    { name: '.wh.gone' },
    { name: 'd/', mode: 0o700 },
    { name: 'd/f', data: 'x'.repeat(700), xattrs },
    { name: 's', type: 'symlink', linkname: '../../canary' },
    { name: 'h', type: 'link', linkname: 'd/f' },
    { name: 'below', type: 'link', linkname: 'lower/s' },
    { name: 'early', type: 'link', linkname: 'd/late' },
    { name: 'd/late', data: 'late', mtimeNsec: 5 },
    { name: 'd/f', data: 'again' },
  );
  const kaniko = archive(
    { name: '/', type: 'directory' },
    { name: 'usr/bin/', mode: 0o755 },
    { name: 'usr/bin/perl', data: 'perl' },
    { name: 'usr/bin/perl5', type: 'link', linkname: '/usr/bin/perl' },
  );
  const libarchive = Buffer.concat([
    extendedHeader(
      'x',
      paxRecord('LIBARCHIVE.creationtime', '1.5'),
      paxRecord('SCHILY.dev', '5'),
      paxRecord('mtime', '1.5'),
    ),
    entryBytes({ name: 'd/' }),
    extendedHeader('x', paxRecord('LIBARCHIVE.xattr.user.y', 'AAAB'), paxRecord('SCHILY.xattr.user.y', 'x')),
    entryBytes({ name: 'd/f', data: 'libarchive' }),
    extendedHeader('x', paxRecord('SCHILY.acl.access', 'user::rwx,user:5:r-x,group::r-x,mask::r-x,other::r-x')),
    patch(entryBytes({ name: 'd/g', data: 'star' }), 0, 508, 'tar\0'),
    Buffer.alloc(1024),
  ]);
  const link = (name: string, linkname: string) => ({ name, type: 'symlink', linkname }) as const;
  const traps = archive(
    { name: 'd/' },
    { name: 'd/f', data: 'file' },
    { name: 'd/s/x', data: 'x' },
    link('trap', '../canary'),
    link('abs', canary),
    link('up', '..'),
    link('magic', '/proc/self/cwd'),
    link('loop', 'loop'),
    { name: 'x', data: 'x'.repeat(2000) },
    { name: 'trapped', type: 'link', linkname: 'trap' },
  );
  return [docker, kaniko, libarchive, traps];
}

/** The two small layers of the fixture image, when it was built. */
function fixtures(): Buffer[] {
  if (!existsSync(FIXTURE)) return [];
  const [manifest] = JSON.parse(run('tar', ['-xOf', FIXTURE, 'manifest.json']).toString()) as { Layers: string[] }[];
  const layers = manifest!.Layers.map((name) => run('tar', ['-xOf', FIXTURE, name]));
  return layers.filter((layer) => layer.length < 50_000);
}

/** @param work a directory that may be made and is gone afterwards @param canary what traps lead to */
export function layerSeeds(work: string, canary: string): Buffer[] {
  mkdirSync(work);
  return [...packed(work), ...written(canary), ...fixtures()];
}
