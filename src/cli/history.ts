/** `tsbox history` */
import { command } from './command.ts';
import { ellipsis, humanAge, humanSize, localRfc3339, shortId } from './human.ts';
import { isPlainTable, printListing } from './listing.ts';
import { print } from './output.ts';

export const verb = command({
  usage: '[OPTIONS] IMAGE',
  summary: 'Show how an image came to be, the newest layer first',
  count: [1, 1],
  flags: {
    format: { kind: 'string', help: "'table', 'json', a Go template for each row, or 'table TEMPLATE'" },
    human: { kind: 'bool', short: 'H', default: true, help: 'Print sizes and dates for people' },
    'no-trunc': { kind: 'bool', help: 'Show ids and commands in full' },
    quiet: { kind: 'bool', short: 'q', help: 'Show ids only' },
  },
  unsupported: 'platform',
  async run(context, flags, [image]) {
    const engine = await context.engine();
    const { imageHistory } = await import('../engine/images.ts');
    const now = Date.now();
    const rows = imageHistory(engine, image!).map((entry) => ({
      Comment: entry.comment,
      CreatedAt: localRfc3339(entry.created),
      CreatedBy: createdBy(entry.createdBy, flags['no-trunc']),
      CreatedSince: flags.human ? humanAge(entry.created, now) : localRfc3339(entry.created),
      ID: flags['no-trunc'] ? entry.id : shortId(entry.id),
      Size: flags.human ? humanSize(entry.size, 3) : String(entry.size),
    }));
    if (flags.quiet && isPlainTable(flags.format)) print(rows.map(({ ID }) => `${ID}\n`).join(''));
    else {
      const columns = ['ID', flags.human ? 'CreatedSince' : 'CreatedAt', 'CreatedBy', 'Size', 'Comment'];
      await printListing({ headers: HEADERS, columns, rows }, flags.format);
    }
    return 0;
  },
});

const HEADERS = {
  ID: 'IMAGE',
  CreatedSince: 'CREATED',
  CreatedAt: 'CREATED AT',
  CreatedBy: 'CREATED BY',
  Size: 'SIZE',
  Comment: 'COMMENT',
};

function createdBy(text: string, whole: boolean): string {
  const line = text.replaceAll('\t', ' ');
  return whole ? line : ellipsis(line, 45);
}
