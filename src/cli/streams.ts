/** Output that may be large: as fast as its reader takes it. */
import type { StreamName } from '../engine/api.ts';
import { isErrno } from '../errors.ts';
import { OutputClosed } from './output.ts';
import { flushed } from './pump.ts';

/** Writes to standard output or error and waits while its reader is behind.
 *  @returns a function that throws OutputClosed when nobody reads standard output any more */
export async function writeAll(): Promise<(stream: StreamName, data: string | Uint8Array) => Promise<void>> {
  const streams = { stdout: process.stdout, stderr: process.stderr };
  let failed: unknown;
  streams.stdout.on('error', (error) => {
    failed = isErrno(error, 'EPIPE') ? new OutputClosed() : error;
  });
  streams.stderr.on('error', () => undefined);
  return async (name, data) => {
    if (!streams[name].write(data)) await flushed(streams[name]);
    if (failed !== undefined) throw failed;
  };
}
