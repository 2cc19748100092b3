/** A command in a virtual machine of its own: its output, its exit status. usage: run.ts [--seconds N] COMMAND [ARGUMENT...] */

import { guestEnvironment } from './environment.ts';
import { boot } from './machine.ts';

const words = process.argv.slice(2);
const seconds = words[0] === '--seconds' ? Number(words.splice(0, 2)[1]) : 600;
if (words.length === 0 || !(seconds > 0)) {
  console.error('usage: run.ts [--seconds N] COMMAND [ARGUMENT...]');
  process.exit(2);
}
const machine = await boot();
try {
  process.exitCode = await machine.run({
    argv: words,
    env: guestEnvironment(),
    cwd: process.cwd(),
    timeout: seconds * 1000,
    onStdout: (data) => void process.stdout.write(data),
    onStderr: (data) => void process.stderr.write(data),
  });
} finally {
  await machine.close();
}
