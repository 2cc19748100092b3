/** Whole bodies in memory, never more than a limit. */
import { TsboxError } from '../errors.ts';
import type { HttpResponse } from './exchange.ts';

/** Reads a body to its end.
 *  @param limit bytes, whatever the length that the server announces
 *  @throws ERR_TSBOX_LIMIT for more; ERR_TSBOX_REGISTRY after a cut */
export async function readBody(response: HttpResponse, limit: number, what: string): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  const tooLarge = (): TsboxError =>
    new TsboxError('ERR_TSBOX_LIMIT', `${what}: ${response.url.host} sends more than ${limit} bytes`);
  if (Number(response.headers['content-length']) > limit) {
    response.discard();
    throw tooLarge();
  }
  for await (const chunk of response.chunks()) {
    size += chunk.length;
    if (size > limit) throw tooLarge();
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, size);
}
