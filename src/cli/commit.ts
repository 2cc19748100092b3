/** `tsbox commit` */
import { command } from './command.ts';
import { print } from './output.ts';

export const verb = command({
  usage: '[OPTIONS] CONTAINER [REPOSITORY[:TAG]]',
  summary: "Make an image from a container's changes",
  count: [1, 2],
  flags: {
    author: { kind: 'string', short: 'a', default: '', help: 'Author of the image: Name <mail address>' },
    change: { kind: 'list', short: 'c', help: 'Apply a Dockerfile instruction to the image' },
    message: { kind: 'string', short: 'm', default: '', help: "Message for the image's history" },
    pause: { kind: 'bool', short: 'p', default: true, help: 'Pause the container meanwhile' },
  },
  async run(context, flags, [container, reference]) {
    const engine = await context.engine();
    const { asOwnerOf } = await import('../engine/container-owner.ts');
    await asOwnerOf(engine, container!);
    const { commitContainer } = await import('../engine/commit.ts');
    const id = await commitContainer(engine, {
      container: container!,
      message: flags.message,
      author: flags.author,
      changes: flags.change,
      pause: flags.pause,
      ...(reference !== undefined && { reference }),
    });
    print(`${id}\n`);
    return 0;
  },
});
