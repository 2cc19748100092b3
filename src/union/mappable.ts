/**
 * Which files may be changed without a word to us: through a mapping, which the kernel writes to by itself (passthrough.ts). It does not
 * look after their times and the room that they take either, so it may not keep what it is told of these. Only who opens a file to read and
 * write can have such a mapping; it stays when the file is closed, and nobody says when it goes.
 */
const files = new Set<number>();

/** Somebody may map it from now on. @returns whether nobody could before */
export function noteMappable(node: number): boolean {
  if (files.has(node)) return false;
  files.add(node);
  return true;
}

/** The kernel has forgotten it. */
export function forgetMappable(node: number): void {
  files.delete(node);
}

export const isMappable = (node: number): boolean => files.size > 0 && files.has(node);
