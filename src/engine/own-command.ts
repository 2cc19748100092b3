/** tsbox as a command of its own: what a monitor that has no TypeScript at hand starts. */
import { builtFile, mainScript } from '../sys/built-file.ts';
import type { EngineOptions } from './api.ts';

/** The words of `tsbox WORDS...` with this engine's roots. Needs nothing of the caller's environment or working directory. Where there is no
 *  room for Node's threads it ends at once: Node would wait for ever, and with it whoever waits for the command. */
export function ownCommand(
  { dataRoot, runRoot, usernsRemap, bridge, storageDriver }: EngineOptions,
  words: readonly string[],
): string[] {
  const replay = builtFile('tsbox-replay');
  return [
    ...(replay === undefined ? [] : [replay, '--node']),
    process.execPath,
    '--', // see bin/tsbox
    mainScript(),
    '--data-root',
    dataRoot,
    '--run-root',
    runRoot,
    ...(usernsRemap === undefined ? [] : ['--userns-remap', usernsRemap]),
    ...(bridge === undefined ? [] : ['--bridge', bridge]),
    ...(storageDriver === undefined ? [] : ['--storage-driver', storageDriver]),
    ...words,
  ];
}
