/** `tsbox diff` */
import { command } from './command.ts';

export const verb = command({
  usage: 'CONTAINER',
  summary: 'Show which files a container has added (A), changed (C) and deleted (D)',
  count: [1, 1],
  flags: {},
  ownsFiles: true,
  async run(context, _, [name]) {
    const engine = await context.engine();
    const { containerChanges } = await import('../engine/changes-of-container.ts');
    const { print } = await import('./output.ts');
    const { goText } = await import('./go-json.ts');
    print(
      containerChanges(engine, name!)
        .map(({ kind, path }) => `${kind} ${goText(path)}\n`)
        .join(''),
    );
    return 0;
  },
});
