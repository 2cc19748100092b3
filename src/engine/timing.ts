/** Where the milliseconds go: with TSBOX_TIMING=1 each phase is printed on standard error as it ends. */

let last: number | undefined;

/** Ends the phase that began at the last call (at first: at the start of the process). */
export function phase(name: string): void {
  if (process.env['TSBOX_TIMING'] !== '1') return;
  const at = performance.now();
  process.stderr.write(`timing ${name} ${(at - (last ?? 0)).toFixed(2)}\n`);
  last = performance.now();
}
