/**
 * The tar reader: bytes are pushed in, entries and their data come out, in the same call. It keeps no more than one block, one
 * extended header and one sparse map. Formats: v7, ustar, PAX, GNU; what follows the end of the archive is passed on as `raw`.
 */
import { TsboxError } from '../errors.ts';
import { damaged, quoted, type TarEntry } from './entry.ts';
import { BLOCK, isZeroBlock, parseHeader, parseText, type RawHeader } from './header.ts';
import { buildEntry, mergePax, sparseKind } from './meaning.ts';
import { type PaxRecords, parsePax, sizeOfPax } from './pax.ts';
import {
  continueOldSparse,
  type DataMap,
  extentsOf,
  newDataMap,
  type OldSparse,
  oldSparse,
  readDataMap,
} from './sparse.ts';

export interface TarHandler {
  /** Bytes of the archive that are no file's data, from `start` to `end` of `chunk`; with `data` they are the whole stream. */
  raw?(chunk: Buffer, start: number, end: number): void;
  /** Takes entries from `at` on, where a header is, that it need not be told of; undefined for none. */
  take?(chunk: Buffer, at: number): TakenEntries | undefined;
  /** An entry, before its data. */
  entry(entry: TarEntry): void;
  /** A piece of the current entry's stored data. */
  data(chunk: Buffer, start: number, end: number): void;
  /** All data of the current entry was given; called for every entry. */
  done(entry: TarEntry): void;
}

/** Entries that were taken without being told of: where the next header is, and the name of the last one. */
export interface TakenEntries {
  end: number;
  name: string;
}

export interface TarReader {
  /** Takes the next bytes. @throws ERR_TSBOX_DAMAGED, ERR_TSBOX_LIMIT, and what the handler throws */
  push(chunk: Buffer): void;
  /** The stream is at its end. @throws ERR_TSBOX_DAMAGED when the archive is not */
  end(): void;
}

/** Extended headers and long names are kept in memory whole: the most that is accepted of one, as in Go and so in Docker, and of what
 *  global headers say together. */
const MAX_EXTENDED = 1024 * 1024;

type State = 'header' | 'extended' | 'oldSparse' | 'dataMap' | 'data' | 'padding' | 'zero' | 'trailer';

function tooLong(name: string, what: string): TsboxError {
  return new TsboxError('ERR_TSBOX_LIMIT', `tar entry ${quoted(name)}: ${what} (at most ${MAX_EXTENDED} bytes)`);
}

/** What has been learnt for the entry to come. */
interface Pending {
  pax: PaxRecords | undefined;
  longName: string | undefined;
  longLink: string | undefined;
}

