/** How many columns a text takes on a terminal. Pure. @see Unicode UAX #11, East Asian Width */

/** First and last code point of what takes two columns: CJK, Hangul, full-width forms, emoji. */
const WIDE: readonly (readonly [number, number])[] = [
  [0x1100, 0x115f],
  [0x231a, 0x231b],
  [0x23e9, 0x23ec],
  [0x2e80, 0x303e],
  [0x3041, 0x33ff],
  [0x3400, 0x4dbf],
  [0x4e00, 0x9fff],
  [0xa000, 0xa4cf],
  [0xa960, 0xa97f],
  [0xac00, 0xd7a3],
  [0xf900, 0xfaff],
  [0xfe30, 0xfe6f],
  [0xff00, 0xff60],
  [0xffe0, 0xffe6],
  [0x1f300, 0x1f64f],
  [0x1f680, 0x1f6ff],
  [0x1f900, 0x1f9ff],
  [0x1fa70, 0x1faff],
  [0x20000, 0x3fffd],
];

const NOTHING = /^[\p{Mn}\p{Me}\p{Cf}\p{Cc}]$/u;

/** Columns of `text`; combining and control characters take none. */
export function displayWidth(text: string): number {
  if (isPlain(text)) return text.length;
  let width = 0;
  for (const character of text) width += characterWidth(character);
  return width;
}

/** By hand, for lists are long: a regular expression takes twice as long. */
function isPlain(text: string): boolean {
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code < 0x20 || code > 0x7e) return false;
  }
  return true;
}

const ELLIPSIS = 0x2026;

function characterWidth(character: string): number {
  const point = character.codePointAt(0)!;
  // What most of a long list is made of, without asking what kind of character it is.
  if ((point >= 0x20 && point < 0x7f) || point === ELLIPSIS) return 1;
  if (NOTHING.test(character)) return 0;
  return point >= 0x1100 && WIDE.some(([first, last]) => point >= first && point <= last) ? 2 : 1;
}

/** `text` with blanks up to `width` columns. */
export function padEnd(text: string, width: number): string {
  return text + ' '.repeat(Math.max(0, width - displayWidth(text)));
}

/** As much of `text` as fits into `width` columns. */
export function cutTo(text: string, width: number): string {
  if (displayWidth(text) <= width) return text;
  let used = 0;
  let cut = '';
  for (const character of text) {
    used += characterWidth(character);
    if (used > width) break;
    cut += character;
  }
  return cut;
}
