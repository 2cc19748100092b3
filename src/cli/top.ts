/** `tsbox top` */
import { command } from './command.ts';
import { print } from './output.ts';

const WIDTH = 20;
const GAP = 3;

export const verb = command({
  usage: 'CONTAINER [ps OPTIONS]',
  summary: "Show a container's processes as the host's ps shows them",
  count: [1, Number.POSITIVE_INFINITY],
  stopAtArgument: true,
  flags: {},
  async run(context, _, [name, ...options]) {
    const engine = await context.engine();
    const { topContainer } = await import('../engine/top.ts');
    const { titles, processes } = topContainer(engine, name!, options);
    print(columns([titles, ...processes]));
    return 0;
  },
});

/** Columns of at least 20 characters, as Docker's. */
function columns(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, column) =>
    Math.max(WIDTH, ...rows.map((row) => [...(row[column] ?? '')].length + GAP)),
  );
  const line = (row: readonly string[]) =>
    row.map((field, column) => (column === row.length - 1 ? field : field.padEnd(widths[column]!))).join('');
  return rows.map((row) => `${line(row)}\n`).join('');
}
