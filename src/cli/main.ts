/** `tsbox`: the one place where it ends. */
import { program } from './program.ts';

void program(process.argv.slice(2)).then((code) => process.exit(code));
