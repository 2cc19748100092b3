/** `tsbox logout` */
import { command } from './command.ts';
import { complain, print } from './output.ts';

export const verb = command({
  usage: '[SERVER]',
  summary: 'Log out from a registry, Docker Hub when none is named',
  count: [0, 1],
  flags: {},
  async run(_context, _flags, [name]) {
    const { loginServer, logOut } = await import('../engine/login.ts');
    const server = loginServer(name);
    print(`Removing login credentials for ${server.shown}\n`);
    for (const file of await logOut(server)) {
      complain(`WARNING! ${file} has credentials for it too, and tsbox uses them.\n`);
    }
    return 0;
  },
});
