/** `tsbox stats` */
import { setTimeout as sleep } from 'node:timers/promises';
import { isatty } from 'node:tty';
import type { Sample } from '../engine/stats.ts';
import { command } from './command.ts';
import { binarySize, humanSize, shortId } from './human.ts';
import { listingText, type Row } from './listing.ts';
import { complain, print } from './output.ts';

/** Milliseconds between two looks. */
const INTERVAL = 1000;
const HOME_AND_CLEAR = '\x1b[H\x1b[J';
const CLEAR = '\x1b[2J';

export const verb = command({
  usage: '[OPTIONS] [CONTAINER...]',
  summary: 'Show what containers use, again and again',
  count: [0, Number.POSITIVE_INFINITY],
  flags: {
    all: { kind: 'bool', short: 'a', help: 'Show stopped containers too' },
    format: { kind: 'string', help: "'table', 'json', a Go template for each row, or 'table TEMPLATE'" },
    'no-stream': { kind: 'bool', help: 'Show it once' },
    'no-trunc': { kind: 'bool', help: 'Show ids in full' },
  },
  async run(context, flags, names) {
    const engine = await context.engine();
    const { checkNames, cpuPercent, sampleContainers } = await import('../engine/stats.ts');
    checkNames(engine, names);
    const screen = !flags['no-stream'] && isatty(1);
    let before = new Map<string, Sample>();
    let first = true;
    const damaged = new Set<string>();
    for (let looks = 0; ; looks++) {
      const samples = sampleContainers(engine, names, flags.all, (id, error) => {
        if (!damaged.has(id)) complain(`tsbox: ${error.message}\n`);
        damaged.add(id);
      });
      // A share of time needs two looks. Where nothing runs, one is enough.
      const isEnough = looks > 0 || samples.every(({ usage }) => usage === undefined);
      if (isEnough || screen) {
        const rows = samples.map((one) => statsRow(one, cpuPercent(before.get(one.id), one), flags['no-trunc']));
        const text = await listingText({ headers: HEADERS, columns: COLUMNS, rows }, flags.format);
        print(screen ? `${first ? CLEAR : ''}${HOME_AND_CLEAR}${text}` : text);
        first = false;
      }
      const isOver = names.length > 0 && samples.length === 0;
      if (isOver || (flags['no-stream'] && isEnough)) return 0;
      before = new Map(samples.map((one) => [one.id, one]));
      await sleep(INTERVAL);
    }
  },
});

const COLUMNS = ['ID', 'Name', 'CPUPerc', 'MemUsage', 'MemPerc', 'NetIO', 'BlockIO', 'PIDs'];
const HEADERS = {
  Container: 'CONTAINER',
  ID: 'CONTAINER ID',
  Name: 'NAME',
  CPUPerc: 'CPU %',
  MemUsage: 'MEM USAGE / LIMIT',
  MemPerc: 'MEM %',
  NetIO: 'NET I/O',
  BlockIO: 'BLOCK I/O',
  PIDs: 'PIDS',
};

/** A row as Docker shows it: one that does not run has nothing but zeros. Fields in the order in which Go prints their JSON. */
export function statsRow(sample: Sample, cpu: number, whole: boolean): Row {
  const { usage } = sample;
  const { memory = 0, memoryLimit = 0, read = 0, written = 0, received = 0, sent = 0, pids = 0 } = usage ?? {};
  const share = memoryLimit === 0 ? 0 : (memory / memoryLimit) * 100;
  return {
    BlockIO: `${humanSize(read, 3)} / ${humanSize(written, 3)}`,
    CPUPerc: `${cpu.toFixed(2)}%`,
    Container: sample.asked,
    ID: whole ? sample.id : shortId(sample.id),
    MemPerc: `${share.toFixed(2)}%`,
    MemUsage: `${binarySize(memory)} / ${binarySize(memoryLimit)}`,
    Name: sample.name,
    NetIO: `${humanSize(received, 3)} / ${humanSize(sent, 3)}`,
    PIDs: String(pids),
  };
}
