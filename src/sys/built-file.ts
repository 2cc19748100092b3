/** What `make build` makes. */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { TsboxError } from '../errors.ts';

/** The nearest file of that name above this one: sources and bundle lie in the same tree. */
function above(name: string): string | undefined {
  let directory = dirname(fileURLToPath(import.meta.url));
  for (;;) {
    const path = join(directory, name);
    if (existsSync(path)) return path;
    const parent = dirname(directory);
    if (parent === directory) return undefined;
    directory = parent;
  }
}

/** The path of a file that was compiled from native-bindings/. undefined when it was not built. */
export const builtFile = (name: string): string | undefined => above(join('native-bindings/build', name));

/** As {@link builtFile}. @throws ERR_TSBOX_EXECUTOR when it was not built */
export function requireBuiltFile(name: string): string {
  const path = builtFile(name);
  if (path !== undefined) return path;
  throw new TsboxError('ERR_TSBOX_EXECUTOR', `find native-bindings/build/${name}`, {
    hint: 'Build it with `make build`.',
  });
}

/** The path of a file of a package that npm has installed, here or, when tsbox is itself a dependency, above. Node's own search asks for
 *  packages' descriptions and each folder's way besides: 0.5 to 2 ms.
 *  @throws ERR_TSBOX_EXECUTOR when it is not there */
export function requireBinary(file: string): string {
  const path = above(join('node_modules', file));
  if (path !== undefined) return path;
  throw new TsboxError('ERR_TSBOX_EXECUTOR', `find node_modules/${file}`, { hint: 'Install it with `npm install`.' });
}

/** The path of a program in bin/. @throws ERR_TSBOX_EXECUTOR when it is not there */
export function requireProgram(name: string): string {
  const path = above(join('bin', name));
  if (path !== undefined) return path;
  throw new TsboxError('ERR_TSBOX_EXECUTOR', `find bin/${name}`, {
    hint: 'This tsbox is not complete: install it anew.',
  });
}

let main: string | undefined;

/** What Node is given to be tsbox: the bundle, and the sources where there is none. */
export function mainScript(): string {
  main ??= above('dist/main.js') ?? above('src/cli/main.ts') ?? '';
  return main;
}