/** A reader that calls `handler` for what it finds. */
export function createTarReader(handler: TarHandler): TarReader {
  const block = Buffer.alloc(BLOCK);
  let have = 0;
  let state: State = 'header';
  let left = 0; // bytes of the current data, padding or extended header still to come
  let padding = 0;
  let previous: string | undefined;
  let globals: PaxRecords | undefined;
  let pending: Pending = { pax: undefined, longName: undefined, longLink: undefined };
  let extendedKind = '';
  let extended: Buffer = Buffer.alloc(0);
  let header: RawHeader | undefined;
  let sparse: OldSparse | undefined;
  let map: DataMap = newDataMap();
  let entry: TarEntry | undefined;

  function startExtended(found: RawHeader): void {
    const what = found.typeflag === 'L' || found.typeflag === 'K' ? 'long name' : 'extended header';
    if (found.size < 0) throw damaged(found.name, `the size of its ${what} is negative`);
    if (found.size > MAX_EXTENDED) throw tooLong(found.name, `a ${what} of ${found.size} bytes`);
    extendedKind = found.typeflag;
    extended = Buffer.allocUnsafe(found.size);
    left = found.size;
    padding = (BLOCK - (found.size % BLOCK)) % BLOCK;
    header = found;
    state = 'extended';
    if (left === 0) endExtended();
  }

  function endExtended(): void {
    const body = extended;
    const name = header!.name;
    if (extendedKind === 'L') pending.longName = parseText(body, 0, body.length);
    else if (extendedKind === 'K') pending.longLink = parseText(body, 0, body.length);
    else if (extendedKind === 'g') {
      const records: PaxRecords = {};
      parsePax(body, records, name);
      globals = mergePax(globals, records);
      if (sizeOfPax(globals) > MAX_EXTENDED) throw tooLong(name, 'global headers');
      const global = buildEntry(header!, undefined, undefined, undefined);
      handler.entry(global);
      handler.done(global);
    } else {
      // Of several the last counts, as in GNU tar and Go.
      pending.pax = {};
      parsePax(body, pending.pax, name);
    }
    startPadding();
  }

  function startPadding(): void {
    left = padding;
    state = left === 0 ? 'header' : 'padding';
  }

  function takeHeader(bytes: Buffer, at: number): void {
    if (isZeroBlock(bytes, at)) {
      if (pending.pax ?? pending.longName ?? pending.longLink)
        throw damaged(previous, 'an extended header is the last');
      state = 'zero';
      return;
    }
    const found = parseHeader(bytes, at, previous);
    if ('xgXLK'.includes(found.typeflag)) {
      startExtended(found);
      return;
    }
    header = found;
    const pax = globals === undefined ? pending.pax : mergePax(globals, pending.pax);
    entry = buildEntry(found, pax, pending.longName, pending.longLink);
    previous = entry.name;
    pending = { pax: undefined, longName: undefined, longLink: undefined };
    padding = (BLOCK - (entry.stored % BLOCK)) % BLOCK;
    startSparse(found, entry, pax, bytes, at);
  }

  function startSparse(found: RawHeader, of: TarEntry, pax: PaxRecords | undefined, bytes: Buffer, at: number): void {
    const kind = sparseKind(found, of, pax);
    if (kind === 'old') {
      sparse = oldSparse(bytes, at, of.name);
      of.size = sparse.realSize;
      if (sparse.more) state = 'oldSparse';
      else endSparse(sparse.numbers);
    } else if (kind === 'records') {
      endSparse(pax!.sparse!.numbers);
    } else if (kind === 'data') {
      map = newDataMap();
      state = 'dataMap';
    } else startData();
  }

  function endSparse(numbers: readonly number[]): void {
    entry!.sparse = extentsOf(numbers, entry!.size, entry!.stored, entry!.name);
    startData();
  }

  function startData(): void {
    handler.entry(entry!);
    left = entry!.stored;
    state = 'data';
    if (left === 0) endData();
  }

  function endData(): void {
    handler.done(entry!);
    startPadding();
  }

  function takeBlock(bytes: Buffer, at: number): void {
    if (state === 'header') takeHeader(bytes, at);
    else if (state === 'oldSparse') {
      continueOldSparse(sparse!, bytes, at, entry!.name);
      if (!sparse!.more) endSparse(sparse!.numbers);
    } else if (state === 'dataMap') {
      entry!.stored -= BLOCK;
      if (entry!.stored < 0) throw damaged(entry!.name, 'the map of the sparse file is cut off');
      if (readDataMap(map, bytes, at, entry!.name)) endSparse(map.numbers);
    } else {
      if (!isZeroBlock(bytes, at)) throw damaged(previous, 'a lone block of zeros follows it');
      state = 'trailer';
    }
  }

  /** Nothing of an entry is in hand, and nothing is known of the next. */
  function isBetween(): boolean {
    return state === 'header' && have === 0 && !(globals ?? pending.pax ?? pending.longName ?? pending.longLink);
  }

  /** @returns where the next header is */
  function takeEntries(chunk: Buffer, at: number): number {
    const taken = handler.take?.(chunk, at);
    if (taken === undefined) return at;
    previous = taken.name;
    return taken.end;
  }

  /** Passes bytes of a block on; a block in one piece is read in place. @returns where the next begins */
  function pushBlock(chunk: Buffer, at: number): number {
    const end = Math.min(at + BLOCK - have, chunk.length);
    handler.raw?.(chunk, at, end);
    if (end - at === BLOCK) {
      takeBlock(chunk, at);
      return end;
    }
    chunk.copy(block, have, at, end);
    have += end - at;
    if (have === BLOCK) {
      have = 0;
      takeBlock(block, 0);
    }
    return end;
  }

  function pushCounted(chunk: Buffer, at: number): number {
    const end = Math.min(at + left, chunk.length);
    left -= end - at;
    if (state === 'data') {
      handler.data(chunk, at, end);
      if (left === 0) endData();
      return end;
    }
    handler.raw?.(chunk, at, end);
    if (state === 'extended') {
      chunk.copy(extended, extended.length - left - (end - at), at, end);
      if (left === 0) endExtended();
    } else if (left === 0) state = 'header';
    return end;
  }

  function push(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      if (isBetween()) at = takeEntries(chunk, at);
      if (at === chunk.length) return;
      if (state === 'data' || state === 'padding' || state === 'extended') at = pushCounted(chunk, at);
      else if (state === 'trailer') {
        handler.raw?.(chunk, at, chunk.length);
        return;
      } else at = pushBlock(chunk, at);
    }
  }

  function end(): void {
    // Some writers leave out the padding of the last file, and with it the end of the archive; Docker's reader does not mind.
    const unpadded = state === 'padding' && left === padding;
    const between = unpadded || (state === 'header' && have === 0);
    const whole = between && !(pending.pax ?? pending.longName ?? pending.longLink);
    if (whole || state === 'trailer' || (state === 'zero' && have === 0)) return;
    const inside = state === 'data' || state === 'padding' || state === 'dataMap' || state === 'oldSparse';
    throw damaged(inside ? entry?.name : previous, inside ? 'the archive ends within it' : 'the archive ends after it');
  }

  return { push, end };
}
