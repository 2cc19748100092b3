/** Output that may be large: as fast as its reader takes it. */
import type { StreamName } from '../engine/api.ts';
import { outputError } from './output.ts';
import { flushed } from './pump.ts';

interface Output {
  /** Waits while the reader is behind. */
  write(stream: StreamName, data: string | Uint8Array): Promise<void>;
  /** Waits until everything is out. */
  end(): Promise<void>;
}

/** Standard output and error. Both functions throw OutputClosed when nobody reads standard output any more, and what else it refuses. */
export function writeAll(): Output {
  const streams = { stdout: process.stdout, stderr: process.stderr };
  let failed: Error | undefined;
  streams.stdout.on('error', (error) => {
    failed = outputError(error);
  });
  streams.stderr.on('error', () => undefined);
  return {
    async write(name, data) {
      if (!streams[name].write(data)) await flushed(streams[name]);
      if (failed !== undefined) throw failed;
    },
    async end() {
      await Promise.all([flushed(streams.stdout), flushed(streams.stderr)]);
      // What a file or a device refuses is told at the next turn.
      await new Promise(setImmediate);
      if (failed !== undefined) throw failed;
    },
  };
}
