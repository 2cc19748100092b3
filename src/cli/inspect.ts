/** `tsbox inspect` */
import type { ObjectType } from '../engine/inspect.ts';
import { TsboxError } from '../errors.ts';
import { UsageError } from './args.ts';
import { command } from './command.ts';
import { complain, print } from './output.ts';

const TYPES: readonly ObjectType[] = ['container', 'image', 'network', 'volume'];

const isType = (text: string): text is ObjectType => (TYPES as readonly string[]).includes(text);

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
    if (type !== undefined && !isType(type))
      throw new UsageError(`${JSON.stringify(type)} is not a type: ${TYPES.join(', ')}`, 1);
    const engine = await context.engine();
    const { inspectObject } = await import('../engine/inspect.ts');
    return inspectAll(names, format, (name) => {
      const found = inspectObject(engine, name, { type, size });
      if (size && found.type !== 'container') complain(`WARNING: --size ignored for ${found.type}\n`);
      return found;
    });
  },
});

/** As Docker ends when it cannot read a template. */
const NO_TEMPLATE = 64;

/** Prints what `look` finds of each name, and reports each error. A template sees Go's values first, and what it does not find there in
 *  JSON's, as Docker's does.
 *  @returns the exit code: 1 when there was an error @throws ERR_TSBOX_USAGE, exit code 64, when the format is no template */
export async function inspectAll(
  names: readonly string[],
  format: string | undefined,
  look: (name: string) => Inspected,
): Promise<number> {
  const isJson = format === undefined || format === '' || format === 'json';
  const show = isJson ? undefined : await templateOf(format);
  const objects: object[] = [];
  const lines: string[] = [];
  const errors: unknown[] = [];
  for (const name of names) {
    try {
      const found = look(name);
      if (show === undefined) objects.push(found.object);
      else lines.push(`${show(found)}\n`);
    } catch (error) {
      errors.push(error);
    }
  }
  if (show === undefined) print(`${JSON.stringify(objects, null, format === 'json' ? 0 : 4)}\n`);
  else print(lines.join('') || '\n');
  for (const error of errors) (await import('./report.ts')).report(error);
  return errors.length > 0 ? 1 : 0;
}

interface Inspected {
  type: ObjectType;
  object: object;
}

async function templateOf(format: string): Promise<(found: Inspected) => string> {
  const { compileTemplate } = await import('./template.ts');
  const { inspected } = await import('./go-types.ts');
  const template = compileOrEnd(compileTemplate, format);
  return ({ type, object }) => {
    try {
      return template(inspected(type, object));
    } catch (error) {
      if (!(error instanceof TsboxError)) throw error;
      return template(JSON.parse(JSON.stringify(object)));
    }
  };
}

/** @throws ERR_TSBOX_USAGE, exit code 64, when the template is none */
export function compileOrEnd<T>(compile: (source: string) => T, source: string): T {
  try {
    return compile(source);
  } catch (error) {
    if (!(error instanceof TsboxError)) throw error;
    throw new TsboxError(error.code, error.message, { exitCode: NO_TEMPLATE, cause: error });
  }
}
