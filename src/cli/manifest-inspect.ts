/** `tsbox manifest inspect` */
import { escapeAsGo, escapeForTerminal } from '../spec/json.ts';
import { command } from './command.ts';
import { complain, print } from './output.ts';

export const verb = command({
  usage: '[OPTIONS] MANIFEST',
  summary: 'Show what a registry has under a name: a manifest, or a list of them',
  count: [1, 1],
  flags: {
    insecure: { kind: 'bool', help: 'Take plain http or any certificate from the registry' },
    verbose: { kind: 'bool', short: 'v', help: 'Show each manifest of a list, with its platform' },
  },
  async run(context, { insecure, verbose }, [name]) {
    const engine = await context.engine();
    const { inspectManifest } = await import('../engine/manifest-inspect.ts');
    const found = await inspectManifest(engine, name!, { insecure, verbose }, (text) => complain(`${text}\n`));
    const text =
      found.kind === 'details'
        ? escapeAsGo(JSON.stringify(found.details, null, '\t'))
        : indentJson(found.bytes.toString(), found.kind === 'index' ? '   ' : '\t');
    print(`${escapeForTerminal(text)}\n`);
    return 0;
  },
});

/** The same document, a field a line: order, numbers and escapes stay as they are. @param json without an error in it */
export function indentJson(json: string, unit: string): string {
  let depth = 0;
  const line = (): string => `\n${unit.repeat(depth)}`;
  return json.replace(/"[^"\\]*(?:\\.[^"\\]*)*"|\s+|[{[]\s*[}\]]|[{}[\],:]/g, (token) => {
    if (token.startsWith('"')) return token;
    if (token === ':') return ': ';
    if (token === ',') return `,${line()}`;
    if (/^\s/.test(token)) return '';
    if (token.length > 1) return token[0]! + token.at(-1)!;
    depth += token === '{' || token === '[' ? 1 : -1;
    return token === '{' || token === '[' ? token + line() : line() + token;
  });
}
