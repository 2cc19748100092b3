/** `tsbox update` */
import { UsageError } from './args.ts';
import { command } from './command.ts';
import { forEach } from './each.ts';
import { RESTART_FLAG } from './life-flags.ts';
import { print } from './output.ts';
import { hasResourceFlags, UPDATE_FLAGS } from './resource-flags.ts';

export const verb = command({
  usage: '[OPTIONS] CONTAINER [CONTAINER...]',
  summary: 'Change the limits or the restart policy of one or more containers',
  count: [1, Number.POSITIVE_INFINITY],
  flags: { ...UPDATE_FLAGS, ...RESTART_FLAG },
  unsupported: 'cpu-rt-period cpu-rt-runtime kernel-memory',
  async run(context, flags, names) {
    const { restart, ...limits } = flags;
    if (!hasResourceFlags(limits) && !restart)
      throw new UsageError('you must provide one or more flags when using this command', 1);
    const { resourceValues } = await import('./resource-values.ts');
    const asked = resourceValues(limits);
    const engine = await context.engine();
    const { updateContainer } = await import('../engine/update.ts');
    const warnings: string[] = [];
    const code = await forEach(names, async (name) => {
      warnings.push(...updateContainer(engine, name, asked, restart));
      return `${name}\n`;
    });
    // On standard output, as Docker has it.
    if (warnings.length > 0) print(`${warnings.join('\n')}\n`);
    return code;
  },
});
