/** The plan on the screen: columns for people, JSON for programs. */
import type { StepEvent } from '../engine/api.ts';
import { callText, commandLines, seeText, stepJson } from '../plan/explain.ts';
import type { Plan, Step } from '../plan/step.ts';
import { errnoOf } from '../spec/errno.ts';
import { terminalIsRaw } from './attached.ts';
import { complain } from './output.ts';
import { colours, outputWidth, type Paint } from './screen.ts';
import { cutTo, displayWidth, padEnd } from './width.ts';

/** Prints each step on standard error as it is run. */
export function explainAsRun(json: boolean): (event: StepEvent) => void {
  const write = (text: string) => complain(terminalIsRaw() ? text.replaceAll('\n', '\r\n') : text);
  if (json) return (event) => write(`${JSON.stringify(eventJson(event))}\n`);
  const layout = explainLayout(outputWidth(2));
  const paint = colours(2);
  let titled = false;
  return (event) => {
    if (!titled) write(titleText(layout, paint));
    titled = true;
    write(eventText(event, layout, paint));
  };
}

/** The whole plan, for standard output. */
export function planText(plan: Plan, json: boolean): string {
  const events = planEvents(plan);
  if (json) return `${JSON.stringify(events.map(eventJson), null, 2)}\n`;
  const layout = explainLayout(outputWidth(1));
  const paint = colours(1);
  return titleText(layout, paint) + events.map((event) => eventText(event, layout, paint)).join('');
}

/** The plan's steps in the order in which they are run: what the new process does stands behind the step that makes it. */
export function planEvents(plan: Plan): StepEvent[] {
  const events: StepEvent[] = [];
  const add = (list: StepEvent['list'], steps: readonly Step[], depth: number) => {
    steps.forEach((step, index) => {
      events.push({ list, number: index + 1, depth, step });
      if (step.op === 'spawn') add('init', step.list, 0);
      else if (['outside', 'last', 'together'].includes(step.op) && 'list' in step) add(list, step.list, depth + 1);
    });
  };
  add('setup', plan.setup, 0);
  add('monitor', plan.monitor, 0);
  add('cleanup', plan.cleanup, 0);
  return events;
}

export function eventJson({ list, number, depth, step, errno, ns }: StepEvent): Record<string, unknown> {
  const result: Record<string, unknown> = {};
  if (errno !== undefined) result['errno'] = errno;
  if (errno !== undefined && errno !== 0) result['error'] = errnoOf(errno).name;
  if (ns !== undefined) result['ns'] = ns;
  return { list, number, depth, ...stepJson(step), ...result };
}

/** Widths of the columns. `stacked`: too narrow for columns, the reason stands below the call. */
export interface ExplainLayout {
  call: number;
  why: number;
  see: number;
  stacked: boolean;
}

const NUMBER = 3;
const LIST = 7;
const GAP = 2;
const FIXED = NUMBER + GAP + LIST + GAP;
const NARROW = 100;
const SEE = 22;

/** @param width of the screen; `undefined`: no screen, and no line is wrapped */
export function explainLayout(width: number | undefined): ExplainLayout {
  if (width === undefined)
    return { call: 72, why: Number.POSITIVE_INFINITY, see: Number.POSITIVE_INFINITY, stacked: false };
  if (width < NARROW) {
    const rest = Math.max(20, width - FIXED);
    return { call: rest, why: rest, see: rest, stacked: true };
  }
  const rest = width - FIXED - SEE - 2 * GAP;
  const call = Math.floor(rest * 0.58);
  return { call, why: rest - call, see: SEE, stacked: false };
}

export function titleText(layout: ExplainLayout, paint: Paint): string {
  const front = `${'#'.padStart(NUMBER)}  ${'list'.padEnd(LIST)}  `;
  const why = layout.see === Number.POSITIVE_INFINITY ? 'why (see)' : `${'why'.padEnd(layout.why)}  see`;
  const back = layout.stacked ? 'system call' : `${'system call'.padEnd(layout.call)}  ${why}`;
  return `${paint('dim', front + back)}\n`;
}

