const nobody = new Int32Array(new SharedArrayBuffer(4));

/** Blocks this thread for so many milliseconds. */
export function pause(ms: number): void {
  Atomics.wait(nobody, 0, 0, ms);
}
