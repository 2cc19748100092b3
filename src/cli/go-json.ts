/** JSON as Go writes it. Pure. */

/** Numbers that are too large for JavaScript's come as bigint. */
export function plainJson(value: unknown): string {
  const { rawJSON } = JSON as unknown as { rawJSON(text: string): unknown }; // since Node 21; not in TypeScript's library yet
  return JSON.stringify(value, (_, one: unknown) => (typeof one === 'bigint' ? rawJSON(String(one)) : one)) ?? 'null';
}

/** The same, safe within HTML. */
export function goJson(value: unknown): string {
  const escaped = (character: string) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
  return plainJson(value).replace(/[<>&\u2028\u2029]/g, escaped);
}
