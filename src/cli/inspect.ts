/** `tsbox inspect` */
import type { ObjectType } from '../engine/inspect.ts';
import { FLAG_ERROR, UsageError } from './args.ts';
import { command } from './command.ts';
import { complain, print } from './output.ts';

const TYPES: readonly ObjectType[] = ['container', 'image', 'network', 'volume'];

const isType = (text: string | undefined): text is ObjectType | undefined =>
  text === undefined || (TYPES as readonly string[]).includes(text);

export const verb = command({
  usage: '[OPTIONS] NAME|ID [NAME|ID...]',
  summary: 'Show all that is known of containers, images, networks and volumes',
  count: [1, Number.POSITIVE_INFINITY],
  flags: {
    format: { kind: 'string', short: 'f', help: "'json', or a Go template for each object" },
    size: {
      kind: 'bool',
      short: 's',
      help: 'Show how much a container has written, and how much it is with its image',
    },
    type: { kind: 'string', help: "Look for a 'container', an 'image', a 'network' or a 'volume' only" },
  },
  // As with ps.
  ownsFiles: ({ size }) => size,
  async run(context, { format, size, type }, names) {
    if (!isType(type)) throw new UsageError(`${JSON.stringify(type)} is not a type: ${TYPES.join(', ')}`, FLAG_ERROR);
    const engine = await context.engine();
    const { inspectObject } = await import('../engine/inspect.ts');
    return inspectAll(names, format, (name) => {
      const found = inspectObject(engine, name, { type, size });
      if (size && found.type !== 'container') complain(`WARNING: --size ignored for ${found.type}\n`);
      return found.object;
    });
  },
});

/** Prints what `look` finds of each name, and reports each error. @returns the exit code: 1 when there was an error */
export async function inspectAll(
  names: readonly string[],
  format: string | undefined,
  look: (name: string) => object,
): Promise<number> {
  const template =
    format === undefined || format === 'json' ? undefined : (await import('./template.ts')).compileTemplate(format);
  const found: object[] = [];
  const errors: unknown[] = [];
  for (const name of names) {
    try {
      found.push(look(name));
    } catch (error) {
      errors.push(error);
    }
  }
  if (template !== undefined) print(found.map((object) => `${template(object)}\n`).join(''));
  else print(`${JSON.stringify(found, null, format === 'json' ? 0 : 4)}\n`);
  for (const error of errors) (await import('./report.ts')).report(error);
  return errors.length > 0 ? 1 : 0;
}
