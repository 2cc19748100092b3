/** Where `import` gets its tar from: a file, standard input, or the web. */
import { createReadStream } from 'node:fs';
import { TsboxError } from '../errors.ts';
import { configDirectories } from '../registry/config.ts';
import { createTransport } from '../registry/http.ts';
import { createTrust } from '../registry/trust.ts';
import { refusal } from '../store/io.ts';

const TIMEOUTS = { connect: 10_000, stall: 30_000, uploaded: 30_000 };
const CHUNK = 0x40000;

export function isUrl(source: string): boolean {
  return /^https?:\/\//i.test(source);
}

async function* fromFile(path: string): AsyncGenerator<Buffer> {
  try {
    yield* createReadStream(path, { highWaterMark: CHUNK }) as AsyncIterable<Buffer>;
  } catch (error) {
    throw refusal(`open ${path}`, error);
  }
}

async function* fromWeb(address: string, signal: AbortSignal): AsyncGenerator<Buffer> {
  const url = URL.canParse(address) ? new URL(address) : undefined;
  if (url === undefined) throw new TsboxError('ERR_TSBOX_USAGE', `invalid URL ${JSON.stringify(address)}`);
  const transport = createTransport({
    timeouts: TIMEOUTS,
    environment: process.env,
    trust: createTrust(
      configDirectories().map((directory) => `${directory}/certs.d`),
      process.env,
    ),
    insecure: () => false,
    userAgent: 'tsbox',
  });
  try {
    const response = await transport.send({ method: 'GET', url, signal });
    if (response.status !== 200) {
      response.discard();
      throw new TsboxError('ERR_TSBOX_REGISTRY', `fetch ${url.origin}${url.pathname}: HTTP status ${response.status}`);
    }
    const expected = response.headers['content-length'];
    let received = 0;
    for await (const chunk of response.chunks()) {
      received += chunk.length;
      yield chunk;
    }
    if (expected !== undefined && Number(expected) !== received) {
      throw new TsboxError(
        'ERR_TSBOX_REGISTRY',
        `fetch ${url.origin}${url.pathname}: ends after ${received} of ${expected} bytes`,
      );
    }
  } finally {
    transport.close();
  }
}

/** The bytes of a path, of `-` (standard input) or of an http(s) URL. */
export function openSource(source: string, signal: AbortSignal): AsyncIterable<Buffer> {
  if (source === '-') return process.stdin;
  return isUrl(source) ? fromWeb(source, signal) : fromFile(source);
}
