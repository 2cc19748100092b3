/** Which file system a path is on. */
import { statfsSync } from 'node:fs';

/** @see statfs(2) */
const FILE_SYSTEMS: Readonly<Record<number, string>> = {
  61267: 'ext4',
  1481003842: 'xfs',
  2435016766: 'btrfs',
  16914836: 'tmpfs',
  2035054128: 'overlay',
  26985: 'nfs',
  801189825: 'zfs',
  4076150800: 'f2fs',
  1702057286: 'fuse',
  16914839: '9p',
};

/** Its name, or its magic number in hexadecimal digits. @throws Node's ENOENT and the like; ENOTCONN of a FUSE file system that nobody
 *  serves any more */
export function fileSystemOf(path: string): string {
  const { type } = statfsSync(path);
  return FILE_SYSTEMS[type] ?? `0x${type.toString(16)}`;
}
