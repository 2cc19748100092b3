/** A reporter of node:test that writes each event as a line of JSON: how the tests in the machine are told to the reporter out here. */
import { inspect } from 'node:util';

export interface Event {
  type: string;
  data: Record<string, unknown>;
}

/** What reporters look at in the error of a test. */
interface TestError {
  message?: string;
  code?: string;
  failureType?: string;
  cause?: unknown;
  /** How the process of a file ended that told of no failed test. */
  exitCode?: number | null;
  signal?: string | null;
}

interface WireError {
  message: string;
  code: string | undefined;
  failureType: string | undefined;
  /** The cause as Node prints it: message, difference, stack, properties. */
  cause: string | undefined;
}

function wireError(error: TestError): WireError {
  const { message = '', code, failureType, cause, exitCode, signal } = error;
  const end = signal ?? exitCode ?? undefined;
  const text = cause === undefined || typeof cause === 'string' ? cause : inspect(cause);
  const printed = end === undefined ? text : `${text}: its process ended with ${end}`;
  return { message, code, failureType, cause: printed };
}

/** An error that is printed as the one it was made from. */
function errorFrom({ message, code, failureType, cause }: WireError): Error {
  const printed = Object.assign(new Error(message), { stack: cause });
  return Object.assign(new Error(message, cause === undefined ? {} : { cause: printed }), { code, failureType });
}

export const toLine = (event: Event): string =>
  `${JSON.stringify(event, (key, value) => (key === 'error' && value instanceof Error ? wireError(value) : value))}\n`;

export const fromLine = (line: string): Event =>
  JSON.parse(line, (key, value) => (key === 'error' && value !== null ? errorFrom(value) : value));

export default async function* events(source: AsyncIterable<Event>): AsyncGenerator<string> {
  for await (const event of source) yield toLine(event);
}
