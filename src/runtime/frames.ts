/** Frames between a monitor and its clients: header of eight bytes, then the payload. Pure. @see docs/monitor.md */

export const FROM_MONITOR = { stdout: 1, stderr: 2, started: 3, failed: 4, exit: 5, step: 6, waiting: 7 } as const;
export const TO_MONITOR = { stdin: 0, hello: 16, resize: 17, go: 18 } as const;

const HEADER = 8;

export function encodeFrame(type: number, payload: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(HEADER + payload.length);
  frame.writeUInt32LE(type, 0);
  frame.writeUInt32BE(payload.length, 4);
  frame.set(payload, HEADER);
  return frame;
}

/** Takes chunks as they come and calls back for each whole frame. */
export function frameReader(onFrame: (type: number, payload: Buffer) => void): (chunk: Buffer) => void {
  let rest: Buffer = Buffer.alloc(0);
  return (chunk) => {
    let data = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    while (data.length >= HEADER) {
      const end = HEADER + data.readUInt32BE(4);
      if (data.length < end) break;
      onFrame(data[0] ?? 0, data.subarray(HEADER, end));
      data = data.subarray(end);
    }
    rest = data;
  };
}
