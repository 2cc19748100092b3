/** Tables with Docker's spacing. Pure. */
import { displayWidth } from './width.ts';

const PADDING = 3;
const NARROWEST = 10;

/** Lines of a table: every column but the last as wide as its widest cell and three blanks, and ten at the least. */
export function tableText(rows: readonly (readonly string[])[]): string {
  const widths = rows.map((row) => row.slice(0, -1).map(displayWidth));
  const columns: number[] = [];
  for (const row of widths) {
    row.forEach((width, column) => {
      columns[column] = Math.max(columns[column] ?? NARROWEST, width + PADDING);
    });
  }
  const padded = (cell: string, blanks: number) => cell + ' '.repeat(blanks);
  const line = (row: readonly string[], own: readonly number[]) =>
    own.map((width, column) => padded(row[column]!, columns[column]! - width)).join('') + (row.at(-1) ?? '');
  return rows.map((row, at) => `${line(row, widths[at]!)}\n`).join('');
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
