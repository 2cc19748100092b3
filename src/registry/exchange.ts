/** One HTTP request and its answer over node:http, guarded against servers that do not go on. */
import type { Agent, ClientRequest, IncomingHttpHeaders, IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { networkError, timeoutError } from './network-error.ts';

/** Milliseconds. */
export interface Timeouts {
  /** Until the connection stands: name, TCP, proxy, TLS. */
  connect: number;
  /** Without a byte, while bytes are expected. */
  stall: number;
  /** For the answer to an upload: the registry may have to hash and to store it first. */
  uploaded: number;
}

export interface HttpRequest {
  method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  url: URL;
  headers?: Readonly<Record<string, string>>;
  /** Opened again when the request has to be sent again. Without its size it goes in chunked transfer coding. */
  body?: Buffer | { size?: number; open: () => AsyncIterable<Uint8Array> };
  signal?: AbortSignal | undefined;
}

export interface HttpResponse {
  status: number;
  headers: IncomingHttpHeaders;
  /** Where the answer came from, after redirects. */
  url: URL;
  /** The body, once. Ends the connection when it is left early. @throws ERR_TSBOX_REGISTRY after a cut or a stall */
  chunks(): AsyncGenerator<Buffer, void, undefined>;
  /** Gives the connection back without the body. */
  discard(): void;
}

/** Longer bodies are not worth reading to keep their connection. */
const SMALL = 64 * 1024;

/** Sends one request, follows nothing.
 *  @throws ERR_TSBOX_REGISTRY when no answer comes; the signal's reason when it is aborted; what the body's source throws */
export async function exchange(request: HttpRequest, agent: Agent, timeouts: Timeouts): Promise<HttpResponse> {
  request.signal?.throwIfAborted();
  const { message, outgoing } = await send(request, agent, timeouts).catch((error: unknown) => {
    request.signal?.throwIfAborted();
    throw error instanceof SourceFailure ? error.cause : networkError(request.method, request.url, error);
  });
  // A cut that comes before anybody reads must not end the process; reading reports it.
  message.on('error', () => {});
  return {
    status: message.statusCode ?? 0,
    headers: message.headers,
    url: request.url,
    chunks: () => readChunks(message, request, timeouts.stall),
    discard: () => {
      const length = Number(
        message.headers['content-length'] ?? (message.headers['transfer-encoding'] ? SMALL + 1 : 0),
      );
      if (length <= SMALL && outgoing.writableEnded) message.resume();
      else message.destroy();
    },
  };
}

class SourceFailure extends Error {}

interface Answer {
  message: IncomingMessage;
  outgoing: ClientRequest;
}

function send(request: HttpRequest, agent: Agent, timeouts: Timeouts): Promise<Answer> {
  const { url, method, body, signal } = request;
  const secure = url.protocol === 'https:';
  const { request: open } = secure ? process.getBuiltinModule('node:https') : process.getBuiltinModule('node:http');
  const length = Buffer.isBuffer(body) ? body.length : body?.size;
  const headers = length === undefined ? { ...request.headers } : { ...request.headers, 'content-length': `${length}` };
  return new Promise<Answer>((resolve, reject) => {
    const outgoing = open(url, { method, headers, agent, ...(signal === undefined ? {} : { signal }) });
    let timer: NodeJS.Timeout | undefined;
    let over = false;
    const watch = (milliseconds: number, what: string): void => {
      clearTimeout(timer);
      // The source of a body may end after the answer to it.
      if (over) return;
      timer = setTimeout(() => outgoing.destroy(timeoutError(what, milliseconds)), milliseconds);
    };
    const sent = (): void =>
      body === undefined ? watch(timeouts.stall, 'no answer') : watch(timeouts.uploaded, 'no answer to the upload');
    watch(timeouts.connect, 'no connection');
    outgoing.once('socket', (socket) => whenConnected(socket, secure, () => watch(timeouts.stall, 'no answer')));
    const ended = (): void => {
      over = true;
      clearTimeout(timer);
    };
    outgoing.once('response', (message) => {
      ended();
      resolve({ message, outgoing });
    });
    outgoing.once('close', ended);
    outgoing.on('error', reject);
    if (body === undefined || Buffer.isBuffer(body)) {
      outgoing.once('finish', sent);
      outgoing.end(body);
      return;
    }
    const progress = (): void => watch(timeouts.stall, 'no byte taken');
    pump(outgoing, body.open(), progress).then(sent, (error: unknown) => {
      reject(new SourceFailure('the source of an upload failed', { cause: error }));
      outgoing.destroy();
    });
  });
}

/** A kept connection comes connected; a new one says so later. */
function whenConnected(socket: Socket, secure: boolean, then: () => void): void {
  const handshaken = !secure || (socket as Socket & { getProtocol?: () => string | null }).getProtocol?.() != null;
  if (!socket.connecting && handshaken) then();
  else socket.once(secure ? 'secureConnect' : 'connect', then);
}

/** Writes the body at the pace of the connection, until the end or until the server has answered or gone. */
async function pump(outgoing: ClientRequest, source: AsyncIterable<Uint8Array>, progress: () => void): Promise<void> {
  let over = false;
  const stop = (): void => {
    over = true;
  };
  outgoing.once('response', stop).once('close', stop);
  for await (const chunk of source) {
    if (over) return;
    if (!outgoing.write(chunk)) await drained(outgoing);
    progress();
  }
  if (!over) outgoing.end();
}

function drained(outgoing: ClientRequest): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      for (const event of ['drain', 'close', 'response']) outgoing.removeListener(event, done);
      resolve();
    };
    for (const event of ['drain', 'close', 'response']) outgoing.on(event, done);
  });
}

/** The time-out counts only while we wait for the server: a reader may take as long as it likes with what it has. */
async function* readChunks(
  message: IncomingMessage,
  request: HttpRequest,
  stall: number,
): AsyncGenerator<Buffer, void> {
  let waiting = false;
  const timer = setInterval(() => {
    if (waiting) message.destroy(timeoutError('no byte', stall));
  }, stall);
  const source: AsyncIterator<Buffer> = message[Symbol.asyncIterator]();
  try {
    for (;;) {
      waiting = true;
      timer.refresh();
      const next = await source.next();
      waiting = false;
      if (next.done === true) return;
      yield next.value;
    }
  } catch (error) {
    request.signal?.throwIfAborted();
    throw networkError(request.method, request.url, error);
  } finally {
    clearInterval(timer);
    if (!message.readableEnded) message.destroy();
  }
}
