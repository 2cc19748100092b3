/** `tsbox volume-fill`: of tsbox's own use, when an ordinary user makes a container. Not in the help. */
import { command } from './command.ts';

export const verb = command({
  usage: 'CONTAINER PATH...',
  summary: "Put the image's files into a container's empty volumes",
  count: [1, Number.POSITIVE_INFINITY],
  flags: {},
  ownsFiles: true,
  async run(context, _, [container = '', ...places]) {
    const { fillPlaces } = await import('../engine/volume-use.ts');
    await fillPlaces(await context.engine(), container, places);
    return 0;
  },
});
