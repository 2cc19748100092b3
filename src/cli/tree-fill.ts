/** `tsbox tree-fill`: of tsbox's own use, when an ordinary user makes a container under the storage driver vfs. Not in the help. */
import { TsboxError } from '../errors.ts';
import { command } from './command.ts';
import { hintFor } from './hints.ts';
import { print } from './output.ts';

export const verb = command({
  usage: 'CONTAINER',
  summary: "Copy a container's files; an error is printed as JSON, for whoever has asked for the copy",
  count: [1, 1],
  flags: {},
  ownsFiles: true,
  async run(context, _, [container = '']) {
    const { fillForParent } = await import('../engine/fill-apart.ts');
    try {
      await fillForParent(await context.engine(), container);
      return 0;
    } catch (error) {
      if (!(error instanceof TsboxError)) throw error;
      const { code, message, hint = hintFor(error, 0) } = error;
      print(JSON.stringify({ code, message, hint }));
      return 1;
    }
  },
});
