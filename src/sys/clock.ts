/** A clock that nobody sets. Node's `performance` would be one, but the first look at it loads seven modules: 1.5 ms. */

/** Milliseconds since some moment before this process was started. @see clock_gettime(2), CLOCK_MONOTONIC */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
