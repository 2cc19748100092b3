/** Where in src/ an error comes from. In the bundle lines and names are others; its map, which lies beside it, tells what they were. */
import { readFileSync } from 'node:fs';
import { SourceMap } from 'node:module';

const FRAME = /^(\s+at ).*?([^\s(]*\/tsbox-[0-9a-f]{12})\.cjs:(\d+):(\d+)\)?$/gm;

/** A stack with the places of the bundle replaced by those of its sources; as it is where there is no map. */
export function sourceStack(stack: string): string {
  const maps = new Map<string, SourceMap | undefined>();
  return stack.replace(FRAME, (frame: string, at: string, bundle: string, line: string, column: string) => {
    if (!maps.has(bundle)) maps.set(bundle, readMap(`${bundle}.map`));
    const entry = maps.get(bundle)?.findEntry(Number(line) - 1, Number(column) - 1);
    if (entry === undefined || !('originalSource' in entry)) return frame;
    const source = entry.originalSource.replace(/^(\.\.\/)+/, '');
    return `${at}${source}:${entry.originalLine + 1}:${entry.originalColumn + 1}`;
  });
}

function readMap(path: string): SourceMap | undefined {
  try {
    return new SourceMap(JSON.parse(readFileSync(path, 'utf8')));
  } catch {
    return undefined;
  }
}
