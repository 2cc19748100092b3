/** What `make build` compiles from native-bindings/. */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The path of a built file; it lies beside the sources and beside the bundle alike. undefined when it was not built. */
export function builtFile(name: string): string | undefined {
  let directory = dirname(fileURLToPath(import.meta.url));
  for (;;) {
    const path = join(directory, 'native-bindings/build', name);
    if (existsSync(path)) return path;
    const parent = dirname(directory);
    if (parent === directory) return undefined;
    directory = parent;
  }
}
