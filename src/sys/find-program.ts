import { accessSync, constants } from 'node:fs';

/** The path of a program in the first of these directories that has it; undefined where none has. */
export function findProgram(name: string, directories: readonly string[]): string | undefined {
  return directories.map((directory) => `${directory}/${name}`).find(isProgram);
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
