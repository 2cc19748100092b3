/** A client's connection to a monitor. @see docs/monitor.md */
import { closeSync, openSync } from 'node:fs';
import type { Socket } from 'node:net';
import { TsboxError } from '../errors.ts';
import { connectUnix, duplicate } from '../sys/socket.ts';
import { encodeFrame, FROM_MONITOR, frameReader, TO_MONITOR } from './frames.ts';

export type StreamName = 'stdout' | 'stderr';

export interface ExitStatus {
  /** 128+n when killed by signal n. */
  code: number;
}

export interface FailedStep {
  list: number;
  index: number;
  errno: number;
  detail?: string;
}

export interface StepDone {
  list: number;
  index: number;
  errno: number;
  ns: number;
}

export interface Handlers {
  started?(pid: number): void;
  failed?(step: FailedStep): void;
  step?(step: StepDone): void;
  /** The connection is over, with or without an exit status. */
  closed?(status: ExitStatus | undefined): void;
}

/** What a caller does with a connection; see engine/api.ts `Session` for the words. */
export interface MonitorClient {
  output(write: (stream: StreamName, data: Buffer) => boolean): void;
  resume(): void;
  stdin(data: Buffer): boolean;
  onDrained(callback: () => void): void;
  closeStdin(): void;
  resize(size: { rows: number; columns: number }): void;
  /** What this client is to the container: one that wants no standard input leaves it open when it goes. */
  want(wanted: { output: boolean; stdin: boolean }): void;
  go(): void;
  detach(): void;
  readonly exited: Promise<ExitStatus>;
}

type Write = (stream: StreamName, data: Buffer) => boolean;

interface State {
  status: ExitStatus | undefined;
  write: Write | undefined;
  /** Output that came before anybody wanted it. */
  early: [StreamName, Buffer][];
}

function deliver(state: State, socket: Socket, stream: StreamName, data: Buffer): void {
  if (state.write === undefined) {
    state.early.push([stream, data]);
    socket.pause();
  } else if (!state.write(stream, data)) socket.pause();
}

function frameHandler(state: State, socket: Socket, handlers: Handlers): (type: number, payload: Buffer) => void {
  const json = (payload: Buffer) => JSON.parse(payload.toString('utf8'));
  return (type, payload) => {
    if (type === FROM_MONITOR.stdout) deliver(state, socket, 'stdout', payload);
    else if (type === FROM_MONITOR.stderr) deliver(state, socket, 'stderr', payload);
    else if (type === FROM_MONITOR.started) handlers.started?.(json(payload).pid);
    else if (type === FROM_MONITOR.failed) handlers.failed?.(json(payload));
    else if (type === FROM_MONITOR.step) handlers.step?.(json(payload));
    else if (type === FROM_MONITOR.exit) state.status = { code: json(payload).code };
  };
}

/** Two of Node's sockets for one connection. Node gives up a socket as a whole when a write meets EPIPE, and with it would go the last
 *  words of a monitor that has left already. */
function streams(fd: number): { incoming: Socket; outgoing: Socket } {
  const { Socket } = process.getBuiltinModule('node:net'); // slow to load, and not every verb that imports this connects
  const outgoing = new Socket({ fd: duplicate(fd), readable: false, writable: true });
  const incoming = new Socket({ fd, readable: true, writable: false });
  for (const socket of [incoming, outgoing]) socket.on('error', () => {});
  return { incoming, outgoing };
}

/** Takes over a connected socket. Nothing is read before the next turn of the event loop, so handlers are in place in time. */
export function monitorClient(fd: number, handlers: Handlers = {}): MonitorClient {
  const state: State = { status: undefined, write: undefined, early: [] };
  const { incoming, outgoing } = streams(fd);
  const exited = new Promise<ExitStatus>((resolve, reject) => {
    incoming.on('close', () => {
      outgoing.destroy();
      handlers.closed?.(state.status);
      if (state.status !== undefined) resolve(state.status);
      else reject(new TsboxError('ERR_TSBOX_EXECUTOR', "the connection to the container's monitor was lost"));
    });
  });
  exited.catch(() => {});
  incoming.on('data', frameReader(frameHandler(state, incoming, handlers)));
  const send = (type: number, payload: Uint8Array) => outgoing.write(encodeFrame(type, payload));
  return {
    exited,
    output(write) {
      state.write = write;
      for (const [stream, data] of state.early.splice(0)) write(stream, data);
      incoming.resume();
    },
    resume: () => void incoming.resume(),
    stdin: (data) => send(TO_MONITOR.stdin, data),
    onDrained: (callback) => void outgoing.on('drain', callback),
    closeStdin: () => void send(TO_MONITOR.stdin, Buffer.alloc(0)),
    resize({ rows, columns }) {
      const payload = Buffer.alloc(4);
      payload.writeUInt16BE(rows, 0);
      payload.writeUInt16BE(columns, 2);
      send(TO_MONITOR.resize, payload);
    },
    want: ({ output, stdin }) => void send(TO_MONITOR.hello, Buffer.of(Number(output), Number(stdin))),
    go: () => void send(TO_MONITOR.go, Buffer.alloc(0)),
    detach() {
      outgoing.destroy();
      incoming.destroy();
    },
  };
}

/** Connects to the monitor whose run directory this is. A socket's address has room for 107 bytes, so it goes by way of a descriptor of
 *  the directory.
 *  @throws ERR_TSBOX_EXECUTOR when nobody listens there any more; ENOENT without the directory */
export function connectMonitor(
  runDirectory: string,
  want: { output: boolean; stdin: boolean },
  handlers: Handlers = {},
): MonitorClient {
  const directory = openSync(runDirectory, 'r');
  try {
    const client = monitorClient(connectUnix(`/proc/self/fd/${directory}/attach.sock`), handlers);
    client.want(want);
    return client;
  } catch (cause) {
    throw new TsboxError('ERR_TSBOX_EXECUTOR', `connect to the monitor of ${runDirectory}`, { cause });
  } finally {
    closeSync(directory);
  }
}
