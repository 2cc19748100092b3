/**
 * The journal of what happens: `<run-root>/events`, a line of JSON an event, appended by whoever did it; the monitors append too. There is
 * no daemon that could be asked, so this file is what `tsbox events` shows. It is gone after a reboot, as Docker's list is after a restart
 * of its daemon.
 */
import { appendFileSync, closeSync, fstatSync, openSync, readSync, renameSync, statSync } from 'node:fs';
import type { EventPlace } from '../plan/monitor.ts';
import type { ContainerRecord } from '../spec/container.ts';
import { type EngineEvent, eventLine, parseEvent } from '../spec/events.ts';
import { LOCAL_DRIVER } from '../spec/volume.ts';
import { tryLock } from '../sys/lock.ts';
import { readImage } from './images.ts';
import type { Store } from './store.ts';

/** Bytes after which a new file is begun; the last one is kept. */
const MOST = 4 * 1024 * 1024;
const CHUNK = 64 * 1024;
const NEWLINE = 0x0a;

export function eventsFile(store: Store): string {
  return `${store.runRoot}/events`;
}

/** Adds an event of this moment. Nothing depends on the journal: one that cannot be written, on a full disk say, is no reason to fail. */
export function noteEvent(store: Store, event: Omit<EngineEvent, 'time'>): void {
  const path = eventsFile(store);
  try {
    appendFileSync(path, eventLine({ ...event, time: new Date().toISOString() }), { mode: 0o600 });
    if (statSync(path).size > MOST) beginAnew(path);
  } catch {
    // see above
  }
}

/** What Docker says of a container with each of its events: its labels, its image's name, its own. */
export function containerAttributes({ Config, Name }: ContainerRecord): Record<string, string> {
  return { ...Config.Labels, image: Config.Image, name: Name.slice(1) };
}

/** What a monitor has to know to tell of its container. */
export function eventPlace(store: Store, record: ContainerRecord, more: Record<string, string> = {}): EventPlace {
  return {
    type: 'container',
    path: eventsFile(store),
    id: record.ID,
    attributes: { ...containerAttributes(record), ...more },
  };
}

/** @param more what is said of this event alone */
export function noteContainer(
  store: Store,
  record: ContainerRecord,
  action: string,
  more?: Record<string, string>,
): void {
  const attributes = { ...containerAttributes(record), ...more };
  noteEvent(store, { type: 'container', action, id: record.ID, attributes });
}

export function noteVolume(store: Store, action: string, name: string, more?: Record<string, string>): void {
  noteEvent(store, { type: 'volume', action, id: name, attributes: { driver: LOCAL_DRIVER, ...more } });
}

const volumesOf = ({ MountPoints }: ContainerRecord) =>
  Object.values(MountPoints).flatMap((point) =>
    point.Type === 'volume' ? [{ ...point, Name: point.Name ?? '' }] : [],
  );

/** Tells that a container's volumes are mounted in it. */
export function noteMounts(store: Store, record: ContainerRecord): void {
  for (const { Name, Destination: destination, Propagation: propagation, RW } of volumesOf(record))
    noteVolume(store, 'mount', Name, { container: record.ID, destination, propagation, 'read/write': String(RW) });
}

/** What a monitor has to know to tell that they no longer are. */
export function volumePlaces(store: Store, record: ContainerRecord): EventPlace[] {
  const attributes = { driver: LOCAL_DRIVER, container: record.ID };
  return volumesOf(record).map(({ Name: id }) => ({ type: 'volume', path: eventsFile(store), id, attributes }));
}

/** None of an image that is gone. */
function labelsOf(store: Store, id: string): Record<string, string> {
  try {
    return readImage(store, id).config.config?.Labels ?? {};
  } catch {
    return {};
  }
}

/** @param names `told`: what Docker tells as `id` where that is not the image's: the name by which it came or went; `name`: what it
 *  tells beside, the same again where it is not given */
export function noteImage(
  store: Store,
  action: string,
  id: string,
  names: { told?: string; name?: string } = {},
): void {
  const told = names.told ?? id;
  const attributes = { ...labelsOf(store, id), name: names.name ?? told };
  noteEvent(store, { type: 'image', action, id: told, attributes });
}

function beginAnew(path: string): void {
  const held = tryLock(path);
  if (held === undefined) return; // somebody else is about to
  try {
    if (statSync(path).size > MOST) renameSync(path, `${path}.1`);
  } finally {
    held.release();
  }
}

interface Journal {
  fd: number;
  /** Bytes read. */
  position: number;
  /** The beginning of a line whose end is not there yet. */
  rest: Buffer;
}

function openJournal(path: string): Journal | undefined {
  try {
    return { fd: openSync(path, 'r'), position: 0, rest: Buffer.alloc(0) };
  } catch {
    return undefined; // nothing has happened yet
  }
}

function* eventsIn(journal: Journal): Generator<EngineEvent> {
  const buffer = Buffer.allocUnsafe(CHUNK);
  for (;;) {
    const got = readSync(journal.fd, buffer, 0, CHUNK, journal.position);
    if (got === 0) return;
    journal.position += got;
    let data = Buffer.concat([journal.rest, buffer.subarray(0, got)]);
    for (let end = data.indexOf(NEWLINE); end >= 0; end = data.indexOf(NEWLINE)) {
      const event = parseEvent(data.toString('utf8', 0, end));
      if (event !== undefined) yield event;
      data = data.subarray(end + 1);
    }
    journal.rest = data;
  }
}

export interface EventReader {
  /** What has come since the last call. */
  next(): Generator<EngineEvent>;
  close(): void;
}

/** Monitors know the names that their containers were started with: who was renamed since is told by the name that it has got.
 *  @param renamed by id */
function byNewName(event: EngineEvent, renamed: Map<string, string>): EngineEvent {
  const { type, id, action, attributes } = event;
  if (type !== 'container') return event;
  if (action === 'rename') renamed.set(id, attributes['name'] ?? '');
  const name = renamed.get(id);
  return name === undefined ? event : { ...event, attributes: { ...attributes, name } };
}

/** Reads the journal from its begin, and goes on with what is added.
 *  @param fromEnd give only what is added from now on */
export function openEvents(store: Store, fromEnd = false): EventReader {
  const path = eventsFile(store);
  let old = openJournal(`${path}.1`);
  let current = openJournal(path);
  const renamed = new Map<string, string>();

  /** Whoever had the old file open may have added to it after its end was read: it is looked at once more. */
  function changeOver(): void {
    if (current !== undefined && isStill(path, current.fd)) return;
    const fresh = openJournal(path);
    if (fresh === undefined) return;
    if (old !== undefined) closeSync(old.fd);
    old = current;
    current = fresh;
  }

  const reader: EventReader = {
    *next() {
      changeOver();
      for (const journal of [old, current])
        if (journal !== undefined) for (const event of eventsIn(journal)) yield byNewName(event, renamed);
    },
    close() {
      for (const journal of [old, current]) if (journal !== undefined) closeSync(journal.fd);
    },
  };
  if (fromEnd) Array.from(reader.next()); // for the names alone
  return reader;
}

/** Is the file of this name the one that is open? */
function isStill(path: string, fd: number): boolean {
  try {
    return statSync(path).ino === fstatSync(fd).ino;
  } catch {
    return true; // begun anew by somebody who has not written yet
  }
}
