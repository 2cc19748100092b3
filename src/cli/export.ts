/** `tsbox export` */
import { refuseTerminal, writeArchive, writeArchiveFile } from './archive.ts';
import { command } from './command.ts';

export const verb = command({
  usage: '[OPTIONS] CONTAINER',
  summary: "Write a container's file system to a tar archive",
  count: [1, 1],
  flags: { output: { kind: 'string', short: 'o', help: 'Write to this file instead of standard output' } },
  async run(context, flags, [name]) {
    if (flags.output === undefined) refuseTerminal();
    const engine = await context.engine();
    const { asOwnerOf } = await import('../engine/container-owner.ts');
    await asOwnerOf(engine, name!);
    const { exportContainer } = await import('../engine/export.ts');
    const archive = exportContainer(engine, name!);
    await (flags.output === undefined ? writeArchive(archive) : writeArchiveFile(archive, flags.output));
    return 0;
  },
});
