/** What happens to containers, images and volumes, as Docker tells of it. Pure. @see docs.docker.com, docker system events */

export type EventType = 'container' | 'image' | 'volume' | 'network';

export interface EngineEvent {
  type: EventType;
  /** `start`, `die`, `tag`; `exec_start: sh -c true`. */
  action: string;
  /** Of the container or image; the name of a volume, or of what was pulled. */
  id: string;
  attributes: Record<string, string>;
  /** RFC 3339, up to nine digits of a second. */
  time: string;
}

/** Milliseconds of a second and what is below them. */
const FRACTION = /\.(\d+)Z$/;

/** Nanoseconds since 1970. */
export function nanosecondsOf(time: string): bigint {
  const digits = FRACTION.exec(time)?.[1] ?? '';
  const seconds = Date.parse(time.replace(FRACTION, 'Z')) / 1000;
  return BigInt(seconds) * 1_000_000_000n + BigInt(digits.padEnd(9, '0').slice(0, 9));
}

/** One line of the journal, read again by {@link parseEvent}. */
export function eventLine({ type, action, id, attributes, time }: EngineEvent): string {
  return `${JSON.stringify({ type, action, id, attributes, time })}\n`;
}

/** The line of {@link eventLine} in two pieces, for who has no TypeScript: what stands before the action, and what stands between it and
 *  the time. Behind that come a quotation mark, a brace and a line feed. */
export function eventPieces({
  type,
  id,
  attributes,
}: Pick<EngineEvent, 'type' | 'id' | 'attributes'>): [string, string] {
  const head = `{"type":${JSON.stringify(type)},"action":"`;
  return [head, `","id":${JSON.stringify(id)},"attributes":${JSON.stringify(attributes)},"time":"`];
}

const isText = (value: unknown): value is string => typeof value === 'string';

/** @returns undefined for a line that is damaged or was written in part */
export function parseEvent(line: string): EngineEvent | undefined {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return undefined;
  }
  const { type, action, id, attributes, time } = (value ?? {}) as Record<string, unknown>;
  if (!isText(type) || !isText(action) || !isText(id) || !isText(time) || Number.isNaN(Date.parse(time))) {
    return undefined;
  }
  if (typeof attributes !== 'object' || attributes === null || !Object.values(attributes).every(isText)) {
    return undefined;
  }
  return { type: type as EventType, action, id, attributes: attributes as Record<string, string>, time };
}
