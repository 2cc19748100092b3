/**
 * The progress of a pull, a push or a load. On a terminal a line for each layer, redrawn in place, one write a frame; otherwise a
 * plain line for each change. Wording and order are Docker's.
 */
import { isatty } from 'node:tty';
import type { LayerStatus, Progress } from '../engine/api.ts';
import { windowSize } from '../sys/terminal.ts';
import { humanSize } from './human.ts';
import { complain, print } from './output.ts';
import { cutTo, displayWidth } from './width.ts';

export interface ProgressView {
  update(event: Progress): void;
  /** Shows the last state. Nothing is shown after it. */
  finish(): void;
}

/** At most 15 frames a second. */
const FRAME_MS = 67;
/** The rate is that of the last so many milliseconds. */
const RATE_MS = 3000;

/** @param fd 1 or 2: where it is shown */
export function openProgress(fd: 1 | 2): ProgressView {
  const write = fd === 1 ? print : complain;
  return isatty(fd) ? liveProgress(write, () => windowSize(fd)) : plainProgress(write);
}

/** What moves is not told line by line. */
const MOVING: readonly LayerStatus[] = ['Downloading', 'Extracting', 'Loading layer', 'Pushing'];

/** A line whenever a layer's status is another; a text as it comes. */
export function plainProgress(write: (text: string) => void): ProgressView {
  const told = new Map<string, LayerStatus>();
  return {
    update(event) {
      if (event.kind === 'text') return write(`${event.text}\n`);
      if (MOVING.includes(event.status) || told.get(event.layer) === event.status) return;
      told.set(event.layer, event.status);
      write(`${event.layer}: ${event.status}\n`);
    },
    finish() {},
  };
}

interface Layer {
  name: string;
  status: LayerStatus;
  current?: number | undefined;
  total?: number | undefined;
  /** Time in ms and bytes, the oldest first. */
  samples: [number, number][];
}

/** @param size of the window, asked for at each frame */
export function liveProgress(
  write: (text: string) => void,
  size: () => { rows: number; columns: number } | undefined,
  now: () => number = () => performance.now(),
): ProgressView {
  let layers = new Map<string, Layer>();
  let shown = 0;
  let timer: NodeJS.Timeout | undefined;
  const frame = (whole: boolean) => {
    clearTimeout(timer);
    timer = undefined;
    const { rows, columns } = size() ?? { rows: 24, columns: 80 };
    const lines = frameLines([...layers.values()], whole ? Number.POSITIVE_INFINITY : rows - 1, columns, now());
    const up = shown === 0 ? '' : `\x1b[${shown}A`;
    // Each line is cleared behind its text, not before: nothing flickers.
    const text = lines.map((line) => `${line}\x1b[K\n`).join('');
    if (up + text !== '') write(`\r${up}${text}\x1b[J`);
    shown = lines.length;
  };
  return {
    update(event) {
      if (event.kind === 'text') {
        if (layers.size > 0) frame(true);
        layers = new Map();
        shown = 0;
        write(`${event.text}\n`);
        return;
      }
      note(layers, event, now());
      timer ??= setTimeout(frame, FRAME_MS, false);
    },
    finish() {
      if (timer !== undefined || layers.size > 0) frame(true);
      clearTimeout(timer);
      layers = new Map();
    },
  };
}

function note(layers: Map<string, Layer>, event: Extract<Progress, { kind: 'layer' }>, now: number): void {
  const layer = layers.get(event.layer) ?? { name: event.layer, status: event.status, samples: [] };
  if (layer.status !== event.status) layer.samples = [];
  layer.status = event.status;
  layer.current = event.current;
  layer.total = event.total;
  if (event.current !== undefined) {
    layer.samples.push([now, event.current]);
    while (layer.samples.length > 2 && layer.samples[0]![0] < now - RATE_MS) layer.samples.shift();
  }
  layers.set(event.layer, layer);
}

/** At most `room` lines: what is done goes first when there are more layers than lines. */
function frameLines(layers: readonly Layer[], room: number, columns: number, now: number): string[] {
  const lines = (some: readonly Layer[]) => some.map((layer) => layerLine(layer, columns, now));
  if (layers.length <= room) return lines(layers);
  const space = Math.max(1, room - 1);
  const busy = layers.filter((layer) => !isDone(layer));
  const shown = busy.slice(0, space);
  return [
    ...lines(shown),
    cutTo(`... ${layers.length - shown.length} more layers, ${busy.length} not done`, columns - 1),
  ];
}

function isDone({ status, current, total }: Layer): boolean {
  if (status === 'Loading layer') return current !== undefined && current === total;
  if (['Pull complete', 'Already exists', 'Pushed', 'Layer already exists'].includes(status)) return true;
  return status.startsWith('Mounted from ');
}

const BAR = 50;

/** `1a2b3c4d5e6f: Downloading [====>    ]  12.3MB/45MB  8.1MB/s`, with as much of it as there is room for. */
export function layerLine(
  layer: Omit<Layer, 'samples'> & { samples?: Layer['samples'] },
  columns: number,
  now: number,
): string {
  const front = `${layer.name}: ${layer.status}`;
  const { current, total } = layer;
  // The last column stays free: some terminals wrap when it is written to.
  const width = columns - 1;
  if (current === undefined) return cutTo(front, width);
  const size = total === undefined ? humanSize(current) : `${humanSize(current).padStart(7)}/${humanSize(total)}`;
  const rate = rateText(layer.samples ?? [], now);
  const back = `${size}${rate === '' ? '' : `  ${rate}`}`;
  const room = width - displayWidth(front) - displayWidth(back) - 5;
  const bar =
    total === undefined || total <= 0 || room < 10 ? '' : ` ${barText(current / total, Math.min(BAR, room))} `;
  const line = `${front}${bar} ${back}`;
  return displayWidth(line) <= width ? line : cutTo(`${front} ${size}`, width);
}

function barText(part: number, width: number): string {
  const full = Math.max(0, Math.min(width, Math.floor(part * width)));
  return `[${full === width ? '='.repeat(width) : `${'='.repeat(full)}>`.padEnd(width)}]`;
}

function rateText(samples: readonly [number, number][], now: number): string {
  const [first, last] = [samples[0], samples.at(-1)];
  if (first === undefined || last === undefined || last[0] - first[0] < 200) return '';
  return `${humanSize(Math.max(0, (1000 * (last[1] - first[1])) / (now - first[0])), 3)}/s`;
}
