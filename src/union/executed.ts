/**
 * Programs that run. O_TRUNC comes with OPEN, before the kernel sees that nobody may write to a program that runs: it refuses with ETXTBSY
 * what has been emptied by then. With O_WRONLY and O_RDWR it looks before; O_RDONLY | O_TRUNC is left to us.
 */

/** In the flags of OPEN and RELEASE: by execve(2). */
const EXECUTE = 0x20;

/** How often, by node. */
const executed = new Map<number, number>();

export function noteOpened(node: number, flags: number): void {
  if (flags & EXECUTE) executed.set(node, (executed.get(node) ?? 0) + 1);
}

export function noteReleased(node: number, flags: number): void {
  if ((flags & EXECUTE) === 0) return;
  const left = (executed.get(node) ?? 0) - 1;
  if (left > 0) executed.set(node, left);
  else executed.delete(node);
}

export const isExecuted = (node: number): boolean => executed.has(node);
