/** Tables of the documents, for the tests that hold them beside lists in the code. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Cells of the tables of a section, the lines under the heads left out. @param heading `## Beside Docker` */
export function rowsOf(document: string, heading: string): string[][] {
  const text = readFileSync(join(import.meta.dirname, '../../docs', document), 'utf8');
  const section = text.slice(text.indexOf(`\n${heading}\n`));
  const end = section.indexOf('\n## ', 1);
  return section
    .slice(0, end === -1 ? undefined : end)
    .split('\n')
    .filter((line) => line.startsWith('|') && !/^\|[ |-]+$/.test(line))
    .map((line) =>
      line
        .slice(1, -1)
        .split('|')
        .map((cell) => cell.trim()),
    );
}