const LIST_COLOURS = { setup: 'cyan', monitor: 'magenta', init: 'green', cleanup: 'blue' } as const;

/** One step in as many lines as it needs. Pure. */
export function eventText(event: StepEvent, layout: ExplainLayout, paint: Paint): string {
  const { list, number, depth, step, errno = 0 } = event;
  const indent = ' '.repeat(2 * depth);
  const call = `${indent}${shortIds(callText(step))}${errno === 0 ? '' : failureText(errno, step)}`;
  const commands = commandLines(step);
  const typed = commands.map((line) => `${indent}= ${line}`);
  const callLines = [call, ...typed].flatMap((line) => wrapCall(line, layout.call, indent.length + 4));
  const tone = errno === 0 ? 'plain' : isTolerated(errno, step) ? 'yellow' : 'red';
  const front = `${paint('dim', String(number).padStart(NUMBER))}  ${paint(LIST_COLOURS[list], list.padEnd(LIST))}  `;
  const blank = ' '.repeat(FIXED);
  const [why, see] = [shortIds(step.why), seeText(step)];
  if (layout.stacked) {
    const lines = callLines.map((line, index) => (index === 0 ? front : blank) + paint(tone, line));
    const below = wrapCall(`# ${why} (${see})`, layout.why - 2, 2).map((line) => `${blank}  ${paint('dim', line)}`);
    return `${[...lines, ...below].join('\n')}\n`;
  }
  if (layout.why === Number.POSITIVE_INFINITY) {
    const shell = commands.length === 0 ? '' : `  = ${commands.join('; ')}`;
    return `${front}${paint(tone, padEnd(call, layout.call))}${shell}  ${why} (${see})\n`;
  }
  const whyLines = wrapCall(why, layout.why, 0);
  const seeLines = wrapCall(see, layout.see, 0);
  const height = Math.max(callLines.length, whyLines.length, seeLines.length);
  return Array.from({ length: height }, (_, row) => {
    const reason = padEnd(whyLines[row] ?? '', layout.why);
    const cells = `${paint(tone, padEnd(callLines[row] ?? '', layout.call))}  ${reason}  ${paint('dim', seeLines[row] ?? '')}`;
    return `${(row === 0 ? front : blank) + cells}`.trimEnd();
  })
    .join('\n')
    .concat('\n');
}

/** A reader tells ids apart by their beginning; the JSON has them whole. */
const shortIds = (text: string): string => text.replace(/\b([0-9a-f]{12})[0-9a-f]{52}\b/g, '$1…');

const isTolerated = (errno: number, step: Step): boolean => step.onError?.[errnoOf(errno).name] === 'skip';

function failureText(errno: number, step: Step): string {
  const { name, text } = errnoOf(errno);
  return ` = -1 ${name} (${text})${isTolerated(errno, step) ? ', skipped' : ''}`;
}

/** Lines of at most `width` columns, broken behind a separator where there is one; those after the first are indented. */
export function wrapCall(text: string, width: number, indent: number): string[] {
  if (width === Number.POSITIVE_INFINITY || displayWidth(text) <= width) return [text];
  const lines: string[] = [];
  let line = '';
  for (const piece of text.split(/(?<=[ |,])|(?<=[^:]:)(?=[^:])/)) {
    for (let rest = piece; rest !== ''; ) {
      // A line does not begin with the blanks between two words.
      if (lines.length > 0 && line.trim() === '' && rest === ' ') break;
      const room = width - displayWidth(line);
      if (displayWidth(rest.trimEnd()) <= room) {
        line += rest;
        break;
      }
      if (line.trim() === '') {
        const fits = cutTo(rest, Math.max(1, room));
        const slash = fits.lastIndexOf('/') + 1;
        const cut = slash > fits.length / 2 ? slash : fits.length;
        line += rest.slice(0, cut);
        rest = rest.slice(cut);
      }
      lines.push(line.trimEnd());
      line = ' '.repeat(Math.min(indent, width - 1));
    }
  }
  return line.trim() === '' ? lines : [...lines, line.trimEnd()];
}
