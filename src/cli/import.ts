/** `tsbox import` */
import { command } from './command.ts';
import { complain, print } from './output.ts';

export const verb = command({
  usage: '[OPTIONS] file|URL|- [REPOSITORY[:TAG]]',
  summary: 'Make an image of one layer from a tar archive of a file system',
  count: [1, 2],
  flags: {
    change: { kind: 'list', short: 'c', help: 'Apply a Dockerfile instruction to the image' },
    message: { kind: 'string', short: 'm', default: '', help: "Message for the image's history" },
    platform: { kind: 'string', help: 'Platform of the image: os/arch[/variant]' },
  },
  ownsFiles: true,
  async run(context, flags, [source, reference]) {
    const engine = await context.engine();
    const { importImage } = await import('../engine/import.ts');
    const id = await importImage(engine, {
      source: source!,
      message: flags.message,
      changes: flags.change,
      notice: (text) => complain(`${text}\n`),
      ...(reference !== undefined && { reference }),
      ...(flags.platform !== undefined && { platform: flags.platform }),
    });
    print(`${id}\n`);
    return 0;
  },
});
