/** Tables with Docker's spacing. Pure. */
import { displayWidth, padEnd } from './width.ts';

const PADDING = 3;
const NARROWEST = 10;

/** Lines of a table: every column but the last as wide as its widest cell and three blanks, and ten at the least. */
export function tableText(rows: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const row of rows) {
    row.slice(0, -1).forEach((cell, column) => {
      widths[column] = Math.max(widths[column] ?? NARROWEST, displayWidth(cell) + PADDING);
    });
  }
  return rows
    .map(
      (row) =>
        `${row.map((cell, column) => (column < row.length - 1 ? padEnd(cell, widths[column]!) : cell)).join('')}\n`,
    )
    .join('');
}

/** Words in lines of at most `width` columns; a longer word has its own line. Line feeds in the text stay. */
export function wrapWords(text: string, width: number): string[] {
  const lines: string[] = [];
  for (const paragraph of text.split('\n')) {
    let line = '';
    for (const word of paragraph.split(' ')) {
      if (line !== '' && displayWidth(line) + 1 + displayWidth(word) > width) {
        lines.push(line);
        line = word;
      } else line = line === '' ? word : `${line} ${word}`;
    }
    lines.push(line);
  }
  return lines;
}
