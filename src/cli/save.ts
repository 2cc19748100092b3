/** `tsbox save` */
import { refuseTerminal, writeArchive, writeArchiveFile } from './archive.ts';
import { command } from './command.ts';

export const verb = command({
  usage: '[OPTIONS] IMAGE [IMAGE...]',
  summary: 'Write one or more images to a tar archive',
  count: [1, Number.POSITIVE_INFINITY],
  flags: { output: { kind: 'string', short: 'o', help: 'Write to this file instead of standard output' } },
  unsupported: 'platform',
  ownsFiles: true,
  async run(context, flags, images) {
    if (flags.output === undefined) refuseTerminal();
    const engine = await context.engine();
    const { saveImages } = await import('../engine/save.ts');
    const archive = await saveImages(engine, images);
    await (flags.output === undefined ? writeArchive(archive) : writeArchiveFile(archive, flags.output));
    return 0;
  },
});
