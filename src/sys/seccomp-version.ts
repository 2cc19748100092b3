/** Which libseccomp this host has, without loading it. */
import { readlinkSync } from 'node:fs';

export const SONAME = 'libseccomp.so.2';

const DIRECTORIES: Readonly<Record<string, readonly string[]>> = {
  x64: ['/usr/lib/x86_64-linux-gnu', '/lib/x86_64-linux-gnu', '/usr/lib64', '/lib64', '/usr/lib', '/usr/local/lib'],
  arm64: ['/usr/lib/aarch64-linux-gnu', '/lib/aarch64-linux-gnu', '/usr/lib64', '/lib64', '/usr/lib', '/usr/local/lib'],
};

/** `2.5.4`, from the name that the library's link leads to: nothing is loaded. `unknown` when it is in none of the usual places. */
export function libseccompVersion(): string {
  for (const directory of DIRECTORIES[process.arch] ?? []) {
    try {
      return readlinkSync(`${directory}/${SONAME}`).split('.so.')[1] ?? 'unknown';
    } catch {
      // Not there, or no link.
    }
  }
  return 'unknown';
}
