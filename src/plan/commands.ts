/** What a person would type for a step about networks: lines of ip(8) and nft(8) that do the same. Pure. */
import { isIPv6 } from '../spec/ip.ts';
import { keyText } from './nft-key.ts';
import type { OpName } from './ops.ts';
import type { Step, StepOf } from './step.ts';
import { show } from './text.ts';

type Commands = { readonly [Name in OpName]?: (step: StepOf<Name>) => readonly string[] };

/** Command lines for a shell, none for most steps. Holes that are still open stand in braces. */
export function commandLines(step: Step): readonly string[] {
  const lines = COMMANDS[step.op] as ((step: Step) => readonly string[]) | undefined;
  return lines === undefined ? [] : lines(step);
}

/** A process by its number, as ip(8) takes it; else the path of the file. */
const netns = (path: string): string => /^\/proc\/(\d+|\{pid\})\/ns\/net$/.exec(path)?.[1] ?? path;

function addLink(step: StepOf<'link_add'>): string {
  const [name, type, peer, place, mac] = [step.name, step.type, step.peer, step.netns, step.mac].map(show) as [
    string,
    string,
    string,
    string,
    string,
  ];
  const address = mac === '' ? '' : ` address ${mac}`;
  const mtu = step.mtu === 0 ? '' : ` mtu ${step.mtu}`;
  if (peer === '') return `ip link add ${name}${address}${mtu} type ${type}`;
  const where = place === '' ? '' : ` netns ${netns(place)}`;
  return `ip link add ${name}${mtu} type ${type} peer name ${peer}${where}${address}${mtu}`;
}

function addAddress(step: StepOf<'address_add'>): string {
  const address = show(step.address);
  return `ip addr add ${address} ${isIPv6(address) ? 'nodad' : 'brd +'} dev ${show(step.link)}`;
}

function addRoute(step: StepOf<'route_add'>): string {
  const [to, via] = [show(step.to), show(step.via)];
  return `ip route add ${to}${via === '' ? '' : ` via ${via}`} dev ${show(step.link)}`;
}

/** Words of nft's up to the first that means something to a shell; from there on in quotes. */
function nft(command: string): string {
  const words = command.split(' ');
  const special = words.findIndex((word) => !/^[\w.:/,@=%+-]+$/.test(word));
  if (special < 0) return `nft ${command}`;
  const rest = words.slice(special).join(' ').replaceAll("'", "'\\''");
  return ['nft', ...words.slice(0, special), `'${rest}'`].join(' ');
}

/** A command for each line; one that goes over several lines, in braces, stays one. */
function nftCommands(text: string): string[] {
  const commands: string[] = [];
  let [open, depth] = ['', 0];
  for (const line of text.split('\n').map((one) => one.trim())) {
    open = open === '' ? line : `${open} ${line}`;
    depth += line.split('{').length - line.split('}').length;
    if (depth > 0 || open === '') continue;
    commands.push(open);
    [open, depth] = ['', 0];
  }
  return open === '' ? commands : [...commands, open];
}

const onOff = (flag: number) => (flag === 0 ? 'off' : 'on');

const COMMANDS: Commands = {
  link_up: (step) => [`ip link set ${show(step.name)} up`],
  link_add: (step) => [addLink(step)],
  link_set: (step) => {
    const master = show(step.master);
    return [`ip link set ${show(step.name)} ${master === '' ? 'nomaster' : `master ${master}`}`];
  },
  port_set: (step) => [
    `ip link set ${show(step.name)} type bridge_slave hairpin ${onOff(step.hairpin)} isolated ${onOff(step.isolated)}`,
  ],
  link_delete: (step) => [`ip link delete ${show(step.name)}`],
  address_add: (step) => [addAddress(step)],
  route_add: (step) => [addRoute(step)],
  nft: (step) => nftCommands(show(step.commands)).map(nft),
  nft_delete: (step) => {
    const [table, set] = [show(step.table), show(step.set)];
    return [
      nft(set === '' ? `delete table inet ${table}` : `delete element inet ${table} ${set} { ${keyText(step.key)} }`),
    ];
  },
};
