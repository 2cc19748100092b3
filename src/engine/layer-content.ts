/** A layer's tar, byte for byte as it came. */
import { createHash } from 'node:crypto';
import { TsboxError, wrapError } from '../errors.ts';
import { reassembleLayer } from '../layer/tar-split-read.ts';
import type { LayerRecord } from '../store/layers.ts';

/** The layer's bytes, in large chunks. @param verb what is done with it, for messages: `save`
 *  @throws ERR_TSBOX_DAMAGED when a file of it was changed, which it names; by then most of the bytes have been given */
export async function* layerContent(layer: LayerRecord, verb: string): AsyncGenerator<Buffer> {
  const hash = createHash('sha256');
  try {
    for await (const chunk of reassembleLayer(layer.diffDir, layer.tarSplit)) {
      hash.update(chunk);
      yield chunk;
    }
  } catch (error) {
    throw wrapError(`${verb} layer ${layer.diffId}`, error);
  }
  const found = `sha256:${hash.digest('hex')}`;
  if (found === layer.diffId) return;
  throw new TsboxError('ERR_TSBOX_DAMAGED', `${verb} layer ${layer.diffId}: it has the digest ${found}`);
}
