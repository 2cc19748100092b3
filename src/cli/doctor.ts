/** `tsbox doctor` */
import type { Finding, Level } from '../spec/doctor.ts';
import { FLAG_ERROR, UsageError } from './args.ts';
import { command } from './command.ts';
import { print } from './output.ts';
import { colours, outputWidth, type Paint, type Tone } from './screen.ts';
import { wrapWords } from './table.ts';

export const verb = command({
  usage: '[OPTIONS]',
  summary: 'Check what of tsbox works on this host, and say how to mend the rest',
  count: [0, 0],
  flags: {
    format: { kind: 'string', short: 'f', help: "'json': a list of {id, level, what, says, fix}" },
    quiet: { kind: 'bool', short: 'q', help: 'Leave out what is as it should be' },
  },
  async run(context, { format, quiet }) {
    if (format !== undefined && format !== 'json') {
      throw new UsageError(`invalid format: '${format}': must be "json"`, FLAG_ERROR);
    }
    const { examine } = await import('../engine/doctor/doctor.ts');
    const all = await examine(await context.options());
    const findings = quiet ? all.filter(({ level }) => level !== 'ok') : all;
    print(
      format === 'json'
        ? `${JSON.stringify(findings, null, 2)}\n`
        : report(findings, colours(1), outputWidth(1) ?? WIDTH),
    );
    return all.some(({ level }) => level === 'error') ? 1 : 0;
  },
});

/** Columns when the output is no terminal. */
const WIDTH = 100;

const TONES: Readonly<Record<Level, Tone>> = { ok: 'green', note: 'cyan', warning: 'yellow', error: 'red' };
const LEVEL_COLUMN = 'warning'.length + 2;

/** Findings a line each, wrapped, with what mends them below. Pure. */
export function report(findings: readonly Finding[], paint: Paint, width: number): string {
  const column = Math.max(0, ...findings.map(({ what }) => what.length)) + 2;
  const indent = ' '.repeat(LEVEL_COLUMN + column);
  const room = Math.max(width - indent.length, 30);
  const lines = findings.flatMap(({ level, what, says, fix }) => {
    const [first = '', ...rest] = wrapWords(says, room);
    const head = `${paint(TONES[level], level)}${' '.repeat(LEVEL_COLUMN - level.length)}${what.padEnd(column)}${first}`;
    const mend = (fix ?? '').split('\n').filter((line) => line !== '');
    // Commands are not wrapped: they are there to be copied.
    return [
      head,
      ...rest.map((line) => indent + line),
      ...mend.map((line) => `${indent}${paint('dim', '->')} ${line}`),
    ];
  });
  return `${lines.join('\n')}\n${summary(findings)}\n`;
}

function summary(findings: readonly Finding[]): string {
  const count = (level: Level, one: string, more: string) => {
    const number = findings.filter((finding) => finding.level === level).length;
    return number === 0 ? [] : [`${number} ${number === 1 ? one : more}`];
  };
  const errors = count('error', 'error', 'errors');
  const parts = [...errors, ...count('warning', 'warning', 'warnings'), ...count('note', 'note', 'notes')];
  const verdict = errors.length > 0 ? 'tsbox run does not work here' : 'tsbox run works here';
  return parts.length === 0 ? `${verdict}.` : `${verdict}: ${parts.join(', ')}.`;
}
