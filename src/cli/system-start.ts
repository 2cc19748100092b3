/** `tsbox system start` */
import { command } from './command.ts';
import { complain, print } from './output.ts';
import { report } from './report.ts';

export const verb = command({
  usage: '',
  summary: 'Start containers by their restart policy, remove those left of --rm',
  count: [0, 0],
  flags: {},
  async run(context) {
    const engine = await context.engine();
    const { startByPolicy } = await import('../engine/system-start.ts');
    let code = 0;
    for await (const { name, error } of startByPolicy(engine)) {
      if (error === undefined) print(`${name}\n`);
      else {
        complain(`tsbox: start ${name}:\n`);
        report(error);
        code = 1;
      }
    }
    return code;
  },
});
