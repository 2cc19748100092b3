/** `tsbox system probe`: one probe of a container's health, for its monitor. Not for people. */
import { command } from './command.ts';

export const verb = command({
  usage: 'CONTAINER',
  summary: "Probe a container's health once (called by its monitor)",
  count: [1, 1],
  flags: {},
  async run(context, _, [id]) {
    const engine = await context.engine();
    const { probeContainer } = await import('../engine/probe.ts');
    // For the monitor: see docs/monitor.md, While it runs.
    return (await probeContainer(engine, id!)) ? 0 : 1;
  },
});
