/** A client's connection to a monitor. @see docs/monitor.md */
import type { Socket } from 'node:net';
import { TsboxError } from '../errors.ts';
import { encodeFrame, FROM_MONITOR, frameReader, TO_MONITOR } from './frames.ts';

export type StreamName = 'stdout' | 'stderr';

export interface ExitStatus {
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

/** Wraps a connected socket. Nothing is read before the next turn of the event loop, so handlers are in place in time. */
export function monitorClient(socket: Socket, handlers: Handlers = {}): MonitorClient {
  const state: State = { status: undefined, write: undefined, early: [] };
  const exited = new Promise<ExitStatus>((resolve, reject) => {
    socket.on('close', () => {
      handlers.closed?.(state.status);
      if (state.status !== undefined) resolve(state.status);
      else reject(new TsboxError('ERR_TSBOX_EXECUTOR', "the connection to the container's monitor was lost"));
    });
  });
  exited.catch(() => {});
  socket.on('error', () => {});
  socket.on('data', frameReader(frameHandler(state, socket, handlers)));
  const send = (type: number, payload: Uint8Array) => socket.write(encodeFrame(type, payload));
  return {
    exited,
    output(write) {
      state.write = write;
      for (const [stream, data] of state.early.splice(0)) write(stream, data);
      socket.resume();
    },
    resume: () => void socket.resume(),
    stdin: (data) => send(TO_MONITOR.stdin, data),
    onDrained: (callback) => void socket.on('drain', callback),
    closeStdin: () => void send(TO_MONITOR.stdin, Buffer.alloc(0)),
    resize({ rows, columns }) {
      const payload = Buffer.alloc(4);
      payload.writeUInt16BE(rows, 0);
      payload.writeUInt16BE(columns, 2);
      send(TO_MONITOR.resize, payload);
    },
    want: ({ output, stdin }) => void send(TO_MONITOR.hello, Buffer.of(Number(output), Number(stdin))),
    go: () => void send(TO_MONITOR.go, Buffer.alloc(0)),
    detach: () => void socket.destroy(),
  };
}

/** Connects to the monitor whose run directory this is. Socket paths longer than the 107 bytes that the kernel takes go by way of a
 *  descriptor of the directory.
 *  @throws ERR_TSBOX_EXECUTOR when nobody listens there any more */
export async function connectMonitor(
  runDirectory: string,
  want: { output: boolean; stdin: boolean },
  handlers: Handlers = {},
): Promise<MonitorClient> {
  const { connect } = await import('node:net');
  const { closeSync, openSync } = await import('node:fs');
  const directory = openSync(runDirectory, 'r');
  try {
    const socket = await new Promise<Socket>((resolve, reject) => {
      const made = connect({ path: `/proc/self/fd/${directory}/attach.sock` }, () => resolve(made));
      made.once('error', (cause) => {
        reject(new TsboxError('ERR_TSBOX_EXECUTOR', `connect to the monitor of ${runDirectory}`, { cause }));
      });
    });
    const client = monitorClient(socket, handlers);
    client.want(want);
    return client;
  } finally {
    closeSync(directory);
  }
}
