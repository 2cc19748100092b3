/** errno numbers as the union gives them: negative. */
import { errnoNumber } from '../spec/errno.ts';

const refusal = (name: string): number => -errnoNumber(name);

export const E = {
  PERM: refusal('EPERM'),
  NOENT: refusal('ENOENT'),
  INTR: refusal('EINTR'),
  IO: refusal('EIO'),
  BADF: refusal('EBADF'),
  AGAIN: refusal('EAGAIN'),
  ACCES: refusal('EACCES'),
  EXIST: refusal('EEXIST'),
  XDEV: refusal('EXDEV'),
  NODEV: refusal('ENODEV'),
  NOTDIR: refusal('ENOTDIR'),
  ISDIR: refusal('EISDIR'),
  INVAL: refusal('EINVAL'),
  MFILE: refusal('EMFILE'),
  NFILE: refusal('ENFILE'),
  NOTTY: refusal('ENOTTY'),
  TXTBSY: refusal('ETXTBSY'),
  FBIG: refusal('EFBIG'),
  ROFS: refusal('EROFS'),
  MLINK: refusal('EMLINK'),
  RANGE: refusal('ERANGE'),
  NOSYS: refusal('ENOSYS'),
  NOTEMPTY: refusal('ENOTEMPTY'),
  NODATA: refusal('ENODATA'),
  NOSPC: refusal('ENOSPC'),
  OVERFLOW: refusal('EOVERFLOW'),
  STALE: refusal('ESTALE'),
  NOTSUP: refusal('EOPNOTSUPP'),
} as const;
