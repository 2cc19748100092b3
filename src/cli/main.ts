/** `tsbox`: the one place where it ends. */
import { program } from './program.ts';

// Node opens a debugger's port, to every user of the host, when it gets this signal. tsbox ends with it, as other programs.
process.on('SIGUSR1', () => {}).removeAllListeners('SIGUSR1');

void program(process.argv.slice(2)).then((code) => process.exit(code));
