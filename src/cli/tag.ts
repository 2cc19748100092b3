/** `tsbox tag` */
import { command } from './command.ts';

export const verb = command({
  usage: 'SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]',
  summary: 'Give an image a further name',
  count: [2, 2],
  flags: {},
  stopAtArgument: true,
  async run(context, _flags, [source, target]) {
    const engine = await context.engine();
    const { tagImage } = await import('../engine/images.ts');
    tagImage(engine, source!, target!);
    return 0;
  },
});
