/** `union-client.ts DIRECTORY COUNT`: small operations on a mount, each in a loop; prints their number a second, a line each. Run by union.ts. */
import { chmodSync, closeSync, existsSync, openSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const [directory = '.', count = '20000'] = process.argv.slice(2);
const times = Number(count);
const file = join(directory, 'file');
writeFileSync(file, '');

/** A part of the loops before, so that both sides are warm. */
function measure(name: string, once: (number: number) => void): void {
  for (let number = 0; number < times / 10; number++) once(-1 - number);
  const from = process.hrtime.bigint();
  for (let number = 0; number < times; number++) once(number);
  const seconds = Number(process.hrtime.bigint() - from) / 1e9;
  console.log(`${name}\t${Math.round(times / seconds)}`);
}

// Each name once: what the kernel has learnt is not asked again.
const run = process.pid;
measure('negative lookup', (number) => existsSync(join(directory, `none-${run}-${number}`)));
measure('chmod', (number) => chmodSync(file, 0o600 + (number & 7)));
measure('open/close', () => closeSync(openSync(file, 'r')));
measure('create/unlink', (number) => {
  const name = join(directory, `new-${number}`);
  closeSync(openSync(name, 'w'));
  unlinkSync(name);
});
