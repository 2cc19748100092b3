/** `--link CONTAINER[:ALIAS]`. Pure. */

export interface Link {
  /** Name or id. */
  container: string;
  /** By which it is found. */
  alias: string;
}

/** @throws Error in Docker's words for what is none */
export function parseLink(text: string): Link {
  if (text === '') throw new Error('empty string specified for links');
  const [container = '', alias = container, ...more] = text.split(':');
  if (more.length > 0) throw new Error(`bad format for links: ${text}`);
  return { container, alias };
}
