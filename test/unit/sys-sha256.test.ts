import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { openSha256 } from '../../src/sys/sha256.ts';

test('a digest on another thread is the one of node:crypto, for pieces of all lengths and several at once', async () => {
  await Promise.all(
    [0, 1, 63, 64, 65, 100_000, 1_000_000].map(async (length) => {
      const bytes = randomBytes(length);
      const hash = openSha256();
      for (let at = 0; at < length; at += 40_001) await hash.add(bytes.subarray(at, at + 40_001));
      const found = hash.digest();
      hash.close();
      assert.equal(found, `sha256:${createHash('sha256').update(bytes).digest('hex')}`);
    }),
  );
});
