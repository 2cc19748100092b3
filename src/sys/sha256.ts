/** SHA-256 on another thread, for bytes whose thread has enough to do: OpenSSL, as Node brings it. @see EVP_DigestInit(3) */
import { bind, bindSlow, check } from './ffi.ts';

export interface Sha256 {
  /** OpenSSL's, for functions in C. */
  readonly context: number;
  /** Adds bytes on this thread. */
  addHere(bytes: Buffer): void;
  /** Adds bytes, which may not change until it is fulfilled. One call at a time. */
  add(bytes: Buffer): Promise<void>;
  /** `sha256:...` of all that was added; the last call but for `close`. */
  digest(): string;
  /** Not while bytes are added. */
  close(): void;
}

const newContext = bind('int64_t', 'EVP_MD_CTX_new', []);
const sha256 = bind('int64_t', 'EVP_sha256', []);
const init = bind('int', 'EVP_DigestInit_ex', ['int64_t', 'int64_t', 'int64_t']);
const updateHere = bind('int', 'EVP_DigestUpdate', ['int64_t', 'const void *', 'size_t']);
const update = bindSlow('int', 'EVP_DigestUpdate', ['int64_t', 'const void *', 'size_t']);
const final = bind('int', 'EVP_DigestFinal_ex', ['int64_t', 'void *', 'int64_t']);
const digestOnce = bind('int', 'EVP_Digest', ['const void *', 'size_t', 'void *', 'void *', 'int64_t', 'int64_t']);
const free = bind('void', 'EVP_MD_CTX_free', ['int64_t']);

/** @throws SyscallError without memory for it */
export function openSha256(): Sha256 {
  const context = newContext();
  if (context === 0) check(-1, 'EVP_MD_CTX_new', () => 'begin a digest');
  const must = (result: number): void => {
    if (result !== 1) throw new Error('OpenSSL refuses SHA-256');
  };
  must(init(context, sha256(), 0));
  return {
    context,
    addHere: (bytes) => must(updateHere(context, bytes, bytes.length)),
    async add(bytes) {
      must(await update('add to a digest', context, bytes, bytes.length));
    },
    digest() {
      const result = Buffer.alloc(32);
      must(final(context, result, 0));
      return `sha256:${result.toString('hex')}`;
    },
    close: () => void free(context),
  };
}

/** The 64 digits for a few bytes, at once. Costs less than loading `node:crypto`. */
export function sha256Hex(bytes: Buffer): string {
  const result = Buffer.alloc(32);
  if (digestOnce(bytes, bytes.length, result, null, sha256(), 0) !== 1) throw new Error('OpenSSL refuses SHA-256');
  return result.toString('hex');
}
