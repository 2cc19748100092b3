/** Verbs that take many names: one that goes wrong does not keep the others from being done. */
import { print } from './output.ts';

/** Prints what `act` gives for each name; reports each error.
 *  @returns the exit code: 1 when there was an error */
export async function forEach(names: readonly string[], act: (name: string) => Promise<string>): Promise<number> {
  let code = 0;
  for (const name of names) {
    try {
      print(await act(name));
    } catch (error) {
      (await import('./report.ts')).report(error);
      code = 1;
    }
  }
  return code;
}
