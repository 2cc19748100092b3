/** A layer's tar, byte for byte as it came. */
import { TsboxError, wrapError } from '../errors.ts';
import { reassembleLayer } from '../layer/tar-split-read.ts';
import type { LayerRecord } from '../store/layers.ts';
import { openSha256 } from '../sys/sha256.ts';
import { beside } from './parallel.ts';

/** The layer's bytes, in large chunks, which are good as long as those of `reassembleLayer`.
 *  @param verb what is done with it, for messages: `save`
 *  @throws ERR_TSBOX_DAMAGED when a file of it was changed, which it names; by then most of the bytes have been given */
export async function* layerContent(layer: LayerRecord, verb: string): AsyncGenerator<Buffer> {
  const hash = openSha256();
  // While one chunk is added, the next one is read.
  const adding = beside(hash.add);
  try {
    for await (const chunk of reassembleLayer(layer.diffDir, layer.tarSplit)) {
      await adding.begin(chunk);
      yield chunk;
    }
    await adding.end();
    const found = hash.digest();
    if (found !== layer.diffId) throw new TsboxError('ERR_TSBOX_DAMAGED', `it has the digest ${found}`);
  } catch (error) {
    throw wrapError(`${verb} layer ${layer.diffId}`, error);
  } finally {
    await adding.end().catch(() => {});
    hash.close();
  }
}
