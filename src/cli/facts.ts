/** An object of facts as `info` and `version` show it. */
import { humanSize } from './human.ts';
import { print } from './output.ts';

/** @throws ERR_TSBOX_USAGE on a format that is no template */
export async function printFacts(facts: object, format: string | undefined): Promise<void> {
  if (format === undefined) print(factsText(facts));
  else if (format === 'json') print(`${JSON.stringify(facts)}\n`);
  else print(`${(await import('./template.ts')).compileTemplate(format)(facts)}\n`);
}

/** `Name: value` a line, nested ones indented; field names as words: `KernelVersion` is `Kernel Version`. Pure. */
export function factsText(facts: object, indent = ''): string {
  return Object.entries(facts)
    .map(([name, value]) => {
      const title = `${indent}${words(name)}:`;
      if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
        return `${title}\n${factsText(value, `${indent} `)}`;
      }
      if (isPairs(value)) return `${title}\n${factsText(Object.fromEntries(value), `${indent} `)}`;
      return `${title} ${shown(name, value)}\n`;
    })
    .join('');
}

/** Docker's way to keep names in order. */
function isPairs(value: unknown): value is [string, unknown][] {
  return Array.isArray(value) && value.length > 0 && value.every((one) => Array.isArray(one) && one.length === 2);
}

/** Where Docker's word for a field is another one. */
const TITLES: Readonly<Record<string, string>> = {
  ContainersRunning: ' Running',
  ContainersPaused: ' Paused',
  ContainersStopped: ' Stopped',
  Driver: 'Storage Driver',
  OSType: 'OSType',
  NCPU: 'CPUs',
  MemTotal: 'Total Memory',
  DockerRootDir: 'Data Root',
};

function words(name: string): string {
  const title = TITLES[name];
  if (title !== undefined) return title;
  return name.replace(/([a-z0-9])([A-Z])/g, '$1 $2');
}

function shown(name: string, value: unknown): string {
  if (Array.isArray(value)) return value.join(' ');
  return name === 'MemTotal' && typeof value === 'number' ? humanSize(value) : String(value);
}
