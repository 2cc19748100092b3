/** `tsbox attach` */
import { command } from './command.ts';
import { DETACH_KEYS_FLAG, SIG_PROXY_FLAG } from './container-life.ts';
import { attachAs } from './start.ts';

export const verb = command({
  usage: '[OPTIONS] CONTAINER',
  summary: 'Connect standard input, output and error with a container that is running',
  count: [1, 1],
  flags: {
    ...DETACH_KEYS_FLAG,
    ...SIG_PROXY_FLAG,
    'no-stdin': { kind: 'bool', help: 'Leave standard input alone' },
  },
  async run(context, flags, [name]) {
    const engine = await context.engine();
    const { attachContainer } = await import('../engine/attach.ts');
    const wanted = {
      stdin: !flags['no-stdin'],
      keys: flags['detach-keys'],
      proxy: flags['sig-proxy'],
      staysAttached: true,
    };
    return attachAs(context, name!, wanted, () => attachContainer(engine, name!, { ...wanted, attach: true }));
  },
});
