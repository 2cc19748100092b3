/** What has happened, and what happens. @see store/events.ts */
import { setTimeout as sleep } from 'node:timers/promises';
import { type EngineEvent, nanosecondsOf } from '../spec/events.ts';
import { openEvents } from '../store/events.ts';
import { monotonicMs } from '../sys/clock.ts';
import type { Engine } from './open.ts';

const POLL_MS = 50;

export interface EventsOptions {
  /** Nanoseconds since 1970. Without it only what is yet to happen. */
  since?: bigint;
  /** Nanoseconds since 1970; without it there is no end. */
  until?: bigint;
  wanted(event: EngineEvent): boolean;
}

/** The events between two times, oldest first; goes on until the second has come. When that is, is reckoned once: a clock that is set
 *  meanwhile changes nothing about it. */
export async function* readEvents({ store }: Engine, options: EventsOptions): AsyncGenerator<EngineEvent> {
  const { since, until, wanted } = options;
  const end = until === undefined ? undefined : monotonicMs() + Number(until / 1_000_000n) - Date.now();
  const reader = openEvents(store, since === undefined);
  try {
    for (;;) {
      // In this order: what was noted before the end is read after it.
      const isOver = end !== undefined && monotonicMs() >= end;
      for (const event of reader.next()) {
        const time = nanosecondsOf(event.time);
        if ((since === undefined || time >= since) && (until === undefined || time <= until) && wanted(event))
          yield event;
      }
      if (isOver) return;
      await sleep(POLL_MS);
    }
  } finally {
    reader.close();
  }
}
