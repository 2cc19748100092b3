/** JSON as Go writes it. Pure. */
import { isUtf8 } from 'node:buffer';

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

/** Text of bytes that need not be UTF-8: each byte that belongs to no character is U+FFFD. */
export function goText(bytes: Buffer): string {
  if (isUtf8(bytes)) return bytes.toString();
  let text = '';
  for (let at = 0; at < bytes.length; ) {
    const character = bytes.subarray(at, at + characterBytes(bytes[at]!));
    const isOne = isUtf8(character);
    text += isOne ? character.toString() : '\ufffd';
    at += isOne ? character.length : 1;
  }
  return text;
}

const characterBytes = (first: number) => (first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4);
