/** Help in the layout that Docker's users know. */
import type { FlagSpec, FlagTable } from './args.ts';
import type { Command } from './command.ts';
import { outputWidth } from './screen.ts';
import { wrapWords } from './table.ts';
import { ALIASES, GROUPS, MANAGEMENT, VERBS } from './verbs.ts';

/** Columns when the output is no terminal, and at the most. */
const HELP_WIDTH = 80;
const WIDEST = 120;

/** Columns that help is wrapped at. */
export function helpWidth(): number {
  return Math.min(outputWidth(1) ?? HELP_WIDTH, WIDEST);
}

/** Help of one verb. `name` is how it was called: `run`, `container ls`. */
export function commandHelp(name: string, command: Command, width: number): string {
  const parts = [usageLine(name, command), `${command.summary}\n`];
  const others = aliasesOf(name.split(' ').at(-1)!, name);
  if (others.length > 1) parts.push(`Aliases:\n  ${others.map((other) => `tsbox ${other}`).join(', ')}\n`);
  if (Object.keys(command.flags).length > 0) parts.push(`Options:\n${flagsText(command.flags, width)}`);
  return parts.join('\n');
}

/** `Usage:  tsbox run [OPTIONS] IMAGE [COMMAND] [ARG...]` */
export function usageLine(name: string, command: Command): string {
  return `Usage:  tsbox ${name} ${command.usage}`.trimEnd().concat('\n');
}

/** Every spelling of a verb, the management one first. */
function aliasesOf(word: string, name: string): string[] {
  const [group, plain] = name.split(' ');
  const verb = plain === undefined ? word : (ALIASES[group!]?.[plain] ?? plain);
  const spellings = Object.entries(ALIASES).flatMap(([prefix, names]) =>
    Object.entries(names)
      .filter(([, target]) => target === verb)
      .map(([spelling]) => `${prefix} ${spelling}`),
  );
  return [...new Set([...spellings, verb])];
}

/** The table of flags, sorted by name, descriptions wrapped at `width`. */
export function flagsText(flags: FlagTable, width: number): string {
  const all: FlagTable = { ...flags, ...(flags['help'] === undefined && { help: HELP_FLAG }) };
  const lines = Object.entries(all)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, spec]) => ({ left: flagLeft(name, spec), right: flagRight(spec) }));
  const indent = Math.max(...lines.map(({ left }) => left.length)) + 3;
  return lines
    .map(({ left, right }) => {
      const wrapped = wrapWords(right, Math.max(24, width - indent));
      return `${left.padEnd(indent)}${wrapped.join(`\n${' '.repeat(indent)}`)}\n`;
    })
    .join('');
}

const HELP_FLAG: FlagSpec = { kind: 'bool', help: 'Print this help' };

function flagLeft(name: string, spec: FlagSpec): string {
  const short = spec.short === undefined ? '    ' : `-${spec.short}, `;
  const value = spec.kind === 'bool' ? '' : ` ${spec.value ?? spec.kind}`;
  return `  ${short}--${name}${value}`;
}

function flagRight(spec: FlagSpec): string {
  if (spec.default === undefined || spec.default === false || spec.default === '') return spec.help;
  return `${spec.help} (default ${typeof spec.default === 'string' ? JSON.stringify(spec.default) : spec.default})`;
}

/** `tsbox --help`: the verbs by what they are for. */
export async function mainHelp(globals: FlagTable, width: number): Promise<string> {
  const parts = ['Usage:  tsbox [OPTIONS] COMMAND\n', 'A container engine that shows what it does\n'];
  for (const [title, words] of Object.entries(GROUPS)) parts.push(await verbList(title, words));
  const groups = Object.entries(MANAGEMENT).map(([word, summary]) => `  ${word.padEnd(11)} ${summary}\n`);
  parts.push(`Management Commands:\n${groups.join('')}`);
  parts.push(`Global Options:\n${flagsText(globals, width)}`);
  parts.push("Run 'tsbox COMMAND --help' for more information on a command.\n");
  return parts.join('\n');
}

/** `tsbox container --help`: each verb by its first spelling. */
export async function groupHelp(group: string): Promise<string> {
  const names = ALIASES[group] ?? {};
  const first = Object.keys(names).filter(
    (name, at, all) => all.findIndex((other) => names[other] === names[name]) === at,
  );
  const list = await verbList('Commands', first, (name) => names[name]!);
  return [
    `Usage:  tsbox ${group} COMMAND\n`,
    list,
    `Run 'tsbox ${group} COMMAND --help' for more information on a command.\n`,
  ].join('\n');
}

async function verbList(title: string, words: readonly string[], verb = (word: string) => word): Promise<string> {
  const lines = await Promise.all(
    words.map(async (word) => `  ${word.padEnd(11)} ${(await VERBS[verb(word)]!()).verb.summary}\n`),
  );
  return `${title}:\n${lines.join('')}`;
}
