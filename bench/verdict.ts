/** What was measured as a table, beside what tsbox promises. */
import { median } from './measure.ts';
import { table } from './table.ts';
import type { Usage } from './usage.ts';

export interface Result {
  readonly name: string;
  readonly version: string;
  readonly usages: readonly Usage[];
  readonly calls: number | undefined;
}

/** Which step of which case it is. */
export interface Scene {
  readonly verb: string;
  readonly image: string;
  readonly place: 'disk' | 'tmpfs';
}

/** The most that tsbox promises to take, as a part of the other's median. */
function promisedPart({ verb, image, place }: Scene, other: string): number | undefined {
  if (verb === 'pull' && other === 'docker') return 0.6;
  if (verb === 'pull' && other === 'podman') return 0.5;
  if (verb === 'pull' && other === 'tar -xzf' && place === 'tmpfs') return image === 'ten' ? 0.9 : 1.1;
  if ((verb === 'load' || verb === 'save') && other === 'docker') return 0.6;
  if (verb === 'commit' && other === 'docker') return 0.8;
  return undefined;
}

/** The most memory of a pull. */
const PROMISED_PEAK = 150e6;

export interface Verdict {
  text: string;
  kept: number;
  missed: number;
}

const HEAD = ['', 'version', 'median s', 'least s', 'synced s', 'cpu s', 'peak MB', 'syscalls', 'tsbox/it', 'of least'];

/** Without columns that nobody has something in. */
function filled(rows: readonly (readonly string[])[]): string[][] {
  const isFilled = (column: number) => column === 0 || rows.slice(1).some((row) => row[column] !== '');
  return rows.map((row) => row.filter((_, column) => isFilled(column)));
}

/** A row each; the engines' parts and promises stand beside those whom tsbox is compared with. */
export function verdict(scene: Scene, results: readonly Result[]): Verdict {
  const counts = { kept: 0, missed: 0 };
  const judge = (holds: boolean, what: string) => {
    counts[holds ? 'kept' : 'missed']++;
    return `${what}: ${holds ? 'kept' : 'MISSED'}`;
  };
  const times = ({ usages }: Result) => usages.map(({ seconds }) => seconds);
  const middle = (usages: readonly Usage[], pick: (usage: Usage) => number) => median(usages.map(pick)).toFixed(2);
  const ours = results.find(({ name }) => name === 'tsbox');
  const promise = (result: Result, part: number | undefined): string => {
    if (result === ours) {
      const peak = Math.max(...result.usages.map((usage) => usage.peak));
      return scene.verb === 'pull' ? judge(peak <= PROMISED_PEAK, `${PROMISED_PEAK / 1e6} MB`) : '';
    }
    const promised = promisedPart(scene, result.name);
    return promised === undefined || part === undefined ? '' : judge(part <= promised, String(promised));
  };
  const rows = results.map((result) => {
    const { name, version, usages, calls } = result;
    const compared = ours !== undefined && ours !== result;
    const part = compared ? median(times(ours)) / median(times(result)) : undefined;
    const least = compared ? Math.min(...times(ours)) / Math.min(...times(result)) : undefined;
    return [
      ...[name, version, median(times(result)).toFixed(2), Math.min(...times(result)).toFixed(2)],
      scene.place === 'disk' ? middle(usages, ({ synced }) => synced) : '',
      middle(usages, ({ cpu }) => cpu),
      (Math.max(...usages.map(({ peak }) => peak)) / 1e6).toFixed(0),
      calls === undefined ? '' : String(calls),
      ...[part?.toFixed(2) ?? '', least?.toFixed(2) ?? '', promise(result, part)],
    ];
  });
  return { text: table(filled([[...HEAD, 'promise'], ...rows])), ...counts };
}
